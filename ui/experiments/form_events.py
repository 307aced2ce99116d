"""The events of an experiment's form: its claims, inputs, YAML and what is loaded change one another, and the plan."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import gradio as gr

from common.errors import UserError
from common.language import _, joined
from evaluation.experiments.config import OWN_SETTINGS, ExperimentConfig
from evaluation.experiments.notes import find_note
from evaluation.experiments.plan import plan
from jobs.prices import Flavor, flavors
from runs.config import READING, SOURCE, TrainConfig, marked
from ui.events import QUIET, Wiring
from ui.experiments.form import DEFAULTS, ExperimentForm, arms_html, check_named_by, form_updates, with_form
from ui.experiments.ready import note_html
from ui.hints import hint_html
from ui.messages import shown
from ui.owner import Visitor, visitor_of

# of the Train tab, for "as in the Train tab"
TAKEN = tuple(name for name in ("base", *marked(SOURCE, READING)) if name not in (*OWN_SETTINGS, "max_rows"))
NEWEST: Wiring = {"trigger_mode": "always_last", **QUIET}


def wire_form(
    form: ExperimentForm,
    browser_key: gr.BrowserState,
    train_inputs: list,
    train_config: Callable[[str, Sequence], TrainConfig],
) -> None:
    """Wire the form; `train_config` makes the config of an owner of the values of `train_inputs`."""
    _wire_inputs(form, browser_key)
    _wire_loading(form, browser_key, train_inputs, train_config)


def _wire_inputs(form: ExperimentForm, browser_key: gr.BrowserState) -> None:
    """Wire the claims, the inputs and the YAML."""

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
        return [note_html(note), written, *_views(visitor, config_in(written))]

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
            return _views(visitor, config_in(text))
        except UserError as error:
            return [*[gr.skip()] * len(form.outputs), hint_html(joined([error.message, error.hint]), "problem")]

    views = [*form.outputs, form.plan_html]
    form.ready_radio.change(
        on_ready,
        [browser_key, form.ready_radio, form.yaml_code],
        [form.note_html, form.yaml_code, *views],
        api_name="ready_experiment",
        **NEWEST,
    )
    inputs = [browser_key, form.yaml_code]
    gr.on(
        [one.input for one in form.fields],
        on_form,
        [*inputs, *form.fields],
        [form.yaml_code, form.arms_html, form.plan_html],
        api_name="plan_experiment",
        **NEWEST,
    )
    form.yaml_code.input(on_yaml, inputs, views, api_name="read_experiment", **NEWEST)


def _wire_loading(
    form: ExperimentForm,
    browser_key: gr.BrowserState,
    train_inputs: list,
    train_config: Callable[[str, Sequence], TrainConfig],
) -> None:
    """Wire what is loaded from a file or taken from the Train tab, and the price on another machine."""

    @shown
    def on_file(token: gr.OAuthToken | None, key, file):
        visitor, config = visitor_of(key, token), ExperimentConfig.from_yaml(uploaded(file))
        return [config.to_yaml(), *_views(visitor, config)]

    @shown
    def on_take(token: gr.OAuthToken | None, key, text, *values):
        visitor = visitor_of(key, token)
        config, taken = config_in(text), train_config(visitor.owner, values)
        kept = {name: value for name, value in config.settings.items() if name not in TAKEN}
        given = {name: getattr(taken, name) for name in TAKEN if getattr(taken, name) not in (None, DEFAULTS[name])}
        config = replace(config, settings=kept | given)
        return [config.to_yaml(), *_views(visitor, config)]

    @shown
    def on_machine(token: gr.OAuthToken | None, key, text, name):
        visitor = visitor_of(key, token)
        machine = next((one for one in flavors(visitor.hub_token) if one.name == name), None)
        if machine is None:
            raise UserError(_("No machine is chosen."), _("Pick one."))
        return plan_html(visitor, config_in(text), machine)

    inputs = [browser_key, form.yaml_code]
    written = [form.yaml_code, *form.outputs, form.plan_html]
    asked = [*inputs, form.machine_dropdown]
    form.machine_dropdown.input(on_machine, asked, form.price_html, api_name="price_experiment", **NEWEST)
    form.load_button.upload(on_file, [browser_key, form.load_button], written, api_name="load_experiment", **QUIET)
    form.take_button.click(on_take, [*inputs, *train_inputs], written, api_name="take_from_train", **QUIET)


def _views(visitor: Visitor, config: ExperimentConfig) -> list:
    """Return the inputs and the plan of a config."""
    return [*form_updates(visitor.owner, config), plan_html(visitor, config)]


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
