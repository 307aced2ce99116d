"""The Experiments tab: the questions and the form at the left, one experiment at the right; and the events of that one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gradio as gr

from common.errors import UserError
from common.language import _
from common.visitors import is_visitor
from evaluation.background import request_stop
from evaluation.experiments.arms import arms_of
from evaluation.experiments.bundle import check_against, open_bundle, rerun
from evaluation.experiments.experiment import list_experiments
from evaluation.experiments.notes import NOTES
from evaluation.experiments.start import add_seeds, delete_experiment, resume, start
from runs.config import TrainConfig
from ui.chosen import Watched, wire_chosen
from ui.downloads import build_download, clicking
from ui.events import QUIET, Wiring
from ui.experiments.downloads import made_file
from ui.experiments.form import (
    ExperimentForm,
    build_form,
    check_named_by,
    numbers,
    with_form,
)
from ui.experiments.form_events import config_in, uploaded, wire_form
from ui.experiments.ready import ready_choices
from ui.experiments.result import (
    ResultView,
    build_result,
    experiment_choices,
    own_experiment,
    render,
    status_views,
)
from ui.experiments.view import checks_html
from ui.messages import shown
from ui.owner import owner_of, visitor_of

WATCHED = Watched(
    "experiment",
    own_experiment,
    experiment_choices,
    ("config.yaml", "results/table.json", "stop"),
    status_views,
    render,
)


@dataclass
class ExperimentsTab:
    """The parts that the page wires: filling the lists when the tab is shown."""

    load: Callable
    load_wiring: Wiring


def build_experiments_tab(
    browser_key: gr.BrowserState, train_inputs: list, train_config: Callable[[str, Sequence], TrainConfig]
) -> ExperimentsTab:
    """Lay out the tab and wire its events; `train_config` makes the config of an owner of the values of `train_inputs`."""
    with gr.Row(equal_height=False, elem_classes="train evaluate experiments"):
        with gr.Column(scale=5, min_width=340, elem_classes="train-form"):
            form = build_form()
        with gr.Column(scale=7, min_width=340, elem_classes="train-run"):
            view = build_result()
    picked = wire_chosen(view.chosen, WATCHED, browser_key, view.status_outputs, view.outputs)
    tab = _wire_lists(form, view, browser_key)
    wire_form(form, browser_key, train_inputs, train_config)
    _wire_start(form, view, browser_key)
    _wire_run(view, browser_key, picked)
    _wire_files(view, browser_key)
    return tab


def _wire_lists(form: ExperimentForm, view: ResultView, browser_key: gr.BrowserState) -> ExperimentsTab:
    """Wire what is filled when the tab is shown: the claims with what was found of them, the first one, and the experiments."""

    @shown
    def on_load(token: gr.OAuthToken | None, key, experiment_id, note_id, text):
        if not key and is_visitor():  # the tab is shown before the browser has its key
            return [gr.skip()] * len(lists)
        owner = owner_of(key, token)
        choices = experiment_choices(owner, picked=experiment_id)
        ids = [value for _label, value in choices]
        radio = gr.Radio(ready_choices(owner), value=note_id or (None if text else NOTES[0].id))
        known = experiment_id if experiment_id in ids else next(iter(ids), None)
        return [radio, gr.Dropdown(choices, value=known)]

    lists = [form.ready_radio, view.chosen.dropdown]
    inputs = [browser_key, view.chosen.dropdown, form.ready_radio, form.yaml_code]
    return ExperimentsTab(on_load, {"inputs": inputs, "outputs": lists, **QUIET})


def _wire_start(form: ExperimentForm, view: ResultView, browser_key: gr.BrowserState) -> None:
    """Wire the start of the form's experiment, and of a bundle's."""

    @shown
    def on_start(token: gr.OAuthToken | None, key, text, *values):
        visitor = visitor_of(key, token)
        config = config_in(text)
        if not text:
            raise UserError(
                _("There is no experiment to start."), _("Choose another question, or make one of your own.")
            )
        if with_form(config, *values) != config:  # one of the two is not on the page yet
            raise UserError(_("The form has just changed."), _("Look at its plan, then press Start again."))
        check_named_by(visitor, config)
        started = start(config, visitor.owner)
        return gr.Dropdown(experiment_choices(visitor.owner), value=started.id)

    @shown
    def on_repeat(token: gr.OAuthToken | None, key, file):
        visitor, bundle = visitor_of(key, token), uploaded(file)
        check_named_by(visitor, open_bundle(bundle), has_rows=True)
        started = rerun(bundle, visitor.owner)
        return gr.Dropdown(experiment_choices(visitor.owner), value=started.id)

    one_at_a_time: Wiring = {"concurrency_id": "start", "concurrency_limit": 1, "show_progress": "hidden"}
    given = [browser_key, form.yaml_code, *form.fields]
    form.start_button.click(on_start, given, view.chosen.dropdown, api_name="start_experiment", **one_at_a_time)
    bundle = [browser_key, form.repeat_button]
    form.repeat_button.upload(on_repeat, bundle, view.chosen.dropdown, api_name="repeat_experiment", **one_at_a_time)


def _wire_run(view: ResultView, browser_key: gr.BrowserState, picked: Wiring) -> None:
    """Wire stop, resume, more seeds and delete."""
    inputs = [browser_key, view.chosen.dropdown]

    @shown
    def on_stop(token: gr.OAuthToken | None, key, experiment_id):
        request_stop(own_experiment(experiment_id, owner_of(key, token)))
        gr.Info(str(_("Stopping; the results so far are kept.")))

    @shown
    def on_resume(token: gr.OAuthToken | None, key, experiment_id):
        resume(own_experiment(experiment_id, owner_of(key, token)))

    @shown
    def on_seeds(token: gr.OAuthToken | None, key, experiment_id, text):
        experiment = own_experiment(experiment_id, owner_of(key, token))
        add_seeds(experiment, numbers("seeds", text, int))
        return ""

    @shown
    def on_delete(token: gr.OAuthToken | None, key, experiment_id):
        owner = owner_of(key, token)
        delete_experiment(own_experiment(experiment_id, owner))
        left = next((one.id for one in list_experiments(owner)), None)
        return gr.Dropdown(experiment_choices(owner), value=left)

    view.stop_button.click(on_stop, inputs, None, api_name="stop_experiment").success(**picked)
    view.resume_button.click(on_resume, inputs, None, api_name="resume_experiment").success(**picked)
    gr.on(
        [view.seeds_button.click, view.seeds_box.submit],
        on_seeds,
        [*inputs, view.seeds_box],
        view.seeds_box,
        api_name="add_seeds",
        **QUIET,
    ).success(**picked)
    view.chosen.delete_yes.click(on_delete, inputs, view.chosen.dropdown, api_name="delete_experiment", **QUIET)


def _wire_files(view: ResultView, browser_key: gr.BrowserState) -> None:
    """Wire the downloads for a paper, and the comparison with a bundle."""
    download = build_download("experiment-made")

    def wire(wanted: str, button: gr.Button) -> None:
        @shown
        def on_file(token: gr.OAuthToken | None, key, experiment_id):
            return str(made_file(own_experiment(experiment_id, owner_of(key, token)), wanted))

        name = f"experiment_{wanted.replace('.', '_')}"
        inputs = [browser_key, view.chosen.dropdown]
        button.click(on_file, inputs, download, api_name=name, **QUIET).success(**clicking(download))

    for name, button in view.file_buttons.items():
        wire(name, button)

    @shown
    def on_check(token: gr.OAuthToken | None, key, experiment_id, file):
        experiment = own_experiment(experiment_id, owner_of(key, token))
        names = {arm.id: arm.name for arm in arms_of(experiment.config())}
        return checks_html(check_against(uploaded(file), experiment), names)

    inputs = [browser_key, view.chosen.dropdown, view.check_button]
    view.check_button.upload(on_check, inputs, view.checks_html, api_name="compare_with_bundle", **QUIET)
