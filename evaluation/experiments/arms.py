"""The arms of an experiment: from what varies, and from what is written one by one, to settings that a run can have."""

from collections import Counter
from dataclasses import dataclass, fields, replace
from itertools import product
from math import prod

from common.errors import UserError
from common.language import Sentence, _, english, joined
from common.paths import as_title, slug
from data.settings import EXAMPLE
from evaluation.experiments.config import (
    HELD_OUT,
    MAX_ARMS,
    MAX_CELLS,
    MAX_RATES,
    METHODS,
    OWN_SETTINGS,
    TRAINED,
    ExperimentConfig,
    Scalar,
)
from runs.config import TrainConfig, marked
from runs.fields import Mark, label_of, short
from runs.forecast.advice import SOURCE

METHOD_NAMES = {
    "lora": "LoRA",
    "last-n": "Last layers",
    "full": "Full tuning",
    "few-shot": "Few-shot",
    "none": "Base",
}
MAX_COMBINATIONS = 1000  # of which many may come to the same arm
ONE_RATE = _(
    "All methods are trained at one learning rate, so this compares rates as much as methods: the best one for LoRA is about ten "
    "times that of full tuning ({source}).",
    source=SOURCE,
)
OF_THE_BASE = ("base", "base_revision", "precision", "chat_template")  # all that a method without training has


@dataclass(frozen=True)
class Arm:
    """One thing that is compared: a method with all settings that mean something for it, those that all arms share too.

    `settings` has a learning rate only where the arm was given one of its own, or nothing is searched.
    """

    id: str
    name: str
    method: str
    settings: dict[str, Scalar]

    @property
    def is_trained(self) -> bool:
        """Whether it has a run for each seed; else it is the base, asked once."""
        return self.method in TRAINED


def arms_of(config: ExperimentConfig) -> list[Arm]:
    """Return the arms in their order: what varies as a product, the last name fastest, then those written one by one.

    Settings that mean nothing for a method are dropped, and then what has the same name and settings as one before. Ids are
    the names as folders, and depend on nothing but the names before them.
    """
    if prod(map(len, config.vary.values())) + len(config.arms) > MAX_COMBINATIONS:
        words = _("These values make more than {most:,} combinations.", most=MAX_COMBINATIONS)
        raise UserError(words, _("Vary fewer settings, or fewer values of each."))
    found: list[Arm] = []
    ids: set[str] = set()
    numbers: Counter[str] = Counter()
    wanted = [dict(zip(config.vary, values, strict=True)) for values in product(*config.vary.values())]
    for own in (wanted if config.vary else []) + config.arms:
        method = str(own.get("method") or config.settings.get("method") or "lora")
        # without a rate, which is searched; and a commit is that of the shared base
        left_out = {"method", *["learning_rate"] * bool(config.rates), *["base_revision"] * ("base" in own)}
        shared = {name: value for name, value in config.settings.items() if name not in left_out}
        given = {name: value for name, value in own.items() if name not in ("name", "method")}
        settings = {name: value for name, value in {**shared, **given}.items() if _counts(name, method)}
        name = as_title(str(own.get("name") or "")) or _name(
            method, {one: given[one] for one in given if one in settings}
        )
        if any((arm.name, arm.method, arm.settings) == (name, method, settings) for arm in found):
            continue
        id = plain = slug(name)
        while id in ids:
            numbers[plain] += 1
            id = f"{plain}-{1 + numbers[plain]}"
        ids.add(id)
        found.append(Arm(id, name, method, settings))
    return found


def train_config(arm: Arm, seed: int, rate: float | None = None) -> TrainConfig:
    """Return the settings of a run of a trained arm, without its data. Raises UserError for values of another type.

    Losses on test sets while it learns are left out unless the arm asks for them: its evaluation measures them all.
    """
    values = {"test_sets": "", **arm.settings, "name": arm.name, "method": arm.method, "seed": seed}
    if rate is not None:
        values["learning_rate"] = rate
    return TrainConfig.from_dict(values)


def cells_of(config: ExperimentConfig) -> list[tuple[Arm, int | None]]:
    """Return each arm with each seed, all arms with the first seed first; an arm that is not trained once, without a seed."""
    arms = arms_of(config)
    once: list[tuple[Arm, int | None]] = [(arm, None) for arm in arms if not arm.is_trained]
    return once + [(arm, seed) for seed in config.seeds for arm in arms if arm.is_trained]


def data_of(config: ExperimentConfig) -> list[str]:
    """Return the data sets that arms are trained on, each once; rows of the first are held out."""
    shared = [config.settings["data"]] if config.settings.get("data") else []
    of_arms = [arm.settings.get("data") or EXAMPLE for arm in arms_of(config) if arm.is_trained]
    return list(dict.fromkeys(map(str, shared + of_arms))) or [EXAMPLE]


def needs_rate(config: ExperimentConfig, arm: Arm) -> bool:
    """Return whether the rate of an arm is to be searched for: it has none, and none is known from before."""
    return (
        arm.is_trained
        and bool(config.rates)
        and "learning_rate" not in arm.settings
        and arm.id not in config.found_rates
    )


def has_one_rate(config: ExperimentConfig) -> bool:
    """Return whether several methods are trained at one learning rate, so that rates are compared as much as methods."""
    trained = [arm for arm in arms_of(config) if arm.is_trained]
    rates = {config.found_rates.get(arm.id, arm.settings.get("learning_rate")) for arm in trained}
    is_searched = any(needs_rate(config, arm) for arm in trained)
    return len({arm.method for arm in trained}) > 1 and len(rates) == 1 and not is_searched


def arm_problems(config: ExperimentConfig) -> list[Sentence]:
    """Return what is wrong with the settings, what varies, and the arms that they make; [] when they can start."""
    found: list[Sentence] = []
    known = {item.name for item in fields(TrainConfig)}
    given = [*config.settings, *config.vary, *(name for arm in config.arms for name in arm if name != "name")]
    for name in dict.fromkeys(given):
        if name not in known:
            found.append(_("There is no setting '{name}'.", name=short(name)))
        elif name in (*OWN_SETTINGS, *marked(Mark.OUTSIDE)):
            found.append(_("{setting}: An experiment decides this by itself.", setting=label_of(name)))
    methods = [arm.get("method", "lora") for arm in (config.settings, *config.arms)] + config.vary.get("method", [])
    if unknown := [method for method in methods if method not in METHODS]:
        found.append(_("'{value}' is not one of {choices}.", value=short(unknown[0]), choices=", ".join(METHODS)))
    if empty := [name for name, values in config.vary.items() if not values]:
        found.append(_("{setting}: Enter at least one value.", setting=label_of(empty[0])))
    if found:
        return found
    try:
        arms = arms_of(config)
    except UserError as error:
        return [joined([error.message, error.hint])]
    cells = sum(len(config.seeds) if arm.is_trained else 1 for arm in arms)
    if not 1 <= len(arms) <= MAX_ARMS or cells > MAX_CELLS:
        words = _(
            "An experiment has 1 to {arms} arms, and at most {cells:,} cells: arms times seeds.",
            arms=MAX_ARMS,
            cells=MAX_CELLS,
        )
        return [words]
    names = [arm.name for arm in arms]
    if twice := [name for name in names if names.count(name) > 1]:
        found.append(_("Two arms are called '{name}'.", name=twice[0]))
    for arm in arms:
        if problem := _problem(config, arm):
            found.append(_("{arm}: {problem}", arm=arm.name, problem=problem))
    return found


def _problem(config: ExperimentConfig, arm: Arm) -> str:
    """Say what is wrong with the settings of one arm, with each rate and the lowest and the highest seed; "" for nothing."""
    lowest, highest = (one(config.seeds, default=0) for one in (min, max))
    rates = config.rates[:MAX_RATES] if needs_rate(config, arm) else [config.found_rates.get(arm.id)]
    try:
        if not arm.is_trained:
            TrainConfig.from_dict(arm.settings)
            return ""
        pairs = [*((lowest, rate) for rate in rates), (highest, rates[0])]
        made = [replace(train_config(arm, seed, rate), eval_data=HELD_OUT) for seed, rate in pairs]
    except UserError as error:
        return joined([error.message, error.hint])
    problems = (config.problems() for config in made)
    return next((joined(one.sentence() for one in found) for found in problems if found), "")


def _counts(name: str, method: str) -> bool:
    """Return whether a setting means anything for a method."""
    if method not in TRAINED:
        return name in OF_THE_BASE
    config = TrainConfig(method=method)
    return name not in config.unused and (config.makes_adapter or name != "init_adapter")


def _name(method: str, varied: dict[str, Scalar]) -> str:
    """Return what an arm is called, in English: its method, and what varies."""
    parts = [METHOD_NAMES.get(method, method)]
    for name, value in varied.items():
        label = english(label_of(name)).lower()
        if name == "lora_r":
            parts[0] = f"{parts[0]} r{value}"
        elif name == "last_layers":
            parts.append(f"last {value} layers" if value else "all layers")
        elif name == "max_rows":
            parts.append(f"{value:,} rows" if value else "all rows")
        elif name == "learning_rate":
            parts.append(f"rate {value}")
        elif value is None or value == "" or isinstance(value, bool):
            parts.append(f"{'with' if value else 'without'} {label}")
        else:
            parts.append(f"{label} {as_title(str(value).rpartition('/')[2])}")
    if method == "last-n" and varied.get("last_layers"):
        parts = [
            f"Last {varied['last_layers']} layers",
            *(part for part in parts[1:] if part != f"last {varied['last_layers']} layers"),
        ]
    return as_title(", ".join(parts))
