"""The list of all runs and the comparison under it: layout, and HTML from `runs.history`."""

import html
import time
from dataclasses import dataclass

import gradio as gr
import pandas

from runs import history
from runs.history import BY_LOSS, BY_TITLE, NEWEST, STARRED, RunFilter
from runs.labels import labels_of, title_of
from runs.run import Run, list_runs, read_state, settings_written_at
from runs.state import UNREADABLE, thinned
from ui.long_lists import MAX_LISTED_ENTRIES, Choice, first_with, how_many
from ui.messages import hint_html
from ui.train.run_view import MAX_POINTS, STATUS_WORDS, smoothed

MAX_COMPARED = 6
FIGURES = ("loss_before", "loss_after", "step", "rows", "tokens_per_second", "train_seconds")
FIGURES += ("peak_memory_bytes", "hardware")
ORDERS = [("Newest first", NEWEST), ("Starred first", STARRED), ("By name", BY_TITLE), ("Lowest loss first", BY_LOSS)]
PALETTE = ("#4f46e5", "#d97706", "#059669", "#db2777", "#0891b2", "#65a30d")


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
    undo_button: gr.Button
    star_button: gr.Button
    title_box: gr.Textbox
    rename_button: gr.Button
    tags_box: gr.Textbox
    notes_box: gr.Textbox
    label_button: gr.Button
    plot: gr.LinePlot
    table_html: gr.HTML

    @property
    def filters(self) -> list[gr.Dropdown | gr.Checkbox]:
        """Return what says, with the search box, which runs are listed: the arguments of `run_filter` after the words."""
        return [self.tags_dropdown, self.starred_checkbox, self.order_dropdown]


def build_history_view(tab: gr.Tab) -> HistoryView:
    """Lay out the list of all runs and the comparison under it."""
    search_box = gr.Textbox(label="Search", placeholder="a name, a tag, a base, a state")
    with gr.Row(equal_height=True):
        # custom values, too: a tag that is asked for may have been taken from the last run that had it
        tags_dropdown = gr.Dropdown(
            [], value=[], label="With all of these tags", multiselect=True, allow_custom_value=True, min_width=160
        )
        order_dropdown = gr.Dropdown(ORDERS, value=NEWEST, label="Order", min_width=160)
        starred_checkbox = gr.Checkbox(False, label="Starred only", min_width=120)
    runs_checkboxes = gr.CheckboxGroup([], label="Runs", elem_classes="runs")
    with gr.Row():
        compare_button = gr.Button("Compare", variant="primary", min_width=100)
        open_button = gr.Button("Show", min_width=80)
        copy_button = gr.Button("Copy settings to the form", min_width=160)
        delete_button = gr.Button("Delete", variant="stop", min_width=80)
        undo_button = gr.Button("Undo delete", visible=False, min_width=100)
        star_button = gr.Button("Star ★", min_width=80)
    with gr.Row():
        title_box = gr.Textbox(show_label=False, placeholder="New name for the chosen run", container=False, scale=3)
        rename_button = gr.Button("Rename", scale=1, min_width=80)
    with gr.Row():
        tags_box = gr.Textbox(label="Tags of the chosen run", placeholder="poems, korean", scale=2, min_width=160)
        notes_box = gr.Textbox(label="Note", max_lines=6, scale=3, min_width=160)
        label_button = gr.Button("Save tags and note", scale=1, min_width=120)
    plot = gr.LinePlot(x="step", y="loss", color="run", title="Loss, smoothed", height=280, visible=False)
    table_html = gr.HTML(elem_classes="compare")
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
        undo_button=undo_button,
        star_button=star_button,
        title_box=title_box,
        rename_button=rename_button,
        tags_box=tags_box,
        notes_box=notes_box,
        label_button=label_button,
        plot=plot,
        table_html=table_html,
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
            info=how_many(len(found), "a search"),
        ),
        gr.Button("Undo delete" + (f" ({len(deleted)})" if len(deleted) > 1 else ""), visible=bool(deleted)),
    ]


def label_of(run: Run) -> str:
    """Return one line about a run: star, title, tags, state, last loss and day."""
    state, labels = read_state(run, with_curves=False), labels_of(run)
    title = f"{'★ ' * labels.starred}{labels.title or run.id}"
    parts = [title, *(f"#{tag}" for tag in labels.tags), STATUS_WORDS.get(state.status, state.status)]
    if state.status == UNREADABLE:
        parts.append("Show says why")
    if run.settings_problem():
        parts.append("its settings cannot be read: Show says why")
    if state.eval_losses:
        parts.append(f"held-out {state.eval_losses[-1][1]:.3f}")
    elif state.losses:
        parts.append(f"loss {state.losses[-1][1]:.3f}")
    parts.append(_day_of(run))
    return " · ".join(parts)


def run_choices(runs: list[Run], typed: str = "", picked: object = None) -> list[Choice]:
    """Return the newest of `runs` that match `typed`, and the picked one. Labels do not change during a training."""
    found = history.found_in(runs, typed) if typed else runs
    choices = first_with((_choice_of(run) for run in found), typed)
    known = {run_id for _, run_id in choices}
    return choices + [_choice_of(run) for run in runs if run.id == picked and picked not in known]


def _choice_of(run: Run) -> Choice:
    """Return (label, id) of a run for a dropdown."""
    return f"{title_of(run)} · {_day_of(run)}", run.id


def _day_of(run: Run) -> str:
    """Return the local time at which the run's settings were written."""
    return time.strftime("%d %b %H:%M", time.localtime((settings_written_at(run.folder) or 0) / 1e9))


def comparison(runs: list[Run]) -> list:
    """Return updates for the plot of all curves and the table: results, settings that differ, equal settings."""
    compared = history.compare(runs)
    titles = compared.titles
    names = [title if titles.count(title) == 1 else f"{title} ({number})" for number, title in enumerate(titles, 1)]
    points = [
        (step, loss, name)
        for name, losses in zip(names, compared.losses, strict=True)
        for step, loss in thinned(smoothed(losses), MAX_POINTS)
    ]
    frame = pandas.DataFrame(points, columns=["step", "loss", "run"]) if points else None
    plot = gr.LinePlot(frame, color_map=dict(zip(names, PALETTE, strict=False)), visible=frame is not None)
    figures = [history.Row(name, [metrics.get(name) for metrics in compared.metrics]) for name in FIGURES]
    figures = [row for row in figures if any(value is not None for value in row.values)]
    differing = [row for row in compared.settings if row.differs]
    equal = [row for row in compared.settings if not row.differs]
    differences = _table("Settings that differ", differing, names, "differs") if differing else ""
    table = (
        _table("What came out", figures, names)
        + (differences or hint_html("All settings are equal."))
        + f"<details><summary>Settings that are equal</summary>{_table('', equal, names)}</details>"
    )
    return [plot, table]


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
