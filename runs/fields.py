"""One field of TrainConfig: its label, what it means to the rest of the app, its value's type, and its limits."""

import json
import math
import unicodedata
from dataclasses import Field, dataclass, field
from enum import Enum
from typing import Any

from common.errors import UserError
from common.language import Sentence, _

MAX_NUMBER = 10**80  # Python refuses to print much longer ones
MAX_TEXT_CHARACTERS, MAX_LONG_TEXT_CHARACTERS = 1000, 20_000
LABELS = {
    "name": _("Name"),
    "base": _("Base model"),
    "base_revision": _("Base model revision"),
    "base_reason": _("Reason for the base model"),
    "init_adapter": _("Start from"),
    "precision": _("Precision"),
    "chat_template": _("Chat template"),
    "data": _("Dataset"),
    "data_config": _("Dataset configuration"),
    "data_split": _("Dataset split"),
    "data_revision": _("Dataset revision"),
    "header": _("First row is a header"),
    "sheet": _("Sheet"),
    "keep_null_words": _("Keep nan and null as text"),
    "columns": _("Columns"),
    "system_turns": _("Later system messages"),
    "max_rows": _("Max rows"),
    "text_data": _("Plain text"),
    "text_data_revision": _("Plain text revision"),
    "text_epochs": _("Epochs over the plain text"),
    "eval_data": _("Held-out examples"),
    "eval_data_revision": _("Held-out revision"),
    "eval_split": _("Held-out split"),
    "eval_fraction": _("Held-out fraction"),
    "skip_bad_rows": _("Leave out bad rows"),
    "drop_duplicates": _("Leave out duplicates"),
    "markup": _("Chat markup in rows"),
    "too_long": _("Rows that are too long"),
    "method": _("Method"),
    "num_train_epochs": _("Epochs"),
    "max_steps": _("Max steps"),
    "learning_rate": _("Learning rate"),
    "per_device_train_batch_size": _("Batch size"),
    "gradient_accumulation_steps": _("Gradient accumulation"),
    "lr_scheduler_type": _("Learning rate schedule"),
    "warmup_fraction": _("Warm-up"),
    "weight_decay": _("Weight decay"),
    "max_grad_norm": _("Max gradient norm"),
    "neftune_noise_alpha": _("NEFTune noise"),
    "seed": _("Seed"),
    "max_minutes": _("Time limit (minutes)"),
    "early_stopping_patience": _("Early stopping patience"),
    "keep": _("Step to keep"),
    "lora_r": _("LoRA rank (r)"),
    "lora_alpha": _("LoRA alpha"),
    "lora_dropout": _("LoRA dropout"),
    "target_modules": _("Target modules"),
    "last_layers": _("Last layers only"),
    "lora_plus_ratio": _("LoRA+ ratio"),
    "use_rslora": _("Rank-stabilized LoRA"),
    "use_dora": _("DoRA"),
    "max_length": _("Max sequence length"),
    "packing": _("Packing"),
    "gradient_checkpointing": _("Gradient checkpointing"),
    "num_processes": _("GPUs (processes)"),
    "parallel": _("Parallelism"),
    "num_machines": _("Machines"),
    "machine_rank": _("Machine number"),
    "main_process_ip": _("Address of machine 0"),
    "main_process_port": _("Port of machine 0"),
    "rendezvous": _("Rendezvous"),
    "max_restarts": _("Max restarts"),
    "ddp_timeout": _("Timeout (seconds)"),
    "accelerate_config": _("Accelerate config"),
    "logging_steps": _("Logging steps"),
    "eval_steps": _("Evaluation steps"),
    "save_steps": _("Checkpoint steps"),
    "sample_prompts": _("Sample prompts"),
    "test_sets": _("Test sets"),
    "report_to": _("Trackers"),
}
CHOICES = {  # what a choice does, where its value alone does not say it
    "system_turns": {"join": _("Move to the front"), "keep": _("Leave in place")},
    "markup": {
        "ask": _("Leave as text and warn"),
        "turns": _("Read as messages"),
        "strip": _("Remove"),
        "keep": _("Leave as text"),
    },
    "too_long": {
        "drop": _("Leave out"),
        "cut": _("Cut after a complete message"),
        "split": _("Split into several rows"),
    },
    "method": {"lora": _("A LoRA adapter"), "last-n": _("The last layers themselves"), "full": _("All weights")},
    "keep": {"last": _("The last step"), "best": _("The step with the lowest held-out loss")},
}


class Mark(Enum):
    """What a setting means to others. Each has one of the first three."""

    TOLD = "travels with the adapter: a number, a switch or a choice, no word of a person"
    CARD = "travels too, and is on the adapter's card"
    KEPT = "stays on this machine: a word of a person, or the name of a file or machine"
    ROWS = "names rows: a file that is copied into the run, or a Hub id"
    SOURCE = "decides which rows are read, and with whose tokenizer"
    READING = "decides what becomes of the rows that were read"
    SPEED = "changes the seconds that a token takes"
    BATCH = "changes the speed by the tokens of a batch"
    PERSONAL = "is the person's choice: no cure changes it (nor ROWS nor SERVER)"
    SERVER = "names machines, addresses or files of the machine that trains: not for visitors of a Space"
    OUTSIDE = "leads out of the run: refused in a run that comes back from the Hub"
    LONG = "may have several lines"
    WRITTEN = "is written by the launcher: no input and no flag"


def setting(
    default: Any,
    text: str,
    group: str,
    *marks: Mark,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Make a field with its line of help, its group, what it means to others, and its limits (both ends included;
    of a text `high` is its characters).
    """
    meaning = {"help": text, "group": group, "marks": marks, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=meaning)


def label_of(name: str) -> str:
    """Return a setting's name as people read it, 'LoRA rank (r)' for lora_r; what is no setting keeps its name."""
    return LABELS.get(name, name)


def choices_of(item: Field) -> list[tuple[str, str]]:
    """Return (label, value) of the choices of a setting: what one does, and its value, as config.yaml has it."""
    known = CHOICES.get(item.name, {})
    return [(f"{known[value]} ({value})" if value in known else value, value) for value in item.metadata["choices"]]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the field it belongs to, and a sentence that stands at that field."""

    field: str
    message: str

    def sentence(self) -> Sentence:
        """Return the sentence with the field's label before it."""
        return _("{setting}: {problem}", setting=label_of(self.field), problem=self.message)

    def __str__(self) -> str:
        return str(self.sentence())


def convert(name: str, kind: Any, value: object) -> Any:
    """Return `value` as the field's type: '2e-4' becomes a float, 'true' a bool. Raises UserError naming the field."""
    setting = label_of(name)
    if value is not None and not isinstance(value, (str, int, float)):
        raise UserError(_("{setting}: Enter text, a number, or true or false.", setting=setting))
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        raise UserError(_("{setting}: The number is too large.", setting=setting))
    if kind == str | None:
        return None if value in (None, "") else str(value)
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "yes", "on", "1", "false", "no", "off", "0"):
            return str(value).lower() in ("true", "yes", "on", "1")
        raise UserError(_("{setting}: '{value}' is neither true nor false.", setting=setting, value=short(value)))
    if kind is str:
        # YAML reads a bare `on` or `off` as a bool; a sentence stays one
        if isinstance(value, bool):
            return "on" if value else "off"
        return value if isinstance(value, str) else str(value)
    try:
        number = float(value if isinstance(value, int | float) and not isinstance(value, bool) else str(value))
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(_("{setting}: '{value}' is not a number.", setting=setting, value=short(value))) from error
    if kind is int and (not math.isfinite(number) or number != int(number)):
        raise UserError(_("{setting}: '{value}' is not a whole number.", setting=setting, value=short(value)))
    return kind(number)


def short(value: object) -> str:
    """Return the beginning of `value`, for a message."""
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        return _("a number with very many digits")
    return str(value)[:80]


def value_problem(item: Field, value: Any) -> Sentence | None:
    """Say what is wrong with the value of one field: too long, none of its choices, out of its limits; None for nothing."""
    low, high, choices = (item.metadata[key] for key in ("low", "high", "choices"))
    if isinstance(value, str):
        is_long = Mark.LONG in item.metadata["marks"]
        longest, allowed = (MAX_LONG_TEXT_CHARACTERS, "\n\r\t") if is_long else (MAX_TEXT_CHARACTERS, "")
        longest = high or longest
        if len(value) > longest:
            return _("Too long: {count:,} characters, at most {limit:,} are allowed.", count=len(value), limit=longest)
        if any(unicodedata.category(letter) in ("Cc", "Cs") and letter not in allowed for letter in value):
            return _("Control characters are not allowed.")
    if choices and value not in choices:
        return _("'{value}' is not one of {choices}.", value=value, choices=", ".join(choices))
    if isinstance(value, float) and not math.isfinite(value):
        return _("{value} is not a number.", value=str(value))
    if isinstance(value, str):
        return None
    if low is not None and value < low:
        return _("{value} is too low; the minimum is {limit}.", value=value, limit=low)
    if high is not None and value > high:
        return _("{value} is too high; the maximum is {limit}.", value=value, limit=high)
    return None


def is_mapping(columns: str) -> bool:
    """Return whether `columns` is empty or a JSON object of text to text."""
    try:
        value = json.loads(columns) if columns.strip() else {"": ""}
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and bool(value) and all(isinstance(part, str) for part in value.values())
