"""The plan before a start, presets, "make it fit", a loaded config, and the start itself."""

import html
import json
from contextlib import suppress

import gradio as gr

from adapters.pull import open_adapter
from common.errors import UserError
from common.language import _, joined
from data.check import check
from models.base import shape_for
from models.hardware import on_zero_gpu
from models.prices import Flavor
from runs.bundle import shell_command
from runs.config import EXAMPLE, TrainConfig
from runs.fields import Problem, label_of
from runs.forecast.advice import advice
from runs.forecast.elsewhere import Elsewhere, elsewhere, is_lost
from runs.forecast.estimate import EXAMPLE_FACTS, Estimate, estimate, record_estimate
from runs.forecast.plan import DataFacts, facts_in
from runs.forecast.presets import AS_SET, forecast_of_presets
from runs.forecast.speed import from_earlier_runs, guess, known, measure
from runs.machines.command import launch_plan, memory_place
from runs.presets import PRESETS, preset_values
from runs.queue import launch
from runs.resolve import ResolvedConfig, base_in_minute, resolve, training_in_words
from runs.run import Run
from runs.slices import slices_words
from runs.warm import prepare
from ui.background import with_progress
from ui.events import QUIET, Wiring
from ui.hints import hint_html
from ui.messages import shown
from ui.named import FieldError
from ui.owner import Visitor, owner_of, visitor_of
from ui.train.backup_section import backup_words
from ui.train.browser_copy import keep_changes
from ui.train.check_events import (
    PREVIEW_ROWS,
    Checked,
    changed_form,
    check_result,
    hint,
    is_untouched_example,
    report_for,
    wire_check,
)
from ui.train.data_form import stops_of
from ui.train.form_values import EXAMPLE_DATA, form_config, loaded_values, make_config, rows_key
from ui.train.jobs_view import lacks_scope
from ui.train.plan_view import (
    USED_AS_IT_IS,
    launch_html,
    plan_html,
    preset_choices,
    problems_html,
    proposals_html,
    start_html,
    start_problems_html,
)
from ui.train.report_view import cures_of
from ui.train.settings_form import mark_wrong
from ui.train.tab import TrainTab

KEEP = "() => [true, {__type__: 'update', visible: false}]"  # the checkpoints, and no question any more


def facts_of(config: TrainConfig, looked_at: Checked | None) -> DataFacts | None:
    """Return the facts of the data for an estimate; None for data that was not checked.

    The last check of the same rows is enough; a start checks again when a setting has changed how they are used.
    """
    if looked_at and looked_at["source"] == rows_key(config) and looked_at["report"]["train_rows"]:
        return facts_in(looked_at["report"])
    return EXAMPLE_FACTS if config.data == EXAMPLE else None


def estimate_of(resolved: ResolvedConfig, looked_at: Checked | None, owner: str) -> Estimate | None:
    """Return steps, memory and time of a start; None while the data or the base's shape is not known."""
    config, base, hardware = resolved.config, resolved.base, resolved.hardware
    facts, shape = facts_of(config, looked_at), shape_for(base)
    if facts is None or shape is None:
        return None
    speed = known(config, shape, facts, hardware) or from_earlier_runs(config, base.model_id, hardware, owner)
    if on_zero_gpu():  # there is nothing to measure it on
        speed = speed or guess(config, shape, facts, hardware)
    return estimate(config, shape, facts, hardware, speed)


def elsewhere_of(
    resolved: ResolvedConfig, looked_at: Checked | None, owner: str, machines: list[Flavor]
) -> Elsewhere | None:
    """Return the job on one of `machines` that is proposed for a long start; None for a short one, and where no job can do it."""
    facts = facts_of(resolved.config, looked_at)
    forecast = forecast_of_presets(resolved, facts, owner).get(AS_SET)
    return elsewhere(resolved, facts, forecast.seconds if forecast else None, machines)


def plan_views(
    config: TrainConfig,
    looked_at: Checked | None,
    owner: str,
    is_signed_in: bool = False,
    keeps_checkpoints: bool = False,
) -> list:
    """Return updates for PlanView.outputs."""
    texts = [shell_command(config), config.to_yaml()]
    problems = config.problems()
    if problems:
        return _unknown_plan(problems, texts)
    resolved = resolve(config, base_in_minute)
    config, base, hardware = resolved.config, resolved.base, resolved.hardware
    found, warnings = estimate_of(resolved, looked_at, owner), problems_html(advice(config))
    start = launch_plan(config, hardware)
    texts += [start.command, start.yaml or USED_AS_IT_IS]
    preset = preset_of(config)
    facts = facts_of(config, looked_at)
    forecasts = forecast_of_presets(resolved, facts, owner)
    seconds = forecasts[AS_SET].seconds if forecasts else None
    job = None if lacks_scope() else elsewhere(resolved, facts, seconds)
    lost = seconds if is_lost(seconds) else None
    may_keep = lost is not None and is_signed_in and not keeps_checkpoints
    proposed = proposals_html(job, lost, is_signed_in, keeps_checkpoints)
    proposals = [gr.HTML(proposed, visible=bool(proposed)), gr.Button(visible=may_keep)]
    cards = gr.Radio(preset_choices(forecasts), value=preset)
    words = start_html(training_in_words(resolved, owner), base, found, is_preset=preset is not None)
    if on_zero_gpu():
        words += hint_html(slices_words(found.seconds if found else None))
    if found is None:
        unknown = hint_html(_("Steps, memory and time are known when the data is checked."))
        first = [unknown + warnings + launch_html(start, base), gr.Button(visible=False)]
        return [*first, *texts, cards, *proposals, words]
    fit = found.make_it_fit
    changes = ", ".join(f"{label_of(name)} {value}" for name, value in (fit or {}).items())
    button = gr.Button(_("Make it fit: {changes}", changes=changes), visible=bool(fit))
    plan = plan_html(found, memory_place(config, hardware)) + warnings + launch_html(start, base)
    return [plan, button, *texts, cards, *proposals, words]


def _unknown_plan(problems: list[Problem], texts: list | None = None) -> list:
    """Return updates for PlanView.outputs for a form that cannot start: the problems, and no plan."""
    words, no_button = start_problems_html(problems), gr.Button(visible=False)
    return [
        words,
        no_button,
        *(texts or [gr.skip(), gr.skip()]),
        "",
        "",
        gr.skip(),
        gr.HTML(visible=False),
        no_button,
        words,
    ]


def preset_of(config: TrainConfig) -> str | None:
    """Return the preset whose settings `config` has, None when one of them was changed."""
    return next(
        (
            preset
            for preset in PRESETS
            if all(
                getattr(config, name) == value
                for name, value in preset_values(preset).items()
                if name not in config.unused
            )
        ),
        None,
    )


def check_init_adapter(config: TrainConfig, visitor: Visitor) -> None:
    """Ask the Hub again for a pulled adapter to continue from: the visitor may read it no longer. Raises UserError."""
    if config.init_adapter:
        open_adapter(config.init_adapter, visitor.owner, visitor.hub_token)


def checked_start(config: TrainConfig, looked_at: Checked | None, visitor: Visitor) -> Run:
    """Start `config` after a check of its data. Raises UserError while a finding prevents it."""
    resolved = resolve(config)
    config = resolved.config
    check_init_adapter(config, visitor)
    report = report_for(config, looked_at)
    if report is None and not is_untouched_example(config):
        looked_at = check_result(config, check(config.data_settings(), PREVIEW_ROWS))
        report = looked_at["report"]
    stops = stops_of(report)
    if stops:
        cure = next((cure["label"] for cure in cures_of(report)), "")
        hint = _('Press "{cure}" below the examples.', cure=cure) if cure else ""
        raise UserError(joined([_("Fix the data first:"), stops[0]]), hint)
    predicted = estimate_of(resolved, looked_at, visitor.owner)
    run = launch(resolved, visitor.owner)
    if predicted:
        record_estimate(run.folder, predicted)
    return run


def wire_plan(tab: TrainTab) -> Wiring:
    """Wire the check, the plan, and everything that changes the form; return the event that fills the plan."""
    inputs = [tab.browser_key, tab.report, *tab.components]

    @shown
    def on_plan(token: gr.OAuthToken | None, key, looked_at, *values):
        *values, keeps_checkpoints, wrong = values
        problems = []
        try:
            visitor = visitor_of(key, token)
            config = form_config(tab.names, visitor.owner, values)
            problems = config.problems()
            views = plan_views(config, looked_at, visitor.owner, bool(visitor.hub_token), bool(keeps_checkpoints))
        except UserError as error:  # a form half filled in is no failure
            field = error.field if isinstance(error, FieldError) else ""
            problems = [Problem(field, joined([error.message, error.hint]))]
            views = _unknown_plan(problems)
        updates, wrong = mark_wrong(tab.inputs, problems, wrong)
        return [*views, *updates, wrong]

    outputs = [*tab.plan.outputs, *tab.components, tab.wrong]
    wishes = tab.plan.backup.checkbox
    plan: Wiring = {"fn": on_plan, "inputs": [*inputs, wishes, tab.wrong], "outputs": outputs, **QUIET}
    keep_changes(tab)
    wire_check(tab, inputs, plan)
    _wire_changes(tab, inputs)
    _wire_backup(tab, inputs)
    pasted = tab.inputs["data_paste"]  # planned when the person leaves it: each plan keeps what was pasted
    changes = [component.change for component in tab.components if component is not pasted]
    gr.on([*changes, pasted.blur, wishes.input], trigger_mode="always_last", **plan)
    _wire_touches(tab)
    # in the browser, at once: whoever presses Start next starts with it
    keep = tab.plan.keep_button
    keep.click(None, None, [wishes, keep], js=KEEP, **QUIET).then(**plan)

    @shown
    def on_measure(token: gr.OAuthToken | None, key, looked_at, *values):
        resolved = resolve(form_config(tab.names, owner_of(key, token), values), base_in_minute)
        config, hardware = resolved.config, resolved.hardware
        shape, facts = shape_for(resolved.base), facts_of(config, looked_at)
        if facts is None:
            raise UserError(_("The data is not checked yet."), _("Wait until it is, or fix what is wrong with it."))
        if shape is None:
            sentence = _("The shape of this base is not known before it is downloaded.")
            raise UserError(sentence, _("Start a run of a few steps."))
        for kind, value in with_progress(lambda tell, stop: measure(config, shape, facts, hardware, tell, stop.is_set)):
            if kind == "says":
                yield hint(str(value))

    tab.plan.measure_button.click(
        on_measure, inputs, tab.plan.plan_html, api_name="measure", show_progress="hidden", concurrency_limit=1
    ).then(**plan)
    return plan


def _wire_touches(tab: TrainTab) -> None:
    """Let a training process do its imports while the form is filled in by hand."""

    @shown
    def on_touch(token: gr.OAuthToken | None, key):
        with suppress(OSError):  # the start goes its usual way then, and says what is wrong
            prepare(owner_of(key, token))

    texts = [component for component in tab.components if isinstance(component, gr.Textbox)]
    others = [one.input for one in tab.components if hasattr(one, "input") and one not in texts]
    touches = [*others, *(text.focus for text in texts), tab.inputs["data_file"].upload, tab.plan.preset_radio.input]
    gr.on(touches, on_touch, tab.browser_key, trigger_mode="once", api_name="form_touched", **QUIET)


def _wire_backup(tab: TrainTab, inputs: list) -> None:
    """Show what keeping checkpoints on the Hub means, anew after every plan, against the training's time."""

    @shown
    def on_wish(token: gr.OAuthToken | None, key, looked_at, *values):
        *values, is_wished = values
        if not is_wished:
            return gr.HTML("", visible=False)
        visitor = visitor_of(key, token)
        config = form_config(tab.names, visitor.owner, values)
        found = None if config.problems() else estimate_of(resolve(config, base_in_minute), looked_at, visitor.owner)
        ends_at, seconds = token.expires_at if token else None, found.seconds if found else None
        return gr.HTML(backup_words(config.name, visitor, ends_at, seconds), visible=True)

    form = tab.plan.backup
    gr.on(
        [form.checkbox.change, tab.plan.plan_html.change],
        on_wish,
        [*inputs, form.checkbox],
        form.note_html,
        trigger_mode="always_last",
        api_name="checkpoints_on_hub",
        show_progress="hidden",
    )


def _wire_changes(tab: TrainTab, inputs: list) -> None:
    """Wire presets, "make it fit", and a config from a file."""

    @shown
    def on_fit(token: gr.OAuthToken | None, key, looked_at, *values):
        owner = owner_of(key, token)
        found = estimate_of(resolve(form_config(tab.names, owner, values), base_in_minute), looked_at, owner)
        return changed_form(tab.names, (found.make_it_fit if found else None) or {})

    @shown
    def on_load_config(token: gr.OAuthToken | None, key, file):
        if not file:
            raise UserError(_("No file was uploaded."), _("Choose a config.yaml."))
        owner = owner_of(key, token)
        values, gone = loaded_values(owner, TrainConfig.from_yaml(file))
        make_config(owner, {**values, "data_kind": EXAMPLE_DATA})  # refuses what a visitor may not name
        if gone:
            words = _("The settings are loaded. Choose these files again: {files}.", files=", ".join(gone))
            gr.Info(html.escape(str(words), quote=False))
        return changed_form(tab.names, values)

    load_button = tab.plan.load_button
    settings = {preset: preset_values(preset) for preset in PRESETS}
    touched = list(next(iter(settings.values())))
    # in the browser: whoever presses Start at once starts what was chosen
    values = {preset: [changes[name] for name in touched] for preset, changes in settings.items()}
    at_once: Wiring = {"js": f"preset => ({json.dumps(values)})[preset]", **QUIET}
    tab.plan.preset_radio.input(None, tab.plan.preset_radio, [tab.inputs[name] for name in touched], **at_once)
    tab.plan.fit_button.click(on_fit, inputs, tab.components, **QUIET)
    load_button.upload(on_load_config, [tab.browser_key, load_button], tab.components, **QUIET)
