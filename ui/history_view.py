"""All runs of a person: search, rename, compare, copy the settings, delete with undo. Reads trainer.history; keeps nothing."""

import html
import time
from dataclasses import dataclass

import gradio as gr
import pandas

from trainer import glance, history
from trainer.run import Run, list_runs, settings_written_at
from trainer.state import UNREADABLE, thinned
from ui.finding import MOST_LISTED, first_with, how_many
from ui.run_view import MOST_POINTS, STATUS_WORDS, smoothed

MOST_COMPARED = 6
FIGURES = (
    "loss_before",
    "loss_after",
    "step",
    "rows",
    "tokens_per_second",
    "train_seconds",
    "peak_memory_bytes",
    "hardware",
)
PALETTE = ("#4f46e5", "#d97706", "#059669", "#db2777", "#0891b2", "#65a30d")


@dataclass
class HistoryView:
    """The parts; `choices` are the found runs, `compared` what a comparison shows."""

    tab: gr.Tab
    search_box: gr.Textbox
    runs_checkboxes: gr.CheckboxGroup
    compare_button: gr.Button
    open_button: gr.Button
    copy_button: gr.Button
    delete_button: gr.Button
    undo_button: gr.Button
    title_box: gr.Textbox
    rename_button: gr.Button
    plot: gr.LinePlot
    table_html: gr.HTML


def build_history_view(tab: gr.Tab) -> HistoryView:
    """Lay out the list of all runs and the comparison under it."""
    search_box = gr.Textbox(label="Search", placeholder="a name, a base, a state")
    runs_checkboxes = gr.CheckboxGroup([], label="Runs", elem_classes="runs")
    with gr.Row():
        compare_button = gr.Button("Compare", variant="primary", min_width=100)
        open_button = gr.Button("Show", min_width=80)
        copy_button = gr.Button("Copy settings to the form", min_width=160)
        delete_button = gr.Button("Delete", variant="stop", min_width=80)
        undo_button = gr.Button("Undo delete", visible=False, min_width=100)
    with gr.Row():
        title_box = gr.Textbox(show_label=False, placeholder="New name for the chosen run", container=False, scale=3)
        rename_button = gr.Button("Rename", scale=1, min_width=80)
    plot = gr.LinePlot(x="step", y="loss", color="run", title="Loss, smoothed", height=280, visible=False)
    table_html = gr.HTML(elem_classes="compare")
    buttons = [compare_button, open_button, copy_button, delete_button, undo_button]
    return HistoryView(tab, search_box, runs_checkboxes, *buttons, title_box, rename_button, plot, table_html)


def listed(owner: str, words: str, chosen: list | None, runs: list[Run] | None = None) -> list:
    """Updates for the list of runs and the undo button; what was chosen stays so while it is found.

    `runs` are all of the owner's, when they are known already.
    """
    found = history.found_in(list_runs(owner) if runs is None else runs, words or "")
    wanted = set(chosen or [])
    shown = found[:MOST_LISTED] + [run for run in found[MOST_LISTED:] if run.id in wanted]
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
    """One line about a run: its title, state, last loss and day."""
    status, losses = glance.status_of(run), glance.losses_of(run)
    parts = [history.title_of(run), STATUS_WORDS.get(status, status)]
    if status == UNREADABLE:
        parts.append("Show says why")
    if glance.settings_problem(run):
        parts.append("its settings cannot be read: Show says why")
    if losses.held_out is not None:
        parts.append(f"held-out {losses.held_out:.3f}")
    elif losses.training is not None:
        parts.append(f"loss {losses.training:.3f}")
    parts.append(day_of(run))
    return " · ".join(parts)


def run_choices(runs: list[Run], typed: str = "", picked: object = None) -> list[tuple[str, str]]:
    """The newest of `runs` with what was typed for a dropdown, and the picked one. Nothing in a label changes in a training."""
    found = history.found_in(runs, typed) if typed else runs
    choices = first_with((choice_of(run) for run in found), typed)
    known = {run_id for _, run_id in choices}
    return choices + [choice_of(run) for run in runs if run.id == picked and picked not in known]


def choice_of(run: Run) -> tuple[str, str]:
    return f"{history.title_of(run)} · {day_of(run)}", run.id


def day_of(run: Run) -> str:
    return time.strftime("%d %b %H:%M", time.localtime((settings_written_at(run.folder) or 0) / 1e9))


def comparison(runs: list[Run]) -> list:
    """Updates for the plot and the table: curves in one plot, settings in one table with the differences marked."""
    compared = history.compare(runs)
    names = dict(zip([run.id for run in runs], _distinct([history.title_of(run) for run in runs]), strict=True))
    rows = [
        (step, loss, names[run.id])
        for run in runs
        for step, loss in thinned(smoothed(compared["curves"][run.id]["losses"]), MOST_POINTS)
    ]
    frame = pandas.DataFrame(rows, columns=["step", "loss", "run"]) if rows else None
    colours = dict(zip(names.values(), PALETTE, strict=False))
    plot = gr.LinePlot(frame, color_map=colours, visible=frame is not None)
    return [plot, table(compared, list(names.values()))]


def _distinct(titles: list[str]) -> list[str]:
    return [title if titles.count(title) == 1 else f"{title} ({number})" for number, title in enumerate(titles, 1)]


def table(compared: dict, names: list[str]) -> str:
    """The settings that differ first, marked; the equal ones folded; then the figures."""
    differing = [row for row in compared["settings"] if row["differs"]]
    equal = [row for row in compared["settings"] if not row["differs"]]
    return (
        _table("What came out", figures(compared), names)
        + (
            _table("Settings that differ", differing, names)
            if differing
            else "<p class='hint'>All settings are equal.</p>"
        )
        + f"<details><summary>Settings that are equal</summary>{_table('', equal, names)}</details>"
    )


def figures(compared: dict) -> list[dict]:
    """What came out of each run, one row a figure that any of them has."""
    metrics = [compared["metrics"][run_id] for run_id in compared["runs"]]
    rows = [{"field": name, "values": [found.get(name) for found in metrics]} for name in FIGURES]
    return [row for row in rows if any(value is not None for value in row["values"])]


def _table(caption: str, rows: list[dict], names: list[str]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    body = "".join(
        f"<tr class='{'differs' if row.get('differs') else ''}'><th>{html.escape(row['field'])}</th>"
        + "".join(f"<td>{html.escape(_shown(value))}</td>" for value in row["values"])
        + "</tr>"
        for row in rows
    )
    return f"<table><caption>{html.escape(caption)}</caption><tr><th></th>{head}</tr>{body}</table>"


def _shown(value) -> str:
    if value is None or value == "":
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:120]
