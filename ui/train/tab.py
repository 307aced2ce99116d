"""The layout of the Train tab: the form on the left, the shown run and all runs on the right. `ui.train.run_events` wires it.

A training does not depend on an open page: a timer asks whether the run's files have changed, also after a reload.
"""

from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from common.language import _, joined, said
from models.base import AUTO, BASE_CHOICES
from models.hardware import find_gpus, on_zero_gpu
from runs.presets import DEFAULT
from ui.downloads import build_download
from ui.events import QUIET, Wiring
from ui.making.panel import MadePanel, build_made_panel
from ui.steps import build_step
from ui.toast import Toast, build_toast
from ui.train.backup_section import BackupForm, RestoreForm, build_backup_form, build_restore_form
from ui.train.browser_copy import FormMemory, build_form_store
from ui.train.data_form import DataForm, build_data_form, build_data_options, build_text_first
from ui.train.history_view import HistoryView, build_history_view
from ui.train.jobs_view import JobsSection, build_jobs_section
from ui.train.plan_view import preset_choices
from ui.train.run_view import RunView, build_run_view
from ui.train.settings_form import build_settings_form, field_id, help_of

IDLE_TICK_SECONDS = 5.0
# A link to a setting opens whatever is folded around it, and goes there. The choices of a radio are one stop of the Tab key:
# Gradio gives each of them a name of its own. One that comes later gets a new name, not that of another.
FORM_SCRIPT = """
const unfold = async (section, isOpen = true) => {
    const head = section.querySelector('.label-wrap');
    if (head.classList.contains('open') !== isOpen) head.click();
    await new Promise(done => setTimeout(done, 50));
};
const reveal = async (section, id) => {
    const wasOpen = section.querySelector('.label-wrap').classList.contains('open');
    await unfold(section);
    if (document.getElementById(id)) return true;
    for (const inner of section.querySelectorAll('.gr-accordion')) if (await reveal(inner, id)) return true;
    await unfold(section, wasOpen);
};
const form = element.closest('.train-form');
form.addEventListener('click', async event => {
    const id = event.target.closest('a.to-field')?.getAttribute('href').slice(1);
    if (!id) return;
    event.preventDefault();
    if (!document.getElementById(id)) await reveal(document.querySelector('#advanced'), id);
    const field = document.getElementById(id);
    for (let one = field?.closest('.gr-accordion'); one; one = one.parentElement.closest('.gr-accordion')) await unfold(one);
    field?.scrollIntoView({block: 'center'});
    field?.querySelector('input, textarea, button')?.focus({preventScroll: true});
});
let choices = 0;
const joinRadios = () => form.querySelectorAll('fieldset').forEach(set => {
    set.dataset.choice ??= `choice-${choices++}`;
    set.querySelectorAll('input[type=radio]').forEach(one => { one.name = set.dataset.choice; });
});
new MutationObserver(joinRadios).observe(form, {childList: true, subtree: true});
joinRadios();
"""


@dataclass
class PlanView:
    """The plan before a start; `ui.train.plan_events.plan_views` updates `outputs`."""

    plan_html: gr.HTML
    fit_button: gr.Button
    measure_button: gr.Button
    preset_radio: gr.Radio
    words_html: gr.HTML
    proposals_html: gr.HTML
    keep_button: gr.Button
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
        proposals = [self.proposals_html, self.keep_button]
        return [self.plan_html, self.fit_button, *codes, self.preset_radio, *proposals, self.words_html]


@dataclass
class TrainTab:
    """All parts of the tab. `inputs` are the form's, by the names that ui.train.form_values knows."""

    browser_key: gr.BrowserState
    inputs: dict[str, Any]
    data: DataForm
    plan: PlanView
    jobs: JobsSection
    memory: FormMemory
    start_button: gr.Button
    start_html: gr.HTML
    tabs: gr.Tabs
    view: RunView
    history: HistoryView
    made_tab: gr.Tab
    made: MadePanel
    toast: Toast
    restore: RestoreForm
    download: gr.DownloadButton
    timer: gr.Timer
    # of the last check, see ui.train.check_events.check_result
    report: gr.State = field(default_factory=lambda: gr.State(None))
    # ui.train.run_view.signature and phase of the shown run; no gr.State, whose change is not seen outside of the queue
    shown: gr.Textbox = field(default_factory=lambda: gr.Textbox("", visible="hidden"))
    phase: gr.Textbox = field(default_factory=lambda: gr.Textbox("", visible="hidden"))
    adapter_name: gr.State = field(default_factory=lambda: gr.State(""))
    # the names of the inputs that a sentence stands at, see ui.train.settings_form.mark_wrong
    wrong: gr.State = field(default_factory=lambda: gr.State([]))

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
    """Lay out the tab: three steps and Advanced, and the run. `ui.train.run_events.wire` wires it."""
    form_store = build_form_store()
    with gr.Row(equal_height=False, elem_classes="train"):
        with gr.Column(scale=5, min_width=340, elem_classes="train-form"):
            build_step(1, _("Examples"))
            data = build_data_form()
            build_step(2, _("How long"))
            preset_radio = gr.Radio(
                preset_choices(None),
                value=DEFAULT,
                label=_("How long to train"),
                show_label=False,
                container=False,
                elem_classes="presets",
            )
            build_step(3, _("Start"))
            with gr.Row(elem_classes="start"):
                start_button = gr.Button(
                    _("Start training"), variant="primary", size="lg", min_width=180, scale=0, elem_id="start-button"
                )
                words_html = gr.HTML("", elem_classes="start-words", js_on_load=FORM_SCRIPT)
            proposals = (
                gr.HTML("", visible=False, elem_classes="proposals"),
                gr.Button(_("Keep checkpoints in my Hugging Face account"), size="sm", visible=False),
            )
            fit_button = gr.Button(_("Make it fit"), size="sm", visible=False)
            start_html = gr.HTML("", visible=False)
            with gr.Accordion(_("Advanced"), open=False, elem_id="advanced"):
                inputs, plan = _build_advanced(data, preset_radio, words_html, proposals, fit_button)
                jobs = build_jobs_section()
                memory = FormMemory(form_store, gr.Button(_("Reset the form"), size="sm"))
        with gr.Column(scale=6, min_width=340, elem_classes="train-run"):
            with gr.Tabs() as tabs:
                with gr.Tab(_("Run"), id="run"):
                    view = build_run_view()
                with gr.Tab(_("All runs"), id="history") as history_tab:
                    history = build_history_view(history_tab)
                    restore = build_restore_form()
                with gr.Tab(_("Made rows"), id="made", visible=False) as made_tab:
                    made = build_made_panel()
            toast = build_toast()
    return TrainTab(
        browser_key,
        inputs,
        data,
        plan,
        jobs,
        memory,
        start_button,
        start_html,
        tabs,
        view,
        history,
        made_tab,
        made,
        toast,
        restore,
        download=build_download("download-made"),
        timer=gr.Timer(IDLE_TICK_SECONDS),
    )


def _build_advanced(
    data: DataForm,
    preset_radio: gr.Radio,
    words_html: gr.HTML,
    proposals: tuple[gr.HTML, gr.Button],
    fit_button: gr.Button,
) -> tuple[dict[str, Any], PlanView]:
    """Lay out every other setting, and the plan; return all inputs of the form by name, and the plan."""
    inputs = {**_build_head(), **data.inputs}
    with gr.Accordion(_("Data options"), open=False):
        inputs |= build_data_options()
    with gr.Accordion(_("Optional: learn from plain text first"), open=False):
        inputs |= build_text_first()
    inputs |= build_settings_form(inputs)
    with gr.Accordion(_("Steps, memory, time"), open=False):
        plan_html = gr.HTML("", elem_classes="plan")
        measure_button = gr.Button(_("Measure the time"), size="sm", visible=not on_zero_gpu())
        backup = build_backup_form()
    whole: Wiring = {"interactive": False, "wrap_lines": True, "elem_classes": "as-long-as-its-text"}
    with gr.Accordion(_("Command and config.yaml"), open=False):
        command = gr.Code(label=_("Does the same in a shell"), language="shell", lines=2, interactive=False)
        config = gr.Code(label="config.yaml", language="yaml", lines=6, max_lines=16, interactive=False)
        load_button = gr.UploadButton(_("Load a config.yaml"), file_types=[".yaml", ".yml"], size="sm")
    with gr.Accordion(_("How it is started: accelerate's command and YAML"), open=False):
        launch = gr.Code(label=_("What the run is started with"), language="shell", lines=1, **whole)
        accelerate = gr.Code(label=_("accelerate.yaml in the run's folder"), language="yaml", lines=6, **whole)
    codes = (command, config, launch, accelerate, load_button)
    shown = (preset_radio, words_html, *proposals)
    return inputs, PlanView(plan_html, fit_button, measure_button, *shown, *codes, backup)


def _build_head() -> dict[str, Any]:
    """Lay out base, name, and the adapter to start from; return the inputs by name."""
    slow = _("Without a GPU, TinyLlama trains about ten times slower here than the built-in model.")
    info = help_of("base") if find_gpus() else joined([help_of("base"), slow])
    base = gr.Dropdown(
        [(said(label), choice) for label, choice in BASE_CHOICES],
        value=AUTO,
        label=_("Base model"),
        allow_custom_value=True,
        info=info,
        elem_id=field_id("base"),
    )
    with gr.Row(elem_classes="fields"):
        name = gr.Textbox(
            "my-adapter", label=_("Name of the adapter"), max_length=80, min_width=160, elem_id=field_id("name")
        )
        scratch = [(_("scratch"), "")]
        continued = gr.Dropdown(
            scratch,
            value="",
            label=_("Start from"),
            allow_custom_value=True,
            min_width=160,
            elem_id=field_id("init_adapter"),
        )
    return {"base": base, "name": name, "init_adapter": continued}
