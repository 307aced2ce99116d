"""One field of TrainConfig: what it means to the rest of the app, its value's type, and its limits."""

import json
import math
import unicodedata
from dataclasses import Field, dataclass, field
from enum import Enum
from typing import Any

from common.errors import UserError

MAX_NUMBER = 10**80  # Python refuses to print much longer ones
MAX_TEXT_CHARACTERS, MAX_LONG_TEXT_CHARACTERS = 1000, 20_000
WORDS = {"lora": "LoRA", "rslora": "RS-LoRA", "dora": "DoRA", "neftune": "NEFTune", "lr": "LR", "r": "rank", "ip": "IP"}
WORDS |= {"ddp": "DDP"}
LABELS = {
    "header": "Header row",
    "too_long": "Rows that are too long",
    "markup": "Chat markup",
    "eval_fraction": "Held-out fraction",
    "eval_split": "Held-out split",
    "keep": "Keep which step",
    "lora_plus_ratio": "LoRA+ ratio",
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
    """Make a field with its line of help, its group, what it means to others, and its limits (both ends included)."""
    meaning = {"help": text, "group": group, "marks": marks, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=meaning)


def label_of(name: str) -> str:
    """Return a setting's name as people read it: 'LoRA rank' for lora_r."""
    if name in LABELS:
        return LABELS[name]
    words = [WORDS.get(word, word) for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the field it belongs to, and a sentence."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def convert(name: str, kind: Any, value: object) -> Any:
    """Return `value` as the field's type: '2e-4' becomes a float, 'true' a bool. Raises UserError naming the field."""
    if value is not None and not isinstance(value, (str, int, float)):
        raise UserError(f"{name}: it takes text, a number, or true or false.")
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        raise UserError(f"{name}: {short(value)} is too large.")
    if kind == str | None:
        return None if value in (None, "") else str(value)
    if kind is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "yes", "on", "1", "false", "no", "off", "0"):
            return str(value).lower() in ("true", "yes", "on", "1")
        raise UserError(f"{name}: '{short(value)}' is neither true nor false.")
    if kind is str:
        # YAML reads a bare `on` or `off` as a bool
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
    try:
        number = float(value if isinstance(value, int | float) and not isinstance(value, bool) else str(value))
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"{name}: '{short(value)}' is not a number.") from error
    if kind is int and (not math.isfinite(number) or number != int(number)):
        raise UserError(f"{name}: '{short(value)}' is not a whole number.")
    return kind(number)


def short(value: object) -> str:
    """Return the beginning of `value`, for a message."""
    if isinstance(value, int) and abs(value) > MAX_NUMBER:
        return "a number of very many digits"
    return str(value)[:80]


def value_problem(item: Field, value: Any) -> str:
    """Say what is wrong with the value of one field: too long, none of its choices, out of its limits; "" for nothing."""
    low, high, choices = (item.metadata[key] for key in ("low", "high", "choices"))
    if isinstance(value, str):
        is_long = Mark.LONG in item.metadata["marks"]
        longest, allowed = (MAX_LONG_TEXT_CHARACTERS, "\n\r\t") if is_long else (MAX_TEXT_CHARACTERS, "")
        if len(value) > longest:
            return f"{len(value)} characters; {longest} are the most."
        if any(unicodedata.category(letter) in ("Cc", "Cs") and letter not in allowed for letter in value):
            return "has control characters in it."
    if choices and value not in choices:
        return f"'{value}' is not one of {', '.join(choices)}."
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a number."
    if low is not None and value < low:
        return f"{value} is too low; {low} is the least."
    if high is not None and value > high:
        return f"{value} is too high; {high} is the most."
    return ""


def is_mapping(columns: str) -> bool:
    """Return whether `columns` is empty or a JSON object of text to text."""
    try:
        value = json.loads(columns) if columns.strip() else {"": ""}
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and bool(value) and all(isinstance(part, str) for part in value.values())
