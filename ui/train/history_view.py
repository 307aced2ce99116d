"""The list of all runs and the comparison under it: layout, and HTML from `runs.history`."""

import html
import time
from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from adapters.forgotten import general_nats
from adapters.values import number
from common.language import _
from common.words import duration
from runs import history
from runs.fields import label_of as setting_label
from runs.history import BY_LOSS, BY_TITLE, NEWEST, STARRED, RunFilter
from runs.labels import labels_of, title_of
from runs.run import Run, list_runs, read_state, settings_written_at
from runs.state import UNREADABLE
from ui.hints import hint_html
from ui.long_lists import MAX_LISTED_ENTRIES, SEARCH_TO_FIND, Choice, first_with, how_many
from ui.train.run_plots import comparison_plot, learned_against_forgotten
from ui.train.run_words import STATUS_WORDS

MAX_COMPARED = 6
FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {  # a figure of Metrics: its label, its value in words
    "loss_before": (_("Held-out loss before"), "{:.3f}".format),
    "loss_after": (_("Held-out loss after"), "{:.3f}".format),
    "step": (_("Steps"), "{:,.0f}".format),
    "rows": (_("Examples"), "{:,.0f}".format),
    "tokens_per_second": (_("Tokens per second"), "{:,.0f}".format),
    "total_seconds": (_("Time"), duration),
    "train_seconds": (_("Training time, steps only"), duration),
    "peak_memory_bytes": (_("Memory (GiB)"), lambda value: f"{value / 2**30:.1f}"),
}
ORDERS = [
    (_("Newest first"), NEWEST),
    (_("Starred first"), STARRED),
    (_("By name"), BY_TITLE),
    (_("Lowest loss first"), BY_LOSS),
]


@dataclass
class HistoryView:
    """The parts of the list and of the comparison under it."""

    tab: gr.Tab
    search_box: gr.Textbox
    tags_dropdown: gr.Dropdown
    starred_checkbox: gr.Checkbox
    order_dropdown: gr.Dropdown
    runs_checkboxes: gr.CheckboxGroup
    compare_button: gr.Button
    open_button: gr.Button
    copy_button: gr.Button
    delete_button: gr.Button
    delete_group: gr.Group  # the question in the place of the button
    delete_yes: gr.Button
    delete_no: gr.Button
    undo_button: gr.Button
    star_button: gr.Button
    title_box: gr.Textbox
    rename_button: gr.Button
    tags_box: gr.Textbox
    notes_box: gr.Textbox
    label_button: gr.Button
    plot_html: gr.HTML
    table_html: gr.HTML
    scatter_html: gr.HTML

    @property
    def filters(self) -> list[gr.Dropdown | gr.Checkbox]:
        """Return what says, with the search box, which runs are listed: the arguments of `run_filter` after the words."""
        return [self.tags_dropdown, self.starred_checkbox, self.order_dropdown]

    @property
    def of_chosen(self) -> list[gr.Button | gr.Textbox]:
        """Return what acts on the chosen runs, and is inactive while there are none."""
        buttons = [self.compare_button, self.open_button, self.copy_button, self.star_button, self.delete_button]
        return [*buttons, self.title_box, self.rename_button, self.label_button]


def build_history_view(tab: gr.Tab) -> HistoryView:
    """Lay out the list of all runs and the comparison under it."""
    search_box = gr.Textbox(label=_("Search"), placeholder=_("A name, tag, base or status"))
    with gr.Row(equal_height=True):
        # custom values, too: a tag that is asked for may have been taken from the last run that had it
        tags_dropdown = gr.Dropdown(
            [], value=[], label=_("Tags (all of these)"), multiselect=True, allow_custom_value=True, min_width=160
        )
        orders = [(str(label), value) for label, value in ORDERS]
        order_dropdown = gr.Dropdown(orders, value=NEWEST, label=_("Order"), min_width=160)
        starred_checkbox = gr.Checkbox(False, label=_("Starred only"), min_width=120)
    runs_checkboxes = gr.CheckboxGroup([], label=_("Runs"), elem_classes="runs")
    with gr.Row():
        compare_button = gr.Button(_("Compare"), variant="primary", interactive=False, min_width=100)
        open_button = gr.Button(_("Show"), interactive=False, min_width=80)
        copy_button = gr.Button(_("Copy settings to the form"), interactive=False, min_width=160)
        star_button = gr.Button(_("Star ★"), interactive=False, min_width=80)
        delete_button = gr.Button(_("Delete"), variant="stop", interactive=False, min_width=80)
        undo_button = gr.Button(_("Undo delete"), visible=False, min_width=100)
    with gr.Group(visible=False) as delete_group:
        gr.HTML(f"<p class='problem'>{_('Delete the chosen runs? Their adapters stay.')}</p>", padding=True)
        with gr.Row():
            delete_yes = gr.Button(_("Yes, delete"), variant="stop", size="sm")
            delete_no = gr.Button(_("Keep"), size="sm")
    with gr.Row():
        title_box = gr.Textbox(show_label=False, placeholder=_("New name"), container=False, interactive=False, scale=3)
        rename_button = gr.Button(_("Rename"), interactive=False, scale=1, min_width=80)
    with gr.Row():
        tags_box = gr.Textbox(
            label=_("Tags"), placeholder=_("poems, korean"), interactive=False, scale=2, min_width=160
        )
        notes_box = gr.Textbox(label=_("Private notes"), max_lines=6, interactive=False, scale=3, min_width=160)
        label_button = gr.Button(_("Save tags and notes"), interactive=False, scale=1, min_width=120)
    plot_html = gr.HTML()
    table_html = gr.HTML(elem_classes="compare")
    scatter_html = gr.HTML()
    return HistoryView(
        tab=tab,
        search_box=search_box,
        tags_dropdown=tags_dropdown,
        starred_checkbox=starred_checkbox,
        order_dropdown=order_dropdown,
        runs_checkboxes=runs_checkboxes,
        compare_button=compare_button,
        open_button=open_button,
        copy_button=copy_button,
        delete_button=delete_button,
        delete_group=delete_group,
        delete_yes=delete_yes,
        delete_no=delete_no,
        undo_button=undo_button,
        star_button=star_button,
        title_box=title_box,
        rename_button=rename_button,
        tags_box=tags_box,
        notes_box=notes_box,
        label_button=label_button,
        plot_html=plot_html,
        table_html=table_html,
        scatter_html=scatter_html,
    )


def run_filter(words: object, tags: object = None, starred: object = False, order: object = NEWEST) -> RunFilter:
    """Return which runs the search box and the fields beside it ask for, whatever was sent."""
    tags = tuple(map(str, tags)) if isinstance(tags, list) else ()
    return RunFilter(str(words or ""), tags, bool(starred), str(order))


def listed(owner: str, wanted: RunFilter, chosen: list | None, runs: list[Run] | None = None) -> list:
    """Return updates for the list of runs and the undo button; chosen runs stay chosen while they are found.

    `runs` are all of the owner's, when they are known already.
    """
    found = history.filtered(list_runs(owner) if runs is None else runs, wanted)
    kept = set(chosen or [])
    shown = found[:MAX_LISTED_ENTRIES] + [run for run in found[MAX_LISTED_ENTRIES:] if run.id in kept]
    ids = {run.id for run in shown}
    deleted = history.deleted(owner)
    return [
        gr.CheckboxGroup(
            [(label_of(run), run.id) for run in shown],
            value=[run_id for run_id in chosen or [] if run_id in ids],
            info=how_many(len(found), SEARCH_TO_FIND),
        ),
        gr.Button(
            _("Undo delete ({count:,})", count=len(deleted)) if len(deleted) > 1 else _("Undo delete"),
            visible=bool(deleted),
        ),
    ]


def scatter(owner: str, wanted: RunFilter) -> str:
    """Return the plot of what the listed runs learned against what they forgot; "" where fewer than two have measured it."""
    runs = history.filtered(list_runs(owner), wanted)[:MAX_LISTED_ENTRIES]
    return learned_against_forgotten((title_of(run), read_state(run, with_curves=False).metrics) for run in runs)


def label_of(run: Run) -> str:
    """Return one line about a run: star, title, tags, state, last loss and day."""
    state, labels = read_state(run, with_curves=False), labels_of(run)
    title = f"{'★ ' * labels.starred}{title_of(run)}"
    parts = [title, *(f"#{tag}" for tag in labels.tags), STATUS_WORDS.get(state.status, state.status)]
    if state.status == UNREADABLE:
        parts.append(_("press Show to see why"))
    if run.settings_problem():
        parts.append(_("its settings cannot be read: press Show to see why"))
    if state.eval_losses:
        parts.append(_("held-out loss {loss:.3f}", loss=state.eval_losses[-1][1]))
    elif state.losses:
        parts.append(_("loss {loss:.3f}", loss=state.losses[-1][1]))
    parts.append(_day_of(run))
    return " · ".join(map(str, parts))


def run_choices(runs: list[Run], typed: str = "", picked: object = None) -> list[Choice]:
    """Return the newest of `runs` that match `typed`, those of experiments only then, and the picked one.

    Labels do not change during a training.
    """
    found = history.found_in(runs, typed) if typed else history.without_experiments(runs)
    choices = first_with((_choice_of(run) for run in found), typed)
    known = {run_id for _, run_id in choices}
    return choices + [_choice_of(run) for run in runs if run.id == picked and picked not in known]


def _choice_of(run: Run) -> Choice:
    """Return (label, id) of a run for a dropdown."""
    return f"{title_of(run)} · {_day_of(run)}", run.id


def _day_of(run: Run) -> str:
    """Return the local time at which the run's settings were written."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime((settings_written_at(run.folder) or 0) / 1e9))


def comparison(runs: list[Run]) -> list[str]:
    """Return the plot of all curves and the table as HTML: results, settings that differ, equal settings."""
    compared = history.compare(runs)
    titles = compared.titles
    names = [title if titles.count(title) == 1 else f"{title} ({place})" for place, title in enumerate(titles, 1)]
    figures = []
    for name, (label, say) in FIGURES.items():
        known = [number(metrics.get(name)) for metrics in compared.metrics]
        figures.append(history.Row(str(label), ["" if one is None else say(one) for one in known]))
    nats = [general_nats(metrics) for metrics in compared.metrics]
    words = ["" if one is None else f"{one:+.3f}" for one in nats]
    figures.append(history.Row(str(_("Loss on general text rose by (nats)")), words))
    figures.append(history.Row(str(_("Hardware")), [metrics.get("hardware") for metrics in compared.metrics]))
    figures = [row for row in figures if any(row.values)]
    settings = [history.Row(str(setting_label(row.name)), row.values) for row in compared.settings]
    differing, equal = [row for row in settings if row.differs], [row for row in settings if not row.differs]
    differences = _table(_("Settings that differ"), differing, names, "differs") if differing else ""
    table = (
        _table(_("Results"), figures, names)
        + (differences or hint_html(_("All settings are equal.")))
        + f"<details><summary>{html.escape(_('Settings that are equal'))}</summary>{_table('', equal, names)}</details>"
    )
    return [comparison_plot(dict(zip(names, compared.losses, strict=True))), table]


def _table(caption: str, rows: list[history.Row], names: list[str], css_class: str = "") -> str:
    """Return rows of values as an HTML table, all text escaped."""

    def cell(value) -> str:
        words = f"{value:.4g}" if isinstance(value, float) else str(value)[:120]
        return f"<td>{'–' if value is None or value == '' else html.escape(words)}</td>"

    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(
        f"<tr class='{css_class}'><th>{html.escape(row.name)}</th>{''.join(map(cell, row.values))}</tr>" for row in rows
    )
    return f"<table><caption>{html.escape(caption)}</caption><tr><th></th>{head}</tr>{body}</table>"
