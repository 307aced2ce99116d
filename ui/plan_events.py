"""From the form to a start: what a start would mean, presets, "make it fit", a loaded config, and the start itself."""

import time
from functools import lru_cache
from typing import Any

import gradio as gr

from adapters.pull import open_adapter
from common.errors import UserError
from models.base import Base, choose_base
from models.hardware import find_hardware
from trainer.bundle import shell_command
from trainer.config import EXAMPLE, TrainConfig
from trainer.data.checking import check
from trainer.forecast.estimate import EXAMPLE_FACTS, Estimate, estimate, record_estimate
from trainer.forecast.plan import DataFacts, facts_in
from trainer.forecast.shape import shape_for
from trainer.forecast.speed import from_earlier_runs, known, measure
from trainer.machines.launch_plan import launch_plan, memory_place
from trainer.presets import preset_values
from trainer.queue import launch
from trainer.resolve import resolve
from trainer.run import Run
from ui.background import with_progress
from ui.backup_form import backup_words
from ui.check_events import PREVIEW_ROWS, changed_form, hint, looked, once, report_for, wire_check
from ui.data_form import stops_of
from ui.events import QUIET
from ui.form import EXAMPLE_DATA, form_config, loaded_values, make_config, rows_key
from ui.messages import shown
from ui.owner import Visitor, owner_of, visitor_of
from ui.plan_view import USED_AS_IT_IS, launch_html, plan_html, problems_html
from ui.settings_form import preset_help


def is_untouched_example(config: TrainConfig) -> bool:
    """True when the data is known to be good without a look."""
    return config.data == EXAMPLE and not (config.text_data or config.eval_data or config.columns)


def facts_of(config: TrainConfig, looked_at: dict | None) -> DataFacts | None:
    """What an estimate needs to know of the data; None for data that nobody has looked at.

    The last look at the same rows will do: a start looks again when a setting has changed what becomes of them.
    """
    if looked_at and looked_at["source"] == rows_key(config) and looked_at["report"]["train_rows"]:
        return facts_in(looked_at["report"])
    return EXAMPLE_FACTS if config.data == EXAMPLE else None


@lru_cache(maxsize=256)
def _base_within(choice: str, revision: str | None, minute: int) -> Base:
    return choose_base(choice, revision)


def base_of(config: TrainConfig) -> Base:
    """The base that a run would get, asked for once a minute: the Hub may be slow, and every key stroke plans anew."""
    return _base_within(config.base, config.base_revision, int(time.time() // 60))


def estimate_of(config: TrainConfig, looked_at: dict | None, owner: str) -> Estimate | None:
    """Return what a start would mean; None while nothing is known of the data or of the base's shape."""
    base = base_of(config)
    facts, shape = facts_of(config, looked_at), shape_for(base)
    if facts is None or shape is None:
        return None
    speed = known(config, shape, facts) or from_earlier_runs(config, base.model_id, owner)
    return estimate(config, shape, facts, find_hardware(), speed)


def plan_views(config: TrainConfig, looked_at: dict | None, owner: str) -> list:
    """Updates for PlanView.outputs."""
    texts = [shell_command(config), config.to_yaml()]
    problems = config.problems()
    if problems:
        return [problems_html(problems), gr.Button(visible=False), *texts, "", ""]
    found = estimate_of(config, looked_at, owner)
    hardware = find_hardware()
    start = launch_plan(config, hardware)
    texts += [start.command, start.yaml or USED_AS_IT_IS]
    if found is None:
        words = "Check the data: then steps, memory and time are known before the start."
        return [f"<p class='hint'>{words}</p>{launch_html(start)}", gr.Button(visible=False), *texts]
    fit = found.make_it_fit
    words = ", ".join(f"{name} {value}" for name, value in (fit or {}).items())
    button = gr.Button(f"Make it fit: {words}", visible=bool(fit))
    return [plan_html(found, memory_place(config, hardware)) + launch_html(start), button, *texts]


def check_init_adapter(config: TrainConfig, visitor: Visitor) -> None:
    """An adapter to continue from that was pulled is asked for on the Hub again: it may be the visitor's no longer."""
    if config.init_adapter:
        open_adapter(config.init_adapter, visitor.owner, visitor.hub_token)


def checked_start(config: TrainConfig, looked_at: dict | None, visitor: Visitor) -> Run:
    """Start `config` after a look at its data. Raises UserError while something in the data must be mended."""
    resolved = resolve(config)
    config, owner = resolved.config, visitor.owner
    check_init_adapter(config, visitor)
    report = report_for(config, looked_at)
    if report is None and not is_untouched_example(config):
        looked_at = looked(config, check(config, PREVIEW_ROWS))
        report = looked_at["report"]
    stops = stops_of(report)
    if stops:
        raise UserError(f"The data must be mended first. {stops[0]}", "The button under the report does it.")
    predicted = estimate_of(config, looked_at, owner)
    run = launch(resolved, owner)
    if predicted:
        record_estimate(run.folder, predicted)
    return run


def wire_plan(tab) -> dict:
    """Wire the check, the plan, and everything that changes the form; returns the event that fills the plan."""
    inputs = [tab.browser_key, tab.report, *tab.components]
    plan: dict[str, Any] = {
        "fn": _planner(tab),
        "inputs": inputs,
        "outputs": tab.plan.outputs,
        "trigger_mode": "always_last",
        **QUIET,
    }
    wire_check(tab, inputs, plan)
    _wire_changes(tab, inputs, plan)
    _wire_backup(tab, inputs)
    typed = tab.inputs["data_paste"]  # planned when the person is done with it: each plan keeps what was pasted
    gr.on([component.change for component in tab.components if component is not typed] + [typed.blur], **plan)

    @shown
    def on_measure(token: gr.OAuthToken | None, key, looked_at, *values):
        config = form_config(tab.names, owner_of(key, token), values)
        config.check()
        shape, facts = shape_for(base_of(config)), facts_of(config, looked_at)
        if facts is None:
            raise UserError("Nobody has looked at the data yet.", "Check the data first.")
        if shape is None:
            raise UserError(
                "The shape of this base is not known before it is downloaded.", "Start a run of a few steps."
            )
        work = lambda progress, stop: measure(config, shape, facts, progress, stop.is_set)  # noqa: E731
        for kind, value in with_progress(work):
            if kind == "says":
                yield hint(str(value))

    measuring = tab.plan.measure_button.click(
        on_measure, inputs, tab.plan.plan_html, api_name="measure", show_progress="hidden", concurrency_limit=1
    )
    measuring.then(**once(plan))
    return once(plan)


def _planner(tab):
    @shown
    def on_plan(token: gr.OAuthToken | None, key, looked_at, *values):
        try:
            owner = owner_of(key, token)
            config = form_config(tab.names, owner, values)
            return plan_views(config, looked_at, owner)
        except UserError as error:  # a form half filled in is no failure
            return [problems_html([str(error)]), gr.Button(visible=False), gr.skip(), gr.skip(), "", ""]

    return on_plan


def _wire_backup(tab, inputs: list) -> None:
    """What the wish to keep checkpoints on the Hub means; said anew after every plan, whose time it is compared with."""

    @shown
    def on_wish(token: gr.OAuthToken | None, key, looked_at, *values):
        *values, is_wished = values
        if not is_wished:
            return gr.HTML("", visible=False)
        visitor, config = visitor_of(key, token), form_config(tab.names, owner_of(key, token), values)
        found = None if config.problems() else estimate_of(config, looked_at, visitor.owner)
        words = backup_words(
            config.name, visitor, token.expires_at if token else None, found.seconds if found else None
        )
        return gr.HTML(words, visible=True)

    form = tab.plan.backup
    wiring: dict[str, Any] = {
        "trigger_mode": "always_last",
        "api_name": "checkpoints_on_hub",
        "show_progress": "hidden",
    }
    events = [form.checkbox.change, tab.plan.plan_html.change]
    gr.on(events, on_wish, [*inputs, form.checkbox], form.note_html, **wiring)


def _wire_changes(tab, inputs: list, plan: dict) -> None:
    """Presets, "make it fit", and a config from a file."""

    @shown
    def on_preset(name):
        return [*changed_form(tab.names, preset_values(name)), preset_help(name)]

    @shown
    def on_fit(token: gr.OAuthToken | None, key, looked_at, *values):
        owner = owner_of(key, token)
        config = form_config(tab.names, owner, values)
        found = estimate_of(config, looked_at, owner)
        return changed_form(tab.names, (found.make_it_fit if found else None) or {})

    @shown
    def on_load_config(token: gr.OAuthToken | None, key, file):
        owner = owner_of(key, token)
        values, gone = loaded_values(owner, TrainConfig.from_yaml(file))
        make_config(owner, {**values, "data_kind": EXAMPLE_DATA})  # refuses what a visitor may not name
        if gone:
            gr.Info(f"The settings are loaded. Choose again what is not here: {', '.join(gone)}.")
        return changed_form(tab.names, values)

    preset = tab.preset_radio.input(on_preset, tab.preset_radio, [*tab.components, tab.preset_html], **QUIET)
    preset.then(**once(plan))
    tab.plan.fit_button.click(on_fit, inputs, tab.components, **QUIET).then(**once(plan))
    tab.plan.load_button.upload(
        on_load_config, [tab.browser_key, tab.plan.load_button], tab.components, **QUIET
    ).success(**once(plan))
