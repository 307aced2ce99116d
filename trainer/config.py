"""All settings of a training run: one dataclass that feeds the command line, the page, `config.yaml` and the docs.

Light: no torch. `problems()` says everything that is wrong at once, each with its field.
"""

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import get_type_hints

import yaml

from common.errors import UserError
from models.base import AUTO
from models.precision import PRECISIONS
from models.templates import NAMES as TEMPLATES

EXAMPLE = "example"
SCHEDULERS = ("linear", "cosine", "constant", "constant_with_warmup")


def setting(default, text: str, *, low=None, high=None, choices=None):
    """A field with its line of help and its limits (both ends included)."""
    return field(default=default, metadata={"help": text, "low": low, "high": high, "choices": choices})


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the field it belongs to, and a sentence."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass
class TrainConfig:
    """What a run is made of. The defaults work untouched."""

    name: str = setting("my-adapter", "Name of the adapter that comes out.")
    base: str = setting(
        AUTO, "Base model: auto (TinyLlama; without a network the embedded one), embedded, a Hub id, or a folder."
    )
    base_revision: str | None = setting(None, "Commit, tag or branch of the base on the Hub.")
    base_reason: str = setting("", "Why this base was taken (written by the launcher).")
    data: str = setting(EXAMPLE, "Training data: example, a file (JSONL, JSON, CSV, Parquet) or a Hub data set id.")
    data_split: str = setting("train", "Split of a Hub data set.")
    eval_data: str | None = setting(None, "File with held-out rows. Without one, a part of the data is held out.")
    eval_fraction: float = setting(0.1, "Part of the rows held out when there is no file for them.", low=0.0, high=0.5)
    skip_bad_rows: bool = setting(False, "Leave out rows that cannot be used, instead of stopping at them.")
    precision: str = setting(
        "auto", "Precision of the base: auto is 8bit on a GPU and fp32 on a CPU.", choices=PRECISIONS
    )
    chat_template: str = setting("auto", "Chat template: auto takes the base's own.", choices=("auto", *TEMPLATES))
    max_length: int = setting(
        1024, "Longest row in tokens; longer ones are left out and reported.", low=16, high=131072
    )
    lora_r: int = setting(16, "LoRA rank: more can learn more and weighs more.", low=1, high=256)
    lora_alpha: int = setting(32, "LoRA scale, usually twice the rank.", low=1, high=1024)
    lora_dropout: float = setting(0.05, "Dropout inside LoRA.", low=0.0, high=0.9)
    learning_rate: float = setting(5e-4, "Highest learning rate (1e-4 to 1e-3 suits LoRA).", low=1e-7, high=0.1)
    lr_scheduler_type: str = setting("cosine", "How the learning rate falls.", choices=SCHEDULERS)
    warmup_fraction: float = setting(0.05, "Part of the steps in which the learning rate rises.", low=0.0, high=0.5)
    num_train_epochs: float = setting(2.0, "Passes over the data.", low=0.01, high=1000.0)
    max_steps: int = setting(0, "Optimiser steps; 0 lets the epochs decide.", low=0, high=10_000_000)
    per_device_train_batch_size: int = setting(4, "Rows a step on each device.", low=1, high=1024)
    gradient_accumulation_steps: int = setting(1, "Batches gathered before an optimiser step.", low=1, high=1024)
    weight_decay: float = setting(0.0, "Weight decay of AdamW.", low=0.0, high=1.0)
    max_grad_norm: float = setting(1.0, "Gradients are clipped to this norm; 0 does not clip.", low=0.0, high=1000.0)
    gradient_checkpointing: str = setting(
        "auto", "Trade speed for memory: auto is on for a GPU, off for a CPU.", choices=("auto", "on", "off")
    )
    num_processes: int = setting(1, "Processes, one a GPU.", low=1, high=4096)
    seed: int = setting(42, "Seed of the split, the order and the adapter's start.", low=0, high=2**31 - 1)
    logging_steps: int = setting(1, "Steps between two points of the curve.", low=1, high=10_000)
    eval_steps: int = setting(
        0, "Steps between two looks at the held-out rows; 0: once an epoch.", low=0, high=10_000_000
    )
    save_steps: int = setting(50, "Steps between two checkpoints.", low=1, high=10_000_000)

    @classmethod
    def from_dict(cls, values: dict) -> "TrainConfig":
        """Build from plain values, converting numbers and naming every unknown key. Raises UserError."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UserError(
                f"Unknown settings: {', '.join(map(str, unknown))}.", f"Known are: {', '.join(sorted(known))}."
            )
        types = get_type_hints(cls)
        return cls(**{name: convert(name, types[name], value) for name, value in values.items()})

    @classmethod
    def from_yaml(cls, path: Path) -> "TrainConfig":
        """Read a `config.yaml`. Raises UserError when it is not one."""
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UserError(f"'{path}' cannot be read as YAML.", str(error).splitlines()[0]) from error
        if not isinstance(values, dict):
            raise UserError(f"'{path}' holds no settings.", "Write one `name: value` a line.")
        return cls.from_dict(values)

    def to_yaml(self) -> str:
        """The settings as YAML, each with its line of help as a comment."""
        lines = []
        for item in fields(self):
            value = yaml.safe_dump({item.name: getattr(self, item.name)}, allow_unicode=True, width=10_000).strip()
            lines.append(f"{value}  # {item.metadata['help']}")
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict:
        return asdict(self)

    def problems(self) -> list[Problem]:
        """Everything that would make this run fail or mean nothing; [] when it can start."""
        found = [problem for item in fields(self) for problem in _limits(item, getattr(self, item.name))]
        if not self.name.strip():
            found.append(Problem("name", "give the adapter a name."))
        if not self.data.strip():
            found.append(Problem("data", "choose the data to train on."))
        if not self.max_steps and not self.num_train_epochs > 0:
            found.append(Problem("num_train_epochs", "give epochs or max_steps."))
        return found

    def check(self) -> None:
        """Raise one UserError that names every problem; return when there is none."""
        found = self.problems()
        if found:
            raise UserError("The settings cannot be used. " + " ".join(f"{problem}" for problem in found))


def convert(name: str, kind: type, value: object):
    """`value` as the field's type: '2e-4' becomes a float, 'true' a bool. Raises UserError naming the field."""
    if kind == str | None:
        return None if value in (None, "") else str(value)
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "yes", "on", "1", "false", "no", "off", "0"):
            return str(value).lower() in ("true", "yes", "on", "1")
        raise UserError(f"{name}: '{value}' is neither true nor false.")
    if kind is str:
        # YAML reads a bare `on` or `off` as a bool
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
    try:
        number = float(str(value))
    except ValueError as error:
        raise UserError(f"{name}: '{value}' is not a number.") from error
    if kind is int and (not math.isfinite(number) or number != int(number)):
        raise UserError(f"{name}: '{value}' is not a whole number.")
    return kind(number)


def _limits(item, value) -> list[Problem]:
    low, high, choices = (item.metadata[key] for key in ("low", "high", "choices"))
    if choices and value not in choices:
        return [Problem(item.name, f"'{value}' is not one of {', '.join(choices)}.")]
    if isinstance(value, float) and not math.isfinite(value):
        return [Problem(item.name, f"{value} is not a number.")]
    if low is not None and value < low:
        return [Problem(item.name, f"{value} is too low; {low} is the least.")]
    if high is not None and value > high:
        return [Problem(item.name, f"{value} is too high; {high} is the most.")]
    return []
