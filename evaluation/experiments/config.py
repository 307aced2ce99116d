"""What an experiment compares, on which data, and how often: the settings in its config.yaml, for page, command line, scripts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from common.errors import UserError
from common.language import _
from common.paths import MAX_TITLE_CHARACTERS, is_name
from evaluation.config import MAX_TEST_SETS
from evaluation.scores import scores_with
from runs.config import METHODS as TRAINED
from runs.config import TrainConfig
from runs.fields import MAX_NUMBER, Mark, convert, label_of, setting, short
from runs.settings_file import as_yaml, read_text, refuse_if, refuse_unknown, settings_in, value_problems

Scalar = str | int | float | bool | None

METHODS = (*TRAINED, "few-shot", "none")
HELD_OUT = "held-out"  # the test set of the rows that the experiment itself holds out
MAX_ARMS, MAX_SEEDS, MAX_RATES, MAX_CELLS = 64, 100, 12, 1000
MAX_DEPTH = 3  # of the YAML: `arms` is a list of settings
GROUP = _("Experiment")
# what the experiment itself decides: who is called how, what is held out, and which seed draws it
OWN_SETTINGS = ("name", "base_reason", "seed", "eval_data", "eval_data_revision", "eval_split", "eval_fraction")


@dataclass(frozen=True)
class ExperimentConfig:
    """Arms times seeds on one split of the data.

    `settings` are names of `TrainConfig` that all arms share. `vary` makes an arm of each combination of its values; `arms` are
    written one by one: {"name": ..., "method": ..., and settings}. A method is 'lora', 'last-n', 'full', 'few-shot' or 'none'.
    With `rates` each trained arm without a rate of its own is trained once with each; the rate with the lowest loss on the
    validation rows is taken. `found_rates`, by arm id, are those of an earlier search.
    """

    title: str = setting("", "What the experiment is called.", GROUP, Mark.KEPT, high=MAX_TITLE_CHARACTERS)
    settings: dict[str, Scalar] = field(default_factory=dict)
    vary: dict[str, list[Scalar]] = field(default_factory=dict)
    arms: list[dict[str, Scalar]] = field(default_factory=list)
    seeds: list[int] = field(default_factory=lambda: [1, 2, 3])
    rates: list[float] = field(default_factory=list)
    rate_steps: int = setting(
        0, "Steps of each training of the search for a rate; 0: as long as the run.", GROUP, low=0, high=10_000_000
    )
    found_rates: dict[str, float] = field(default_factory=dict)
    test_sets: list[str] = field(default_factory=lambda: [HELD_OUT, "general", "questions"])
    scores: list[str] = field(default_factory=list)  # all that fit a test set, when empty
    shots: int = setting(3, "Training rows that the few-shot prompt shows.", GROUP, low=1, high=16)
    max_new_tokens: int = setting(64, "The longest answer, in tokens.", GROUP, low=1, high=1024)
    max_items: int = setting(
        0, "Questions of each test set, drawn with the split's seed; 0 asks all.", GROUP, low=0, high=1_000_000
    )
    test_fraction: float = setting(
        0.2, "Part of the rows that no arm is trained on, for the scores.", GROUP, low=0.01, high=0.9
    )
    validation_fraction: float = setting(
        0.1, "Part of the rows that rates are chosen on, and nothing else.", GROUP, low=0.01, high=0.5
    )
    split_seed: int = setting(
        0,
        "Draws the split, the questions and the few-shot rows; trains the search for rates.",
        GROUP,
        low=0,
        high=2**31 - 1,
    )
    keep_weights: bool = setting(False, "Keep what each run has learned, not only its scores.", GROUP)
    parallel: int = setting(0, "Cells at a time; 0: as many as there are GPUs, else 1.", GROUP, low=0, high=64)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ExperimentConfig":
        """Build from plain values, converting numbers. Raises UserError for an unknown name or a value of another type."""
        types = get_type_hints(cls)
        refuse_unknown(values, types)
        found = {name: _converted(name, types[name], value) for name, value in values.items()}
        for table in (*(found[name] for name in ("settings", "vary") if name in found), *found.get("arms", [])):
            table.update({name: _as_setting(name, value) for name, value in table.items()})
        return cls(**found)

    @classmethod
    def from_text(cls, text: str, name: str = "experiment.yaml") -> "ExperimentConfig":
        """Read the text of a file of settings. Raises UserError when it is not one."""
        return cls.from_dict(settings_in(text, name, MAX_DEPTH))

    @classmethod
    def from_yaml(cls, path: Path) -> "ExperimentConfig":
        """Read a file of settings. Raises UserError when it is not one."""
        return cls.from_text(read_text(path), short(path.name))

    def to_yaml(self) -> str:
        """Write the settings as YAML."""
        return as_yaml(self)

    def check(self) -> None:
        """Raise one UserError that names every problem; return when there is none. What exists is not looked up."""
        from evaluation.experiments.arms import arm_problems

        found = value_problems(self)
        if not 1 <= len(self.seeds) <= MAX_SEEDS or len({*self.seeds}) < len(self.seeds):
            found.append(_("Choose 1 to {most} seeds, none twice.", most=MAX_SEEDS))
        if len(self.rates) > MAX_RATES or len({*self.rates}) < len(self.rates):
            found.append(_("Choose at most {most} learning rates, none twice.", most=MAX_RATES))
        if not 1 <= len(self.test_sets) <= MAX_TEST_SETS or len({*self.test_sets}) < len(self.test_sets):
            found.append(_("Choose 1 to {most} test sets, none twice.", most=MAX_TEST_SETS))
        for one in self.test_sets[:MAX_TEST_SETS]:
            if not is_name(one):
                found.append(_("'{name}' is not a valid name of a test set.", name=short(one)))
        known = scores_with()
        if unknown := [one for one in self.scores if one not in known]:
            found.append(_("There is no score '{name}'.", name=short(unknown[0])))
        if self.test_fraction + self.validation_fraction > 0.9:
            found.append(_("Leave some rows to train on: make the test or the validation part smaller."))
        found += arm_problems(self)
        refuse_if(found)


def _converted(name: str, kind: Any, value: object) -> Any:
    """Return a value of a file as its field's type: plain values, lists and tables of them. Raises UserError naming the field."""
    container, inner = get_origin(kind), get_args(kind)
    if container is list and isinstance(value, list | tuple):
        return [_converted(name, inner[0], one) for one in value]
    if container is dict and isinstance(value, Mapping):
        return {str(key): _converted(name, inner[1], one) for key, one in value.items()}
    if container in (list, dict):
        words = _("Enter a list.") if container is list else _("Enter names with their values.")
        raise UserError(_("{setting}: {problem}", setting=label_of(name), problem=words))
    if kind == Scalar:
        if isinstance(value, int) and abs(value) > MAX_NUMBER:  # Python refuses to print it
            raise UserError(_("{setting}: The number is too large.", setting=label_of(name)))
        if value is None or isinstance(value, str | int | float | bool):
            return value
        raise UserError(_("{setting}: Enter text, a number, or true or false.", setting=label_of(name)))
    return convert(name, kind, value)


def _as_setting(name: str, value: Any) -> Any:
    """Return the value of a setting of a run, or several, as its type there; an unknown name's as it is. Raises UserError."""
    if isinstance(value, list):
        return [_as_setting(name, one) for one in value]
    kind = _kinds().get(name)
    return convert(name, kind, value) if kind and name != "name" else value


@cache
def _kinds() -> dict[str, Any]:
    """Return the types of the settings of a run: for tens of thousands of values they are looked up once."""
    return get_type_hints(TrainConfig)
