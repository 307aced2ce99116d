"""Wire the list of all runs: search, show, labels, compare, copy settings, delete and undo, for their owner only."""

import gradio as gr

from adapters.library import adapter_names
from common.errors import UserError
from common.language import Sentence, _, n_
from jobs.hf import end_job
from runs import history
from runs.history import EVERY_RUN, Deleted, RunFilter
from runs.labels import Labels, labels_of, set_labels
from runs.run import Run, find_run, list_runs
from ui.events import QUIET, Wiring
from ui.long_lists import TYPE_TO_FIND, Choice, dataset_choices, find_while_typing, how_many, titled_adapters
from ui.messages import shown
from ui.owner import owner_of, visitor_of
from ui.toast import toast_updates
from ui.train import history_view
from ui.train.check_events import changed_form
from ui.train.form_values import form_values
from ui.train.history_view import run_choices, run_filter
from ui.train.tab import TrainTab


def lists(owner: str, run_id: str | None, wanted: RunFilter = EVERY_RUN, chosen: list | None = None) -> list:
    """Return updates for TrainTab.lists; `run_id` stays picked while it is one of the owner's runs."""
    runs, adapters = list_runs(owner), adapter_names(owner)
    choices = run_choices(runs, picked=run_id)
    ids = [value for _, value in choices]
    picked = run_id if run_id in ids else next(iter(ids), None)
    return [
        gr.Dropdown(choices, value=picked, info=how_many(len(runs), TYPE_TO_FIND)),
        *history_view.listed(owner, wanted, chosen, runs),
        gr.Dropdown(adapter_choices(owner, adapters), info=how_many(len(adapters), TYPE_TO_FIND)),
        gr.Dropdown(dataset_choices(owner)),
    ]


def adapter_choices(owner: str, names: list[str], typed: str = "", picked: object = None) -> list[Choice]:
    """Return the adapters to continue from: none, the newest of `names` that match `typed`, and the picked one."""
    return [(_("scratch"), ""), *titled_adapters(owner, names, typed, [picked] if isinstance(picked, str) else [])]


def tags_of(owner: str) -> list[str]:
    """Return the tags of all runs of `owner`, for a list of choices."""
    return history.tags_of(list_runs(owner))


def own_run(run_id: str | None, owner: str) -> Run:
    """Return the run with this id. Raises UserError when it is not the owner's."""
    if not run_id or not isinstance(run_id, str):
        raise UserError(_("No run is chosen."), _("Pick one."))
    return find_run(run_id, owner)


def wire_history(tab: TrainTab, picked: Wiring) -> None:
    """Wire the list, and the search by typing in the dropdowns of runs and adapters."""
    find_while_typing(
        tab.view.runs_dropdown,
        tab.browser_key,
        lambda owner, typed, run_id: run_choices(list_runs(owner), typed, run_id),
    )
    find_while_typing(
        tab.inputs["init_adapter"],
        tab.browser_key,
        lambda owner, typed, name: adapter_choices(owner, adapter_names(owner), typed, name),
    )
    _wire_reading(tab, picked)
    _wire_labels(tab, picked)
    _wire_deleting(tab, picked)


def _wire_reading(tab: TrainTab, picked: Wiring) -> None:
    """Wire search and filters, compare, show, and copying the settings to the form."""
    view, key = tab.history, tab.browser_key
    chosen = [key, view.search_box, view.runs_checkboxes]
    relist = [view.runs_checkboxes, view.undo_button, view.scatter_html]

    @shown
    def on_search(token: gr.OAuthToken | None, key, words, ids, *filters):
        owner, wanted = owner_of(key, token), run_filter(words, *filters)
        return [*history_view.listed(owner, wanted, ids), history_view.scatter(owner, wanted)]

    @shown
    def on_select(token: gr.OAuthToken | None, key, words, ids, *filters):
        owner = owner_of(key, token)
        return [gr.Dropdown(tags_of(owner)), *on_search(token, key, words, ids, *filters)]

    @shown
    def on_choose(token: gr.OAuthToken | None, key, ids):
        """Activate what acts on the chosen runs, and show the labels of the one chosen run; of none and of several nothing."""
        labels = labels_of(own_run(ids[0], owner_of(key, token))) if len(ids or []) == 1 else Labels()
        boxes = [gr.Textbox(words, interactive=bool(ids)) for words in (", ".join(labels.tags), labels.notes)]
        return [*boxes, *[gr.update(interactive=bool(ids))] * len(view.of_chosen)]

    @shown
    def on_compare(token: gr.OAuthToken | None, key, words, ids):
        owner = owner_of(key, token)
        if not 2 <= len(ids or []) <= history_view.MAX_COMPARED:
            raise UserError(_chosen(ids), _("Choose 2 to {most}.", most=history_view.MAX_COMPARED))
        return history_view.comparison([own_run(run_id, owner) for run_id in ids])

    @shown
    def on_show(token: gr.OAuthToken | None, key, words, ids):
        run = own_run(only(ids), owner_of(key, token))
        return run.id, gr.Tabs(selected="run")

    @shown
    def on_copy(token: gr.OAuthToken | None, key, words, ids):
        config = history.copy_settings(own_run(only(ids), owner_of(key, token)))
        gr.Info(_("The form now has the settings of this run."))
        return changed_form(tab.names, form_values(config))

    for part in (view.search_box, *view.filters):
        part.change(on_search, [*chosen, *view.filters], relist, trigger_mode="always_last", **QUIET)
    view.tab.select(on_select, [*chosen, *view.filters], [view.tags_dropdown, *relist], **QUIET)
    labelled = [view.tags_box, view.notes_box, *view.of_chosen]
    view.runs_checkboxes.change(on_choose, [key, view.runs_checkboxes], labelled, **QUIET)
    view.compare_button.click(on_compare, chosen, [view.plot_html, view.table_html], api_name="compare_runs")
    view.open_button.click(on_show, chosen, [tab.view.runs_dropdown, tab.tabs], **QUIET).success(**picked)
    view.copy_button.click(on_copy, chosen, tab.components, **QUIET)


def _wire_labels(tab: TrainTab, picked: Wiring) -> None:
    """Wire rename, tags and note, and the star."""
    view = tab.history
    chosen = [tab.browser_key, view.search_box, view.runs_checkboxes]

    @shown
    def on_rename(token: gr.OAuthToken | None, key, words, ids, title, shown_run, *filters):
        owner = owner_of(key, token)
        set_labels(own_run(only(ids), owner), title=title or "")
        return ["", *lists(owner, shown_run, run_filter(words, *filters), ids)]

    @shown
    def on_label(token: gr.OAuthToken | None, key, words, ids, tags, notes, shown_run, *filters):
        owner = owner_of(key, token)
        set_labels(own_run(only(ids), owner), notes=notes or "", tags=[tags or ""])
        gr.Info(_("Tags and notes are saved."))
        return [gr.Dropdown(tags_of(owner)), *lists(owner, shown_run, run_filter(words, *filters), ids)]

    @shown
    def on_star(token: gr.OAuthToken | None, key, words, ids, shown_run, *filters):
        """Star the chosen runs; when all have their star, take it away."""
        owner = owner_of(key, token)
        runs = [own_run(run_id, owner) for run_id in ids or []]
        if not runs:
            raise UserError(_("No run is chosen."), _("Choose one or more."))
        starred = not all(labels_of(run).starred for run in runs)
        for run in runs:
            set_labels(run, starred=starred)
        return lists(owner, shown_run, run_filter(words, *filters), ids)

    shown_run = tab.view.runs_dropdown
    view.rename_button.click(
        on_rename,
        [*chosen, view.title_box, shown_run, *view.filters],
        [view.title_box, *tab.lists],
        api_name="rename",
    ).success(**picked)
    view.label_button.click(
        on_label,
        [*chosen, view.tags_box, view.notes_box, shown_run, *view.filters],
        [view.tags_dropdown, *tab.lists],
        api_name="label",
    ).success(**picked)
    view.star_button.click(on_star, [*chosen, shown_run, *view.filters], tab.lists, api_name="star").success(**picked)


def _wire_deleting(tab: TrainTab, picked: Wiring) -> None:
    """Wire delete, after a question in the place of its button, and undo: of the line that tells it, and in the list."""
    view, toast = tab.history, tab.toast
    chosen = [tab.browser_key, view.search_box, view.runs_checkboxes]
    question = [view.delete_button, view.delete_group]

    @shown
    def on_delete(token: gr.OAuthToken | None, key, words, ids, shown_run, *filters):
        visitor = visitor_of(key, token)
        deleted = []
        for run in [own_run(run_id, visitor.owner) for run_id in ids or []]:
            end_job(run, visitor.hub_token)
            deleted.append(history.delete(run))
        line = toast_updates(_words_of(deleted), [one.entry for one in deleted])
        return [*lists(visitor.owner, shown_run, run_filter(words, *filters)), *line]

    @shown
    def on_undo(token: gr.OAuthToken | None, key, words, ids, shown_run, *filters):
        """Bring the last deleted run back."""
        owner = owner_of(key, token)
        last = [one.entry for one in history.deleted(owner)[:1]]
        return brought_back(owner, last, run_filter(words, *filters), ids)

    @shown
    def on_undo_all(token: gr.OAuthToken | None, key, words, ids, shown_run, *filters):
        """Bring back what the line tells of."""
        *filters, entries = filters
        return brought_back(owner_of(key, token), entries, run_filter(words, *filters), ids)

    def brought_back(owner: str, entries: list[str], wanted: RunFilter, ids: list | None) -> list:
        runs = [history.undo_delete(owner, entry) for entry in entries]
        if not runs:
            raise UserError(_("There is nothing to bring back."))
        return [*lists(owner, runs[0].id, wanted, ids), *toast_updates()]

    def asks(is_asked: bool) -> list:
        return [gr.Button(visible=not is_asked), gr.Group(visible=is_asked)]

    with_run = [*chosen, tab.view.runs_dropdown, *view.filters]
    outputs = [*tab.lists, *toast.outputs]
    view.delete_button.click(lambda ids: asks(bool(ids)), view.runs_checkboxes, question, **QUIET)
    gr.on([view.delete_no.click, view.runs_checkboxes.change], lambda: asks(False), None, question, **QUIET)
    deleted = view.delete_yes.click(on_delete, with_run, outputs, api_name="delete_runs").success(**picked)
    deleted.then(lambda: asks(False), None, question, **QUIET)
    view.undo_button.click(on_undo, with_run, outputs, api_name="undo_delete").success(**picked)
    toast.undo_button.click(on_undo_all, [*with_run, toast.entries], outputs, **QUIET).success(**picked)


def _words_of(deleted: list[Deleted]) -> Sentence:
    """Say what was deleted."""
    if len(deleted) == 1:
        return _("Deleted {title}.", title=deleted[0].title)
    return n_("{count:,} run deleted.", "{count:,} runs deleted.", len(deleted))


def only(ids: list | None) -> str:
    """Return the one run that is chosen. Raises UserError for none and for several."""
    if len(ids or []) != 1:
        raise UserError(_chosen(ids), _("Choose one."))
    return (ids or [])[0]


def _chosen(ids: list | None) -> Sentence:
    return n_("{count} run is chosen.", "{count} runs are chosen.", len(ids or []))
