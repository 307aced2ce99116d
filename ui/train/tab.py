"""The layout of the Train tab: the form on the left, the shown run and all runs on the right. `ui.train.run_events` wires it.

A training does not depend on an open page: a timer reads the run's files every second, also after a reload or in another browser.
"""

from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from models.base import AUTO, BASE_CHOICES
from models.family import LABELS
from models.hardware import find_gpus
from ui.events import QUIET, Wiring
from ui.owner import on_space
from ui.train.backup_section import BackupForm, RestoreForm, build_backup_form, build_restore_form
from ui.train.browser_copy import FormMemory, build_form_memory
from ui.train.data_form import DataForm, build_data_form
from ui.train.history_view import HistoryView, build_history_view
from ui.train.jobs_view import JobsSection, build_jobs_section
from ui.train.run_view import RunView, build_run_view
from ui.train.settings_form import build_settings_form

TICK_SECONDS = 1.0
DISCARD_QUESTION = "Delete this run and the adapter that came out of it? A training that runs is ended."


@dataclass
class PlanView:
    """The plan before a start; `ui.train.plan_events.plan_views` updates `outputs`."""

    plan_html: gr.HTML
    fit_button: gr.Button
    measure_button: gr.Button
    command_code: gr.Code
    config_code: gr.Code
    launch_code: gr.Code
    accelerate_code: gr.Code
    load_button: gr.UploadButton
    backup: BackupForm

    @property
    def outputs(self) -> list[gr.components.Component]:
        """Return the components that `plan_views` updates, in its order."""
        codes = [self.command_code, self.config_code, self.launch_code, self.accelerate_code]
        return [self.plan_html, self.fit_button, *codes]


@dataclass
class TrainTab:
    """All parts of the tab. `inputs` are the form's, by the names that ui.train.form_values knows."""

    browser_key: gr.BrowserState
    inputs: dict[str, Any]
    data: DataForm
    preset_radio: gr.Radio
    preset_html: gr.HTML
    plan: PlanView
    jobs: JobsSection
    memory: FormMemory
    start_button: gr.Button
    start_html: gr.HTML
    tabs: gr.Tabs
    view: RunView
    discard_group: gr.Group
    discard_yes: gr.Button
    discard_no: gr.Button
    history: HistoryView
    restore: RestoreForm
    download: gr.DownloadButton
    timer: gr.Timer
    # of the last check, see ui.train.check_events.check_result
    report: gr.State = field(default_factory=lambda: gr.State(None))
    # ui.train.run_view.signature of the shown run
    shown: gr.State = field(default_factory=lambda: gr.State(()))
    adapter_name: gr.State = field(default_factory=lambda: gr.State(""))

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the form's inputs."""
        return tuple(self.inputs)

    @property
    def components(self) -> list[Any]:
        """Return the form's inputs, in the order of `names`."""
        return list(self.inputs.values())

    @property
    def lists(self) -> list[gr.components.Component]:
        """Return the lists of a person's runs and adapters, which are filled at load and after every change."""
        own = [self.inputs["init_adapter"], self.inputs["data_chat"]]
        return [self.view.runs_dropdown, self.history.runs_checkboxes, self.history.undo_button, *own]

    @property
    def to_run(self) -> Wiring:
        """Return the arguments of an event that shows the tab of the run."""
        return {"fn": lambda: gr.Tabs(selected="run"), "inputs": None, "outputs": self.tabs, **QUIET}


def build_train_tab(browser_key: gr.BrowserState) -> TrainTab:
    """Lay out the tab. `ui.train.run_events.wire` wires it."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=340):
            inputs = _build_head()
            data = build_data_form()
            preset_radio, preset_html, settings = build_settings_form({**inputs, **data.inputs})
            plan = _build_plan()
            jobs = build_jobs_section()
            memory = build_form_memory()
        with gr.Column(scale=6, min_width=340):
            start_button = gr.Button("Start training", variant="primary", size="lg")
            start_html = gr.HTML("", visible=False)
            with gr.Tabs() as tabs:
                with gr.Tab("Run", id="run"):
                    view = build_run_view()
                    with gr.Group(visible=False) as discard_group:
                        gr.HTML(f"<p class='problem'>{DISCARD_QUESTION}</p>", padding=True)
                        with gr.Row():
                            discard_yes = gr.Button("Yes, delete it", variant="stop", size="sm")
                            discard_no = gr.Button("Keep it", size="sm")
                with gr.Tab("All runs", id="history") as history_tab:
                    history = build_history_view(history_tab)
                    restore = build_restore_form()
    return TrainTab(
        browser_key,
        {**inputs, **data.inputs, **settings},
        data,
        preset_radio,
        preset_html,
        plan,
        jobs,
        memory,
        start_button,
        start_html,
        tabs,
        view,
        discard_group,
        discard_yes,
        discard_no,
        history,
        restore,
        download=gr.DownloadButton(visible="hidden", elem_id="download-made"),
        timer=gr.Timer(TICK_SECONDS),
    )


def _build_head() -> dict[str, Any]:
    """Lay out base, name, and the adapter to continue from; return the inputs by name."""
    slow = "" if find_gpus() else " Without a GPU, TinyLlama learns about ten times slower here than the embedded base."
    base = gr.Dropdown(
        BASE_CHOICES,
        value=AUTO,
        label="Base model",
        allow_custom_value=True,
        info=f"Or type a Hub id of the {LABELS} architecture{'' if on_space() else ', or a folder'}.{slow}",
    )
    with gr.Row():
        name = gr.Textbox("my-adapter", label="Name of the adapter", max_length=80, min_width=160)
        continued = gr.Dropdown(
            [("a new adapter", "")], value="", label="Continue from", allow_custom_value=True, min_width=160
        )
    return {"base": base, "name": name, "init_adapter": continued}


def _build_plan() -> PlanView:
    """Lay out the plan, the command and the config."""
    whole: Wiring = {"interactive": False, "wrap_lines": True, "elem_classes": "as-long-as-its-text"}
    with gr.Accordion("Before the start: steps, memory, time", open=True):
        plan_html = gr.HTML("", elem_classes="plan")
        with gr.Row():
            fit_button = gr.Button("Make it fit", variant="primary", size="sm", visible=False)
            measure_button = gr.Button("Measure the time", size="sm")
        backup = build_backup_form()
    with gr.Accordion("Command and config.yaml", open=False):
        command = gr.Code(label="Does the same in a shell", language="shell", lines=2, interactive=False)
        config = gr.Code(label="config.yaml", language="yaml", lines=6, max_lines=16, interactive=False)
        load_button = gr.UploadButton("Load a config.yaml", file_types=[".yaml", ".yml"], size="sm")
    with gr.Accordion("How it is started: accelerate's command and YAML", open=False):
        launch = gr.Code(label="What the run is started with", language="shell", lines=1, **whole)
        accelerate = gr.Code(label="accelerate.yaml in the run's folder", language="yaml", lines=6, **whole)
    return PlanView(plan_html, fit_button, measure_button, command, config, launch, accelerate, load_button, backup)
