"""One experiment on the page: its layout, what it does now, and what it found."""

from dataclasses import dataclass

import gradio as gr

from common.errors import UserError
from common.files import is_file
from common.language import _
from evaluation.experiments.cells import read_cells
from evaluation.experiments.experiment import Cell, Experiment, find_experiment, list_experiments
from evaluation.experiments.table import read_table
from evaluation.experiments.verdicts import verdicts
from evaluation.run import read_progress
from ui.chosen import Chosen, build_chosen, can_delete, dated_choices
from ui.events import Wiring
from ui.experiments.downloads import FILES
from ui.experiments.view import figures_html, grid_html, tables_html, verdicts_html
from ui.hints import hint_html
from ui.long_lists import Choice
from ui.status import RESUMABLE, progress_html

EMPTY = _("Here you will see every arm with every seed, and at the end the table for your paper.")
MAX_SHOWN_CHARACTERS = 100_000  # of a file that is shown to be copied


@dataclass
class ResultView:
    """The components; `outputs` are those that `render` fills."""

    chosen: Chosen
    status_html: gr.HTML
    stop_button: gr.Button
    resume_button: gr.Button
    grid_html: gr.HTML
    seeds_row: gr.Row
    seeds_box: gr.Textbox
    seeds_button: gr.Button
    found_html: gr.HTML
    paper: gr.Accordion
    file_buttons: dict[str, gr.Button]
    methods_code: gr.Code
    latex_code: gr.Code
    check_button: gr.UploadButton
    checks_html: gr.HTML

    @property
    def status_outputs(self) -> list:
        """Return what is filled while it is under way."""
        return [self.status_html, self.grid_html]

    @property
    def outputs(self) -> list:
        """Return what `render` fills, in its order."""
        buttons = [self.stop_button, self.resume_button]
        found = [self.seeds_row, self.found_html, self.paper, self.methods_code, self.latex_code, self.checks_html]
        return [*self.status_outputs, *buttons, *self.chosen.outputs, *found]


def build_result() -> ResultView:
    """Lay out the view of one experiment."""
    chosen = build_chosen(_("Experiment"))
    status = gr.HTML(hint_html(EMPTY, "hint nothing-yet"), elem_classes="status")
    with gr.Row():
        stop_button = gr.Button(_("Stop and keep the results"), visible=False, min_width=150)
        resume_button = gr.Button(_("Resume experiment"), visible=False, min_width=140)
    grid = gr.HTML()
    found = gr.HTML()
    with gr.Row(visible=False) as seeds_row:
        seeds_box = gr.Textbox(
            label=_("More seeds"),
            info=_("More of them make the intervals narrower."),
            placeholder="4, 5",
            min_width=140,
        )
        seeds_button = gr.Button(_("Add seeds"), min_width=110, scale=0)
    with gr.Accordion(_("For a paper"), open=False, visible=False) as paper:
        gr.HTML(hint_html(_("In English, as papers are. The bundle repeats the experiment on another machine.")))
        with gr.Row(elem_classes="paper-files"):
            file_buttons = {name: gr.Button(title, size="sm", min_width=90) for name, title in FILES.items()}
        about: Wiring = {"interactive": False, "wrap_lines": True, "elem_classes": "as-long-as-its-text"}
        methods_code = gr.Code(label=_("Methods"), language="markdown", lines=4, max_lines=16, **about)
        latex_code = gr.Code(label=_("Table in LaTeX (booktabs)"), language="latex", lines=4, max_lines=16, **about)
        check_button = gr.UploadButton(_("Compare with a bundle (.zip)"), file_types=[".zip"], size="sm")
        checks = gr.HTML("")
    return ResultView(
        chosen,
        status,
        stop_button,
        resume_button,
        grid,
        seeds_row,
        seeds_box,
        seeds_button,
        found,
        paper,
        file_buttons,
        methods_code,
        latex_code,
        check_button,
        checks,
    )


def own_experiment(experiment_id: object, owner: str) -> Experiment:
    """Return the owner's experiment with this id. Raises UserError."""
    if not experiment_id or not isinstance(experiment_id, str):
        raise UserError(_("No experiment is chosen."), _("Pick one."))
    return find_experiment(experiment_id, owner)


def experiment_choices(owner: str, typed: str = "", picked: object = None) -> list[Choice]:
    """Return the newest experiments that match `typed`, and the picked one, as (title and time, id)."""
    return dated_choices(list_experiments(owner), typed, picked)


def status_views(experiment: Experiment | None) -> list:
    """Return updates for `ResultView.status_outputs`: what it does now, and the grid of its cells."""
    if experiment is None:
        return [hint_html(EMPTY, "hint nothing-yet"), ""]
    status = progress_html(experiment, _("Progress of the experiment"), _("Running"))
    return [status, grid_html(_cells(experiment))]


def _cells(experiment: Experiment) -> list[Cell]:
    """Return its cells; [] where its settings cannot be read, which its status says."""
    try:
        return read_cells(experiment)
    except UserError:
        return []


def render(experiment: Experiment | None) -> list:
    """Return updates for `ResultView.outputs`."""
    if experiment is None:
        hidden = [gr.Button(visible=False)] * 2
        nothing = [gr.Row(visible=False), "", gr.Accordion(visible=False), "", "", ""]
        return [*status_views(None), *hidden, *can_delete(False), *nothing]
    progress = read_progress(experiment)
    is_ended, folder = not progress.is_running, experiment.results_folder
    return [
        *status_views(experiment),
        gr.Button(visible=progress.is_running and not experiment.stop_file.exists()),
        gr.Button(visible=progress.status in RESUMABLE),
        *can_delete(is_ended),
        gr.Row(visible=is_ended and any(cell.arm.is_trained for cell in _cells(experiment))),
        _found_html(experiment),
        gr.Accordion(visible=is_file(folder / "table.json")),
        *(_text_of(experiment, name) for name in ("methods.md", "table.tex")),
        "",
    ]


def _found_html(experiment: Experiment) -> str:
    """Return what it says of claims, its tables and its figures; "" before the first cell is done, and for damaged settings."""
    try:
        found = verdicts(experiment)
    except UserError:
        return ""
    figures = figures_html(experiment.results_folder / "figures")
    return verdicts_html(found) + tables_html(read_table(experiment)) + figures


def _text_of(experiment: Experiment, name: str) -> str:
    """Return the start of one of its results as text; "" before it is there."""
    try:
        with open(experiment.results_folder / name, encoding="utf-8") as file:
            return file.read(MAX_SHOWN_CHARACTERS)
    except (OSError, ValueError):
        return ""
