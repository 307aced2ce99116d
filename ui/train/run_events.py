"""The events of the Train tab: start, stop, resume, discard, cure. Every handler looks the owner's run up anew."""

import html
from dataclasses import fields, replace

import gradio as gr

from common.errors import UserError
from common.language import _
from jobs.hf import end_job
from models.base import EMBEDDED
from runs import history
from runs.config import PERSONAL, ROWS, SERVER, TrainConfig, marked
from runs.labels import title_of
from runs.queue import enqueue, launch
from runs.queue import stop as stop_run
from runs.resolve import capped
from runs.run import RunState, find_run, read_state
from ui.events import QUIET, Wiring, asking
from ui.messages import shown
from ui.owner import owner_of, visitor_of
from ui.toast import toast_updates
from ui.train import run_view
from ui.train.backup_section import wire_restore
from ui.train.backups import backup_account, forget, keep_sending, note_backup, read_backup, renew
from ui.train.browser_copy import wire_memory
from ui.train.check_events import changed_form, checked, hint, report_for
from ui.train.data_form import report_views
from ui.train.form_values import FormValues, form_config, form_values
from ui.train.history_events import lists, own_run, wire_history
from ui.train.history_view import run_filter
from ui.train.jobs_events import follow_jobs, stop_job, wire_jobs
from ui.train.made_events import wire_made
from ui.train.plan_events import check_init_adapter, checked_start, is_untouched_example, wire_plan
from ui.train.run_downloads import wire_downloads
from ui.train.slices import wire_slices
from ui.train.tab import IDLE_TICK_SECONDS, TrainTab

TICK_SECONDS = 1.0  # how often the page asks whether the shown run has changed; IDLE_TICK_SECONDS while it does not run
# On a phone a run, or a made set, stands above the form. That of who has just pressed Start, or is at the source of made rows,
# stays below it, and is scrolled to: nothing jumps.
STAY = "() => { document.querySelector('.train').dataset.started = '' }"
SHOW_RUN = """() => setTimeout(() => {
  const run = document.querySelector('.train-run'), {top} = run.getBoundingClientRect();
  if (top < 0 || top > innerHeight / 2) run.scrollIntoView({behavior: 'smooth'});
}, 200)"""


def wire(tab: TrainTab) -> tuple[Wiring, Wiring, Wiring]:
    """Wire every event of the tab; return the events that fill its lists, its form and its plan when the page is opened."""
    plan = wire_plan(tab)
    picked = _wire_view(tab)
    _wire_start(tab, picked)
    _wire_run(tab, picked)
    _wire_discard(tab, picked)
    wire_history(tab, picked)
    wire_jobs(tab, tab.jobs, picked)
    wire_restore(tab.restore, tab.browser_key, tab.lists, lists, [tab.to_run, picked])
    wire_downloads(tab)
    tab.inputs["data_kind"].input(None, js=STAY, **QUIET)
    wire_made(tab).success(None, js=SHOW_RUN, **QUIET)
    tab.data.making.rows_button.click(None, js=SHOW_RUN, **QUIET)
    return _refresh(tab), wire_memory(tab, plan), plan


def _refresh(tab: TrainTab) -> Wiring:
    """Return the event that fills the lists of runs and adapters; a run named in the address (?run=ID) is picked."""

    @shown
    def on_open(request: gr.Request, token: gr.OAuthToken | None, key, run_id, words, chosen, *filters):
        if not key:  # the tab is shown before the browser has its key; this comes again with it
            return [gr.skip()] * len(tab.lists)
        wanted = run_id or request.query_params.get("run")
        owner = owner_of(key, token)
        follow_jobs(owner, token)
        return lists(owner, wanted, run_filter(words, *filters), chosen)

    history_inputs = [tab.history.search_box, tab.history.runs_checkboxes, *tab.history.filters]
    inputs = [tab.browser_key, tab.view.runs_dropdown, *history_inputs]
    return {"fn": on_open, "inputs": inputs, "outputs": tab.lists, **QUIET}


def _wire_view(tab: TrainTab) -> Wiring:
    """Wire the timer and the choice of a run; return the event that fills the view.

    A browser works long on each output of an event: a tick brings only what is live, when it has changed, and the rest follows
    when the phase is another.
    """
    view, inputs = tab.view, [tab.browser_key, tab.view.runs_dropdown]

    @shown
    def version_of_run(token: gr.OAuthToken | None, key: str, run_id: str) -> str:
        visitor = visitor_of(key, token)
        run = find_run(run_id, visitor.owner) if run_id else None
        if run:
            renew(run, visitor)
        return run_view.signature(run)

    @shown
    def on_change(token: gr.OAuthToken | None, key, run_id):
        run = find_run(run_id, owner_of(key, token)) if run_id else None
        state = read_state(run) if run else RunState(status="")
        return [*run_view.render_live(run, state), run_view.phase(run, state)]

    @shown
    def on_pick(token: gr.OAuthToken | None, key, run_id):
        run = find_run(run_id, owner_of(key, token)) if run_id else None
        state = read_state(run) if run else None
        seconds = TICK_SECONDS if state and state.is_running else IDLE_TICK_SECONDS
        return [*run_view.render(run), state.adapter if state else "", gr.Timer(seconds)]

    picked: Wiring = {
        "fn": on_pick,
        "inputs": inputs,
        "outputs": [*view.outputs, tab.adapter_name, tab.timer],
        **QUIET,
    }
    gr.api(version_of_run, queue=False)
    tab.timer.tick(None, [*inputs, tab.shown], tab.shown, js=asking("version_of_run"))
    tab.shown.change(on_change, inputs, [*view.live, tab.phase], **QUIET)
    tab.phase.change(**picked)
    view.runs_dropdown.change(**picked)
    return picked


def _wire_start(tab: TrainTab, picked: Wiring) -> None:
    """Wire the start; data that was not checked is checked first."""
    inputs = [tab.browser_key, tab.report, *tab.components]
    outputs = [*tab.data.views, tab.report, tab.start_html]
    untouched = [gr.skip()] * (len(outputs) - 1)

    @shown
    def look_first(token: gr.OAuthToken | None, key, looked_at, *values):
        """Check data that nobody has looked at yet, and show the report: it says why a start is refused."""
        config = capped(form_config(tab.names, owner_of(key, token), values))
        config.check()
        if is_untouched_example(config) or report_for(config, looked_at) is not None:
            yield [*untouched, gr.skip()]  # a generator that yields nothing would empty everything
            return
        for kind, value in checked(config):
            if kind == "says":
                yield [*untouched, hint(str(value))]
            else:
                yield [*report_views(value["report"]), value, hint("")]

    @shown
    def on_start(token: gr.OAuthToken | None, key, looked_at, *values):
        *values, keeps_checkpoints = values
        visitor = visitor_of(key, token)
        account = backup_account(visitor) if keeps_checkpoints else None
        config = form_config(tab.names, visitor.owner, values)
        run = checked_start(config, looked_at, visitor)
        forget(run)  # one of the same name may have been sent and deleted
        if account:
            keep_sending(run, account)
        return lists(visitor.owner, run.id)

    looking = tab.start_button.click(look_first, inputs, outputs, concurrency_id="check", **QUIET)
    started = looking.success(
        on_start,
        [*inputs, tab.plan.backup.checkbox],
        tab.lists,
        api_name="start_training",
        concurrency_id="start",
        concurrency_limit=1,
        show_progress="hidden",
    )
    started.success(None, js=STAY, **QUIET)
    wire_slices(tab, started)
    started.success(**tab.to_run).then(**picked).then(None, js=SHOW_RUN, **QUIET)
    looking.then(lambda: hint(""), None, tab.start_html, **QUIET)


def _wire_run(tab: TrainTab, picked: Wiring) -> None:
    """Wire stop, resume, and the start with the cure of a failed run."""
    view, inputs = tab.view, [tab.browser_key, tab.view.runs_dropdown]

    @shown
    def on_stop(token: gr.OAuthToken | None, key, run_id):
        run = own_run(run_id, owner_of(key, token))
        if stop_job(run, token):
            return
        waits = run.is_queued()
        stop_run(run)
        gr.Info(_("Removed from the queue.") if waits else _("Stopping; what it learned is kept."))

    @shown
    def on_resume(token: gr.OAuthToken | None, key, run_id):
        visitor = visitor_of(key, token)
        run = own_run(run_id, visitor.owner)
        enqueue(run)
        renew(run, visitor)

    @shown
    def on_cure(token: gr.OAuthToken | None, key, run_id):
        visitor = visitor_of(key, token)
        run = own_run(run_id, visitor.owner)
        cure = read_state(run).cure
        if not cure:
            raise UserError(_("This run has nothing to fix."), _("Press Resume to go on."))
        config = replace(history.copy_settings(run), **checked_changes(cure.get("changes")))
        check_init_adapter(config, visitor)
        started = launch(config, visitor.owner)
        if read_backup(run.folder):
            note_backup(started.folder)
            renew(started, visitor)
        words = _("{cure}: started again as {name}.", cure=cure["label"], name=title_of(started))
        gr.Info(html.escape(str(words), quote=False))
        return [*changed_form(tab.names, form_values(config)), *lists(visitor.owner, started.id)]

    view.stop_button.click(on_stop, inputs, None, api_name="stop_run").success(**picked)
    resumed = view.resume_button.click(on_resume, inputs, None, api_name="resume_run")
    cured = view.cure_button.click(on_cure, inputs, [*tab.components, *tab.lists], api_name="cure")
    for started in (resumed, cured):
        started.success(**picked)
        wire_slices(tab, started)


def checked_changes(changes: object) -> FormValues:
    """Return the settings that a cure changes: no file, no machine, no base but the embedded one. Raises UserError.

    They may come from a job on another machine.
    """
    known = {item.name for item in fields(TrainConfig)} - {*marked(SERVER, ROWS, PERSONAL)}
    is_known = isinstance(changes, dict) and not set(changes) - known
    if not is_known or changes.get("base", EMBEDDED) != EMBEDDED or changes.get("base_revision"):
        raise UserError(_("This fix is not known."), _("Copy the settings to the form and change them there."))
    return changes


def _wire_discard(tab: TrainTab, picked: Wiring) -> None:
    """Wire discard, after a question in the place of its button."""
    view, toast = tab.view, tab.toast
    question = [view.discard_button, view.discard_group]

    @shown
    def on_discard(token: gr.OAuthToken | None, key, run_id, words, *filters):
        visitor = visitor_of(key, token)
        run = own_run(run_id, visitor.owner)
        end_job(run, visitor.hub_token)
        forget(run)
        deleted = history.discard(run)
        line = toast_updates(_("Deleted {title}.", title=deleted.title), [deleted.entry])
        return [*lists(visitor.owner, None, run_filter(words, *filters)), *line]

    def asks(run_id) -> list:
        return [gr.Button(visible=bool(run_id)), gr.Group(visible=False)]

    inputs = [tab.browser_key, view.runs_dropdown, tab.history.search_box, *tab.history.filters]
    view.discard_button.click(lambda: [gr.Button(visible=False), gr.Group(visible=True)], None, question, **QUIET)
    view.discard_no.click(asks, view.runs_dropdown, question, **QUIET)
    view.runs_dropdown.change(asks, view.runs_dropdown, question, **QUIET)
    discarded = view.discard_yes.click(on_discard, inputs, [*tab.lists, *toast.outputs], api_name="discard")
    discarded.success(asks, view.runs_dropdown, question, **QUIET).success(**picked)
