"""The events of 'Run on Hugging Face Jobs': machines and prices, the cost, the start after a yes, resume, following again.

Only the visitor's own sign-in is used, on a laptop the local login. It is kept in this process's memory and in the job.
"""

import html
import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import gradio as gr

from common.errors import UserError
from common.language import _, joined
from data.check import check
from jobs.follow import attach
from jobs.hf import end_job, read_job, resume, submit
from jobs.prices import JobPlan, flavors, plan
from jobs.stop import ask_to_stop, job_repo
from models.hub.client import Account, account_of, token_of
from runs.config import TrainConfig
from runs.resolve import base_in_minute, capped, resolve
from runs.run import Run, runs_with
from ui.events import QUIET
from ui.hints import hint_html
from ui.messages import shown
from ui.owner import owner_of, visitor_of
from ui.train.check_events import Checked, report_for
from ui.train.data_form import stops_of
from ui.train.form_values import form_config
from ui.train.history_events import lists, own_run
from ui.train.jobs_view import (
    ADD_SCOPE,
    FIRST_LOOK,
    NO_SCOPE,
    STOPPING,
    JobsSection,
    choices,
    first_choice,
    job_words,
    lacks_scope,
    plan_words,
)
from ui.train.plan_events import check_init_adapter, elsewhere_of, is_untouched_example
from ui.train.tab import TrainTab


def wire_jobs(tab: TrainTab, section: JobsSection, picked: dict[str, Any]) -> None:
    """Wire the section; `picked` fills the view of the shown run."""
    _wire_cost(tab, section)
    _wire_start(tab, section, picked)

    @shown
    def on_show(token: gr.OAuthToken | None, key, run_id):
        return job_words(read_job(own_run(run_id, owner_of(key, token))) if run_id else None)

    tab.view.runs_dropdown.change(on_show, [tab.browser_key, tab.view.runs_dropdown], section.job_html, **QUIET)


def _wire_cost(tab: TrainTab, section: JobsSection) -> None:
    """Wire machines and prices, the plan, and its reset when an input changes."""

    @shown
    def on_open(token: gr.OAuthToken | None, key, looked_at, *values):
        owner = owner_of(key, token)
        hub_token = token_of(token.token if token else None)
        found = flavors(hub_token)
        try:
            words = joined([NO_SCOPE, ADD_SCOPE])
            if not lacks_scope():
                words = _("Signed in to Hugging Face as {account}.", account=account_of(hub_token).name)
            kind = "problem" if lacks_scope() else "hint"
        except UserError as error:
            words, kind = str(error), "problem"
        job = None
        with suppress(UserError):  # of a form that cannot start
            job = elsewhere_of(resolve(form_config(tab.names, owner, values), base_in_minute), looked_at, owner, found)
        flavor, minutes = (job.flavor.name, job.minutes) if job else (first_choice(found), gr.skip())
        return hint_html(words, kind), gr.Dropdown(choices(found), value=flavor), minutes

    @shown
    def on_plan(token: gr.OAuthToken | None, key, flavor, minutes, dollars):
        owner_of(key, token)
        account = _account(token)
        made = _plan(token, account, flavor, minutes, dollars)
        yes = gr.Button(interactive=True)
        return plan_words(made, account.name), (flavor, minutes, dollars, made.most_dollars), yes, yes

    opened = [section.account_html, section.flavor_dropdown, section.minutes_number]
    section.accordion.expand(on_open, [tab.browser_key, tab.report, *tab.components], opened, **QUIET)
    wishes = [tab.browser_key, *section.wishes]
    section.plan_button.click(on_plan, wishes, section.planned, api_name="plan_job", show_progress="hidden")
    for wish in section.wishes:  # what was agreed to is no longer what would be started
        wish.change(lambda: [hint_html(FIRST_LOOK), *_used_up()], None, section.planned, **QUIET)


def _wire_start(tab: TrainTab, section: JobsSection, picked: dict[str, Any]) -> None:
    """Wire start and resume as a job, both only with the plan that was agreed to."""
    once = [section.agreed, section.start_button, section.resume_button]

    @shown
    def on_start(token: gr.OAuthToken | None, key, looked_at, agreed, *values):
        visitor = visitor_of(key, token)
        account = _account(token)
        made = _agreed(token, account, agreed)
        config = form_config(tab.names, visitor.owner, values)
        check_init_adapter(config, visitor)
        _check_data(config, looked_at)
        run = submit(config, made, account, visitor.owner)
        attach(run, account)
        words = _(
            "{run} is now a job on {machine}, at most ${dollars:.2f}.",
            run=run.id,
            machine=made.flavor.name,
            dollars=made.most_dollars,
        )
        gr.Info(html.escape(str(words), quote=False))
        return [*_used_up(), job_words(read_job(run)), *lists(visitor.owner, run.id)]

    @shown
    def on_resume(token: gr.OAuthToken | None, key, agreed, run_id):
        run = own_run(run_id, owner_of(key, token))
        account = _account(token)
        resume(run, _agreed(token, account, agreed), account)
        attach(run, account)
        return [*_used_up(), job_words(read_job(run))]

    inputs = [tab.browser_key, tab.report, section.agreed, *tab.components]
    outputs = [*once, section.job_html, *tab.lists]
    starting: dict[str, Any] = {
        "concurrency_id": "start_job",
        "concurrency_limit": 4,
        "show_progress_on": [section.start_button],
    }
    begun = section.start_button.click(on_start, inputs, outputs, api_name="start_job", **starting)
    begun.success(lambda: gr.Tabs(selected="run"), None, tab.tabs, **QUIET).then(**picked)
    resumed = [tab.browser_key, section.agreed, tab.view.runs_dropdown]
    outputs = [*once, section.job_html]
    section.resume_button.click(on_resume, resumed, outputs, api_name="resume_job", **starting).success(**picked)


def _used_up() -> list:
    """Return updates that clear the agreement, so that a second click starts no second job."""
    return [None, gr.Button(interactive=False), gr.Button(interactive=False)]


def _account(token: gr.OAuthToken | None) -> Account:
    """Return the account that pays. Raises UserError when nobody is signed in, or the sign-in cannot have the right."""
    if lacks_scope():
        raise UserError(NO_SCOPE, ADD_SCOPE)
    return account_of(token_of(token.token if token else None))


def _plan(token: gr.OAuthToken | None, account: Account, flavor, minutes, dollars) -> JobPlan:
    """Return the plan. Raises UserError when the sign-in would end before the job, which could then send nothing."""
    made = plan(flavor, minutes, dollars, account.token)
    left = ((token.expires_at or 0) - time.time()) / 60 if token else 0
    if 0 < left < made.minutes:
        raise UserError(
            _(
                "Your sign-in ends in {left:.0f} minutes, before the job would. It could not save what it learned.",
                left=left,
            ),
            _("Set fewer minutes, or sign in again."),
        )
    return made


def _agreed(token: gr.OAuthToken | None, account: Account, agreed) -> JobPlan:
    """Return the plan that was agreed to, made anew. Raises UserError when its price rose meanwhile."""
    if not agreed or len(agreed) != 4:
        raise UserError(_("The cost was not confirmed yet."), _("Press 'See the cost' first."))
    made = _plan(token, account, *agreed[:3])
    if made.most_dollars > agreed[3]:
        sentence = _("It would now cost up to ${dollars:.2f}.", dollars=made.most_dollars)
        raise UserError(sentence, _("See the cost again."))
    return made


def _check_data(config: TrainConfig, looked_at: Checked | None) -> None:
    """Raise UserError while a finding in the data prevents a start, before a machine is rented."""
    config.check()
    # looked at on this machine, within what it allows
    config = capped(replace(config, parallel="auto", num_processes=1, max_minutes=0))
    if is_untouched_example(config):
        return
    stops = stops_of(report_for(config, looked_at) or check(config.data_settings()))
    if stops:
        raise UserError(joined([_("Fix the data first:"), stops[0]]), _("The report below the examples offers a fix."))


def stop_job(run: Run, token: gr.OAuthToken | None) -> bool:
    """Stop the job of `run`, or cancel it when a stop was asked before; return False for a run without a job."""
    if read_job(run) is None:
        return False
    account = account_of(token_of(token.token if token else None))
    if run.stop_file.exists():
        end_job(run, account.token)
        gr.Info(_("The job is being cancelled. Its last checkpoint is on Hugging Face."))
    else:
        ask_to_stop(job_repo(run, account), account)
        run.request_stop()
        gr.Info(str(STOPPING))
    attach(run, account)
    return True


def follow_jobs(owner: str, token: gr.OAuthToken | None) -> None:
    """Start following the jobs of `owner` that were left when the app was restarted. Returns at once."""
    waiting = [run for run in runs_with("job.json", owner) if (job := read_job(run)) and not job.is_over]
    hub_token = token_of(token.token if token else None)
    if waiting and hub_token:
        threading.Thread(target=_follow_all, args=(waiting, hub_token), daemon=True).start()


def _follow_all(runs: list[Run], hub_token: str) -> None:
    """Follow the jobs of `runs`; do nothing when nobody is signed in."""
    try:
        account = account_of(hub_token)
    except UserError:  # not signed in any more: the page says so where it matters
        return
    for run in runs:
        attach(run, account)
