"""One value of a setting: converted to its field's type, and held against its field's limits. Knows no particular setting
but those whose text may have several lines.
"""

import json
import math
import unicodedata
from dataclasses import dataclass

from common.errors import UserError

LONG_TEXTS = ("sample_prompts", "columns", "base_reason")
MOST_NUMBER = 10**80
LONGEST_TEXT, LONGEST_LONG_TEXT = 1000, 20_000


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the field it belongs to, and a sentence."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def convert(name: str, kind: type, value: object):
    """`value` as the field's type: '2e-4' becomes a float, 'true' a bool. Raises UserError naming the field."""
    if value is not None and not isinstance(value, (str, int, float)):
        raise UserError(f"{name}: one value is wanted, not a {type(value).__name__}.")
    if isinstance(value, int) and abs(value) > MOST_NUMBER:  # Python refuses to print very long ones
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
    """The beginning of `value`, for a message."""
    if isinstance(value, int) and abs(value) > MOST_NUMBER:  # Python refuses to print very long ones
        return "a number of very many digits"
    return str(value)[:80]


def _text_problems(item, value: str) -> list[Problem]:
    """[] for a text that can be written into a file and shown."""
    longest = LONGEST_LONG_TEXT if item.name in LONG_TEXTS else LONGEST_TEXT
    if len(value) > longest:
        return [Problem(item.name, f"{len(value)} characters; {longest} are the most.")]
    allowed = "\n\r\t" if item.name in LONG_TEXTS else ""
    if any(unicodedata.category(letter) in ("Cc", "Cs") and letter not in allowed for letter in value):
        return [Problem(item.name, "has control characters in it.")]
    return []


def mapping_problems(columns: str) -> list[Problem]:
    """[] when `columns` is empty or a JSON object of text to text."""
    if not columns.strip():
        return []
    try:
        value = json.loads(columns)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict) and value and all(isinstance(part, str) for part in value.values()):
        return []
    return [Problem("columns", 'is no JSON object like {"prompt": "question", "completion": "answer"}.')]


def value_problems(item, value) -> list[Problem]:
    """What is wrong with the value of one field of the config: too long, none of its choices, out of its limits."""
    low, high, choices = (item.metadata[key] for key in ("low", "high", "choices"))
    if isinstance(value, str) and (wrong := _text_problems(item, value)):
        return wrong
    if choices and value not in choices:
        return [Problem(item.name, f"'{value}' is not one of {', '.join(choices)}.")]
    if isinstance(value, float) and not math.isfinite(value):
        return [Problem(item.name, f"{value} is not a number.")]
    if low is not None and value < low:
        return [Problem(item.name, f"{value} is too low; {low} is the least.")]
    if high is not None and value > high:
        return [Problem(item.name, f"{value} is too high; {high} is the most.")]
    return []
