"""The form of the Experiments tab: ready experiments first, one's own folded under Start; and the config that it makes.

The YAML is what starts. The inputs above it show what it says and change it; what they cannot say stays as it is written.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import gradio as gr

from adapters.pull import open_adapter
from common.errors import UserError
from common.language import Sentence, _, n_, said
from data.settings import EXAMPLE
from data.test_sets import BUNDLED, list_test_sets
from evaluation.config import MAX_TEST_SETS
from evaluation.experiments.arms import arms_of, data_of
from evaluation.experiments.config import HELD_OUT, METHODS, TRAINED, ExperimentConfig, Scalar
from evaluation.experiments.notes import EXAMPLE_TEXT, NOTES
from models.base import AUTO, BASE_CHOICES
from models.prices import JOBS
from runs.config import ROWS, TrainConfig, marked
from runs.fields import LABELS, convert
from ui.hints import hint_html
from ui.long_lists import names_in
from ui.named import check_named
from ui.owner import Visitor
from ui.steps import build_step

METHOD_LABELS: dict[str, Sentence] = {
    "none": _("The base, untouched"),
    "few-shot": _("The base with examples in its prompt"),
    "lora": _("LoRA"),
    "last-n": _("The last layers alone, whole"),
    "full": _("Full tuning"),
}
DEFAULTS = asdict(TrainConfig())
# the setting of each method that the form varies, and its value where an experiment has none
OWN = {"lora": ("lora_r", str(DEFAULTS["lora_r"])), "last-n": ("last_layers", "4")}
OF_ARMS = ("methods", "lora_r", "last_layers", "max_rows")
SHARED: tuple[str, ...] = ("base", "data", "num_train_epochs", "max_steps")  # by all arms
NAMES = (*OF_ARMS, *SHARED, "test_sets", "max_items", "seeds", "rates", "title")
MAX_VALUES = 20  # in one line
Values = dict[str, Any]  # what the inputs hold, by NAMES


@dataclass
class ExperimentForm:
    """The components. `inputs` are those that the YAML is made of, by NAMES."""

    ready_radio: gr.Radio
    note_html: gr.HTML
    start_button: gr.Button
    plan_html: gr.HTML
    inputs: dict[str, Any]
    arms_html: gr.HTML
    take_button: gr.Button
    yaml_code: gr.Code
    load_button: gr.UploadButton
    machine_dropdown: gr.Dropdown
    price_html: gr.HTML
    repeat_button: gr.UploadButton

    @property
    def fields(self) -> list[Any]:
        """Return the inputs, in the order of NAMES."""
        return [self.inputs[name] for name in NAMES]

    @property
    def outputs(self) -> list[Any]:
        """Return what `form_updates` updates."""
        return [*self.fields, self.arms_html]


def build_form() -> ExperimentForm:
    """Lay out the questions, Start, and the experiment of one's own."""
    build_step(1, _("What do you want to know?"))
    ready_radio = gr.Radio(
        [(str(note.claim), note.id) for note in NOTES],
        label=_("Ready experiments"),
        show_label=False,
        container=False,
        elem_classes="presets claims",
    )
    note_html = gr.HTML("", elem_classes="claim")
    build_step(2, _("Start"))
    with gr.Row(elem_classes="start"):
        start_button = gr.Button(_("Start the experiment"), variant="primary", size="lg", min_width=180, scale=0)
        plan_html = gr.HTML("", elem_classes="start-words")
    with gr.Accordion(_("Your own experiment"), open=False):
        with gr.Accordion(_("What is compared"), open=True):
            inputs = _build_arms()
            arms_html = gr.HTML("")
        with gr.Accordion(_("Data and questions"), open=False):
            inputs |= _build_data()
            take_button = gr.Button(_("Take base and data from the Train tab"), size="sm")
        with gr.Accordion(_("How often, and how long"), open=False):
            inputs |= _build_seeds()
        with gr.Accordion(_("The same as YAML"), open=False):
            yaml_code = gr.Code(label="experiment.yaml", language="yaml", lines=8, max_lines=24, interactive=True)
            load_button = gr.UploadButton(_("Load an experiment.yaml"), file_types=[".yaml", ".yml"], size="sm")
        with gr.Accordion(_("Its price on Hugging Face Jobs"), open=False):
            machine_dropdown = gr.Dropdown([*JOBS], value=None, label=_("Machine"), allow_custom_value=True)
            price_html = gr.HTML("")
        repeat_button = gr.UploadButton(_("Repeat the experiment of a bundle (.zip)"), file_types=[".zip"], size="sm")
    start = (ready_radio, note_html, start_button, plan_html)
    written = (yaml_code, load_button, machine_dropdown, price_html, repeat_button)
    return ExperimentForm(*start, inputs, arms_html, take_button, *written)


def _build_arms() -> dict[str, Any]:
    """Lay out methods, and the values that make several arms of one; return the inputs by name."""
    methods = gr.CheckboxGroup(
        [(str(METHOD_LABELS[name]), name) for name in ("none", "few-shot", *TRAINED)],
        label=_("Methods"),
        show_label=False,
        container=False,
    )
    with gr.Row(elem_classes="fields"):
        inputs = {
            "lora_r": gr.Textbox(label=_("Ranks of LoRA"), placeholder="4, 16", min_width=110),
            "last_layers": gr.Textbox(label=_("Numbers of last layers"), placeholder="4", min_width=110),
            "max_rows": gr.Textbox(
                label=_("Rows to train on"),
                placeholder="10, 30, 100, 300, 1000, 0",
                info=_("Several make a learning curve; 0: all."),
                min_width=160,
            ),
        }
    return {"methods": methods, **inputs}


def _build_data() -> dict[str, Any]:
    """Lay out base, data and test sets; return the inputs by name."""
    base = gr.Dropdown(
        [(said(label), choice) for label, choice in BASE_CHOICES],
        value=AUTO,
        label=_("Base model"),
        allow_custom_value=True,
    )
    data = gr.Textbox(EXAMPLE, label=_("Dataset"), info=_("example, or the ID of a Hugging Face dataset."))
    test_sets = gr.CheckboxGroup([HELD_OUT, *BUNDLED], label=_("Test sets"), elem_classes="test-sets")
    max_items = gr.Number(0, precision=0, label=_("Questions of each test set"), info=_("0: all."), min_width=140)
    return {"base": base, "data": data, "test_sets": test_sets, "max_items": max_items}


def _build_seeds() -> dict[str, Any]:
    """Lay out seeds, rates, length and title; return the inputs by name."""
    with gr.Row(elem_classes="fields"):
        seeds = gr.Textbox(
            label=_("Seeds"), info=_("Each trained arm is trained once with each."), placeholder="1, 2, 3"
        )
        words = _(
            "Tried by each trained arm first: without that a comparison of methods says little. Empty: no search."
        )
        rates = gr.Textbox(label=_("Learning rates to search"), info=words, placeholder="1e-4, 3e-4, 1e-3")
    with gr.Row(elem_classes="fields"):
        epochs = gr.Number(DEFAULTS["num_train_epochs"], label=str(LABELS["num_train_epochs"]), min_width=110)
        steps = gr.Number(
            0, precision=0, label=str(LABELS["max_steps"]), info=_("0: as many as the epochs take."), min_width=110
        )
    title = gr.Textbox("", label=_("Name of the experiment"), max_length=100)
    return {"seeds": seeds, "rates": rates, "num_train_epochs": epochs, "max_steps": steps, "title": title}


def form_values(config: ExperimentConfig) -> Values:
    """Return what the inputs say of a config, by NAMES. Raises UserError for values that make too many arms."""
    arms = arms_of(config)

    def given(name: str, default: str, *methods: str) -> str:
        found = [arm.settings[name] for arm in arms if arm.method in methods and name in arm.settings]
        return ", ".join(map(str, dict.fromkeys(found))) or default

    return {
        "methods": [name for name in METHODS if any(arm.method == name for arm in arms)],
        **{name: given(name, default, method) for method, (name, default) in OWN.items()},
        "max_rows": given("max_rows", "", *TRAINED),
        **{name: config.settings.get(name, DEFAULTS[name]) for name in SHARED},
        "test_sets": config.test_sets,
        "max_items": config.max_items,
        "seeds": ", ".join(map(str, config.seeds)),
        "rates": ", ".join(f"{rate:g}".replace("e-0", "e-") for rate in config.rates),
        "title": config.title,
    }


def with_form(config: ExperimentConfig, *given: object) -> ExperimentConfig:
    """Return `config` with what the inputs say, in the order of NAMES; what it says already stays as it is written.

    Other methods, ranks, layers or rows are new arms: what else the arms varied is gone. Raises UserError.
    """
    known, values = form_values(config), dict(zip(NAMES, given, strict=True))
    changed = {name: value for name, value in values.items() if value != known[name]}
    if changed.keys() & {*OF_ARMS}:
        config = _with_arms(config, values)
    found = asdict(config)
    found["settings"] |= {
        name: convert(name, type(DEFAULTS[name]), changed[name]) for name in SHARED if name in changed
    }
    if "seeds" in changed:
        found["seeds"] = numbers("seeds", changed["seeds"], int)
    if "rates" in changed:
        found |= {"rates": numbers("rates", changed["rates"], float), "found_rates": {}}
    if "test_sets" in changed:
        found["test_sets"] = names_in(changed["test_sets"])
    return ExperimentConfig.from_dict(
        found | {name: changed[name] for name in ("title", "max_items") if name in changed}
    )


def _with_arms(config: ExperimentConfig, values: Mapping[str, object]) -> ExperimentConfig:
    """Return `config` with the arms that the inputs say, in the place of all that it has. Raises UserError."""
    settings = {name: value for name, value in config.settings.items() if name not in (*OF_ARMS, "method")}
    return replace(config, settings=settings, vary={}, arms=_arms(values), found_rates={})


def _arms(values: Mapping[str, object]) -> list[dict[str, Scalar]]:
    """Return the arms of the chosen methods, each with each of its values and with each number of rows. Raises UserError."""
    found: list[dict[str, Scalar]] = []
    rows = numbers("max_rows", values["max_rows"], int)
    for method in [one for one in METHODS if one in names_in(values["methods"])]:
        own: list[dict[str, Scalar]] = [{}]
        if method in OWN:
            name = OWN[method][0]
            own = [{name: number} for number in numbers(name, values[name], int)]
            if not own:
                raise UserError(_("{setting}: {problem}", setting=LABELS[name], problem=_("Enter a value.")))
        sizes: list[dict[str, Scalar]] = (
            [{"max_rows": number} for number in rows] if method in TRAINED and rows else [{}]
        )
        found += [{"method": method, **one, **size} for one in own for size in sizes]
    if not found:
        raise UserError(_("No method is chosen."), _("Choose one or more."))
    return found


def numbers(name: str, text: object, kind: type[int] | type[float]) -> list:
    """Return the numbers in a line, with commas or spaces between them. Raises UserError."""
    label = str({"seeds": _("Seeds"), "rates": _("Learning rates to search")}.get(name) or LABELS[name])
    parts = [part for part in re.split(r"[,;\s]+", text if isinstance(text, str) else "") if part]
    if len(parts) > MAX_VALUES:
        raise UserError(_("{setting}: {problem}", setting=label, problem=_("At most {most} values.", most=MAX_VALUES)))
    if kind is int and any(re.fullmatch(r"0\d+", part) for part in parts):  # 1,000 would be 1 and 0
        raise UserError(_("{setting}: {problem}", setting=label, problem=_("Write 1000, not 1,000.")))
    return [convert(label, kind, part) for part in parts]


def form_updates(owner: str, config: ExperimentConfig) -> list:
    """Return updates for `ExperimentForm.outputs` that show a config. Raises UserError."""
    values = form_values(config)
    plain = _trained(_with_arms(config, values)) == _trained(config)
    sets = {HELD_OUT: str(_("Held-out rows of the data"))}
    sets |= {one.id: f"{said(one.title)} ({one.rows:,})" for one in list_test_sets(owner) if one.rows}
    sets |= {name: name for name in config.test_sets[:MAX_TEST_SETS] if name not in sets}
    updates: dict[str, Any] = {name: gr.update(value=value) for name, value in values.items()}
    for name in OF_ARMS:
        updates[name] = gr.update(value=values[name], interactive=plain)
    updates["test_sets"] = gr.CheckboxGroup([(title, name) for name, title in sets.items()], value=config.test_sets)
    told = arms_html(config)
    if not plain:
        told += hint_html(_("The arms differ in more than these inputs can say: change them in the YAML."))
    return [*(updates[name] for name in NAMES), told]


def arms_html(config: ExperimentConfig) -> str:
    """Return the names of the arms that a config makes. Raises UserError for values that make too many."""
    names = [arm.name for arm in arms_of(config)]
    return hint_html(n_("{count} arm: {names}.", "{count} arms: {names}.", len(names), names=", ".join(names)))


def _trained(config: ExperimentConfig) -> set[tuple[str, str]]:
    """Return the method and all settings of each arm; a default stands for what is not given."""
    return {(arm.method, str(sorted((DEFAULTS | arm.settings).items()))) for arm in arms_of(config)}


def check_named_by(visitor: Visitor, config: ExperimentConfig, has_rows: bool = False) -> None:
    """Raise UserError for settings that name what a visitor may not name: of any arm, shared ones that no arm has, and the data.

    A bundle `has_rows`: what its settings call data is in it. An adapter that was pulled is asked for again, as at any start.
    """
    config.check()
    data = [] if has_rows else data_of(config)
    shared = {name: value for name, value in config.settings.items() if name != "method"}
    for settings in [shared, *(arm.settings for arm in arms_of(config)), *({"data": one} for one in data)]:
        # the example's text is everybody's
        left_out = [name for name in marked(ROWS) if has_rows or settings.get(name) == str(EXAMPLE_TEXT)]
        named = TrainConfig.from_dict({name: value for name, value in settings.items() if name not in left_out})
        check_named(visitor.owner, named)
        if named.init_adapter:
            open_adapter(named.init_adapter, visitor.owner, visitor.hub_token)
