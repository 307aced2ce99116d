"""Rows that are multiple choice: a question, what there is to choose from, and which of it is right.

A training reads such a row only where it holds the right answer in words. Here the answer may be a letter or a number, too:

    {"question": ..., "choices": [...], "answer": 2}            also `options`, `endings`; also as {"text": [...], "label": [...]}
    {"question": ..., "A": ..., "B": ..., "answer": "B"}        also `option1`, `choice_a`, `sol1`, ...

Whether numbers count from 0 or from 1 is told by all rows together.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from common.errors import UserError
from common.language import _
from data.columns import CHOICES, NAMES
from data.conversations import Row
from models.messages import Message

ASKED = (*NAMES["prompt"], "question_stem", "stem", "ctx", "goal", "sentence", "premise", "문제")
LISTS = (*CHOICES, "보기", "선택지")
RIGHT = (
    *("answerkey", "answer_key", "correct_answer", "correct_option", "correct", "answer_index", "answer_idx", "gold"),
    *("answer", "label", "target", "cop", "정답", "답"),
)
# a column of one choice
OPTION = re.compile(r"([a-j])|(?:option|choice|op|ending|sol|alternative|answer)[_ -]?([a-j]|\d)")
LETTER = re.compile(r"\(?([A-Ja-j])\)?[.)]?")
MAX_CHOICES = 26


@dataclass(frozen=True)
class Choice:
    """A row of multiple choice: the place of the right choice by its words or its letter, or the number that was written."""

    messages: list[Message]
    choices: list[str]
    right: int | None
    number: int | None

    @property
    def characters(self) -> int:
        """The length of all that it says."""
        return sum(len(message["content"]) for message in self.messages) + sum(map(len, self.choices))

    def answer(self, first: int | None) -> str | None:
        """Return the right choice where numbers count from `first` (None: numbers are words); None where it is none of them."""
        place = self.right if first is None or self.number is None else self.number - first
        return self.choices[place] if place is not None and 0 <= place < len(self.choices) else None


def read_choice(row: Row) -> Choice | None:
    """Return a row of multiple choice; None for any other, and where the right choice is missing or is none of them."""
    columns = {str(name).strip().lower(): value for name, value in row.items()}
    found = _choices(columns)
    asked = next(
        (columns[name] for name in ASKED if isinstance(columns.get(name), str) and columns[name].strip()), None
    )
    if found is None or asked is None:
        return None
    labels, choices = found
    right = _right(columns, labels, choices)
    if right is None:
        return None
    context = next((columns[name] for name in NAMES["context"] if isinstance(columns.get(name), str)), "")
    prompt = asked if context.strip() in ("", asked.strip()) else f"{asked}\n\n{context}"
    system = next((columns[name] for name in NAMES["system"] if isinstance(columns.get(name), str)), "")
    messages = [Message(role="system", content=system)] if system.strip() else []
    return Choice([*messages, Message(role="user", content=prompt)], choices, *right)


def first_number(found: Iterable[Choice]) -> int | None:
    """Return whether the numbers of these rows count from 0 or from 1; None where all of them are choices in words.

    Raises UserError where they do not tell.
    """
    numbered = [choice for choice in found if choice.number is not None]
    if all(choice.right is not None for choice in numbered):
        return None
    has_zero = any(choice.number == 0 for choice in numbered)
    has_last = any(choice.number == len(choice.choices) for choice in numbered)
    if has_zero == has_last:
        words = _("It is unclear whether the right choices are numbered from 0 or from 1.")
        raise UserError(words, _("Write the right choice as a letter, or in its own words."))
    return int(has_last)


def _choices(columns: dict[str, Any]) -> tuple[list[str], list[str]] | None:
    """Return (labels, choices) of a row, labels in upper case; None where it has none."""
    value = next((columns[name] for name in LISTS if columns.get(name)), None)
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        labels, texts = value.get("label"), value["text"]
    elif isinstance(value, dict):
        labels, texts = list(value), list(value.values())
    elif isinstance(value, list) and all(isinstance(one, dict) and {"label", "text"} <= set(one) for one in value):
        labels, texts = [one["label"] for one in value], [one["text"] for one in value]
    elif isinstance(value, list):
        labels, texts = None, value
    else:
        options = [(match, columns[name]) for name in columns if (match := OPTION.fullmatch(name))]
        options = [(match, text) for match, text in options if isinstance(text, str) and text.strip()]
        labels, texts = [match[1] or match[2] for match, _ in options], [text for _, text in options]
        labels = None if any(label.isdigit() for label in labels) else labels
    choices = [str(text).strip() for text in texts if isinstance(text, str | int | float)]
    if not (len(choices) == len(texts) and 2 <= len(choices) <= MAX_CHOICES and len(set(choices)) == len(choices)):
        return None
    if not (isinstance(labels, list) and len(labels) == len(choices)):
        labels = [chr(ord("A") + place) for place in range(len(choices))]
    return [str(label).strip().upper() for label in labels], choices


def _right(columns: dict[str, Any], labels: list[str], choices: list[str]) -> tuple[int | None, int | None] | None:
    """Return (the place of the right choice by its words or label, the number it is written as); None where none is named."""
    for name in RIGHT:
        value = columns.get(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            continue
        text = str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()
        letter = LETTER.fullmatch(text)
        label = letter[1].upper() if letter else text.upper()
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 3 and label not in labels else None
        named = choices if text in choices else labels if label in labels else []
        place = named.index(text if named is choices else label) if named else None
        if place is not None or (number is not None and number <= len(choices)):
            return place, number
    return None
