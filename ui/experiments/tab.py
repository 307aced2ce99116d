"""The Experiments tab: the questions and the form at the left, one experiment at the right; and its events."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import gradio as gr

from common.errors import UserError
from common.language import _, joined
from common.visitors import is_visitor
from evaluation.background import request_stop
from evaluation.experiments.arms import arms_of
from evaluation.experiments.bundle import check_against, open_bundle, rerun
from evaluation.experiments.config import OWN_SETTINGS, ExperimentConfig
from evaluation.experiments.experiment import list_experiments
from evaluation.experiments.notes import NOTES, find_note
from evaluation.experiments.plan import plan
from evaluation.experiments.start import add_seeds, delete_experiment, resume, start
from jobs.prices import Flavor, flavors
from runs.config import READING, SOURCE, TrainConfig, marked
from ui.chosen import Watched, wire_chosen
from ui.downloads import build_download, clicking
from ui.events import QUIET, Wiring
from ui.experiments.downloads import made_file
from ui.experiments.form import (
    DEFAULTS,
    ExperimentForm,
    arms_html,
    build_form,
    check_named_by,
    form_updates,
    numbers,
    with_form,
)
from ui.experiments.ready import note_html, ready_choices
from ui.experiments.result import (
    ResultView,
    build_result,
    experiment_choices,
    own_experiment,
    render,
    status_views,
)
from ui.experiments.view import checks_html
from ui.hints import hint_html
from ui.messages import shown
from ui.owner import Visitor, owner_of, visitor_of

# of the Train tab, for "as in the Train tab"
TAKEN = tuple(name for name in ("base", *marked(SOURCE, READING)) if name not in (*OWN_SETTINGS, "max_rows"))
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
    _wire_form(form, browser_key, train_inputs, train_config)
    _wire_run(form, view, browser_key, picked)
    _wire_files(view, browser_key)
    return tab


def config_in(text: object) -> ExperimentConfig:
    """Return the config that the YAML on the page says; an empty one says nothing yet. Raises UserError."""
    return ExperimentConfig.from_text(text if isinstance(text, str) and text.strip() else "{}")


def uploaded(file: object) -> Path:
    """Return the path of an upload. Raises UserError when there is none."""
    if not isinstance(file, str) or not file:
        raise UserError(_("No file was uploaded."), _("Choose one."))
    return Path(file)


def plan_html(visitor: Visitor, config: ExperimentConfig, machine: Flavor | None = None) -> str:
    """Return what an experiment takes, or what keeps it from starting: here, or with its runs as jobs on a machine."""
    try:
        check_named_by(visitor, config)
    except UserError as error:
        return hint_html(joined([error.message, error.hint]), "problem")
    found = plan(config, visitor.owner, machine=machine)
    if found.problems:
        return "".join(hint_html(problem, "problem") for problem in found.problems)
    return hint_html(found.words) + "".join(map(hint_html, found.notes))


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


def _wire_form(
    form: ExperimentForm,
    browser_key: gr.BrowserState,
    train_inputs: list,
    train_config: Callable[[str, Sequence], TrainConfig],
) -> None:
    """Wire the claims, the inputs, the YAML and what is loaded: each changes the YAML or the inputs, and both the plan."""

    def views(visitor: Visitor, config: ExperimentConfig) -> list:
        return [*form_updates(visitor.owner, config), plan_html(visitor, config)]

    @shown
    def on_ready(token: gr.OAuthToken | None, key, note_id, text):
        visitor, note = visitor_of(key, token), find_note(note_id if isinstance(note_id, str) else "")
        chosen = {}
        with suppress(UserError):  # a YAML that is half written says no base and no data
            chosen = {name: value for name, value in config_in(text).settings.items() if name in TAKEN}
        config = note.config(chosen, visitor.owner)
        if config is None:
            told = hint_html(_("A script measures this one: the line above says how."))
            return [note_html(note), "", *[gr.skip()] * len(form.outputs), told]
        written = config.to_yaml()
        return [note_html(note), written, *views(visitor, config_in(written))]

    @shown
    def on_form(token: gr.OAuthToken | None, key, text, *values):
        visitor = visitor_of(key, token)
        try:
            config = with_form(config_in(text), *values)
            arms = arms_html(config)
        except UserError as error:  # half filled in
            return [gr.skip(), gr.skip(), hint_html(joined([error.message, error.hint]), "problem")]
        return [config.to_yaml(), arms, plan_html(visitor, config)]

    @shown
    def on_yaml(token: gr.OAuthToken | None, key, text):
        visitor = visitor_of(key, token)
        try:
            return views(visitor, config_in(text))
        except UserError as error:
            return [*[gr.skip()] * len(form.outputs), hint_html(joined([error.message, error.hint]), "problem")]

    @shown
    def on_file(token: gr.OAuthToken | None, key, file):
        visitor, config = visitor_of(key, token), ExperimentConfig.from_yaml(uploaded(file))
        return [config.to_yaml(), *views(visitor, config)]

    @shown
    def on_take(token: gr.OAuthToken | None, key, text, *values):
        visitor = visitor_of(key, token)
        config, taken = config_in(text), train_config(visitor.owner, values)
        kept = {name: value for name, value in config.settings.items() if name not in TAKEN}
        given = {name: getattr(taken, name) for name in TAKEN if getattr(taken, name) not in (None, DEFAULTS[name])}
        config = replace(config, settings=kept | given)
        return [config.to_yaml(), *views(visitor, config)]

    @shown
    def on_machine(token: gr.OAuthToken | None, key, text, name):
        visitor = visitor_of(key, token)
        machine = next((one for one in flavors(visitor.hub_token) if one.name == name), None)
        if machine is None:
            raise UserError(_("No machine is chosen."), _("Pick one."))
        return plan_html(visitor, config_in(text), machine)

    shown_form = [*form.outputs, form.plan_html]
    written = [form.yaml_code, *shown_form]
    newest: Wiring = {"trigger_mode": "always_last", **QUIET}
    form.ready_radio.change(
        on_ready,
        [browser_key, form.ready_radio, form.yaml_code],
        [form.note_html, *written],
        api_name="ready_experiment",
        **newest,
    )
    inputs = [browser_key, form.yaml_code]
    gr.on(
        [one.input for one in form.fields],
        on_form,
        [*inputs, *form.fields],
        [form.yaml_code, form.arms_html, form.plan_html],
        api_name="plan_experiment",
        **newest,
    )
    form.yaml_code.input(on_yaml, inputs, shown_form, api_name="read_experiment", **newest)
    asked = [*inputs, form.machine_dropdown]
    form.machine_dropdown.input(on_machine, asked, form.price_html, api_name="price_experiment", **newest)
    form.load_button.upload(on_file, [browser_key, form.load_button], written, api_name="load_experiment", **QUIET)
    form.take_button.click(on_take, [*inputs, *train_inputs], written, api_name="take_from_train", **QUIET)


def _wire_run(form: ExperimentForm, view: ResultView, browser_key: gr.BrowserState, picked: Wiring) -> None:
    """Wire start, stop, resume, more seeds and delete."""
    inputs = [browser_key, view.chosen.dropdown]

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

    one_at_a_time: Wiring = {"concurrency_id": "start", "concurrency_limit": 1, "show_progress": "hidden"}
    given = [browser_key, form.yaml_code, *form.fields]
    form.start_button.click(on_start, given, view.chosen.dropdown, api_name="start_experiment", **one_at_a_time)
    bundle = [browser_key, form.repeat_button]
    form.repeat_button.upload(on_repeat, bundle, view.chosen.dropdown, api_name="repeat_experiment", **one_at_a_time)
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
