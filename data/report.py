"""The report of a check of the data: JSON for the page, the command line and the forecast, its sentences packed on the way.

Row numbers count from 1 in their file, as people do.
"""

from typing import Any, Literal, TypedDict

from common.language import Sentence
from common.made_by import MadeBy
from models.messages import Message

# a training would fail or mean nothing; be worse than it could; good to know
Level = Literal["stop", "warning", "info"]
MAX_BAD_ROWS = 10  # that are shown


class Cure(TypedDict):
    """The words of a button that cures a finding or a failure, and the fields of TrainConfig that it changes."""

    label: str
    changes: dict[str, Any]


class BadRow(TypedDict):
    """A row that cannot be used: where it stands ("Line 3"), why, and the beginning of what it holds."""

    where: str
    reason: str
    text: str


class Finding(TypedDict):
    """A sentence on something in the data. `code` names its kind; `cure` is the best way out, `other_cures` are others.

    `rows` are the first that it is about, where they cannot be used.
    """

    code: str
    level: Level
    message: str
    cure: Cure | None
    other_cures: list[Cure]
    rows: list[BadRow]


class FirstRows(TypedDict):
    """How many rows something holds for, and the first five of them: numbers, or (number, tokens).

    Of several data sets a number is text: '3 of b.jsonl'.
    """

    count: int
    rows: list


class BadRows(TypedDict):
    """How many rows cannot be used, and the first `MAX_BAD_ROWS` of them."""

    count: int
    rows: list[BadRow]


class Histogram(TypedDict):
    """How many rows have how many tokens: one edge more than counts; the longest row lies below the last edge."""

    edges: list[int]
    counts: list[int]


class PreviewRow(TypedDict):
    """A row, or a piece of one, exactly as the trainer gets it; `why_not` says why it does not get it.

    `ids`, `tokens` and `trained` have one entry a token; of a long row the report holds the first of `length`. A character of
    several tokens stands at the first of them, and "" at the others.
    """

    row: int | str
    messages: list[Message] | None
    text: str | None
    ids: list[int]
    tokens: list[str]
    trained: list[bool]
    length: int
    used: bool
    why_not: str


class TextReport(TypedDict):
    """The open text of stage 1, in rows of `max_length` tokens."""

    rows: int
    usable: int
    train_rows: int
    tokens: int
    bad: BadRows
    estimated_from: int | None
    scripts: list[Sentence]


class Report(TypedDict):
    """The whole report: tokens are of one pass over the rows to train on, lengths of all rows as they are.

    `mapping` says which column is what, None where columns are not recognised; `guess` is a proposal then. `sample` has the
    first rows as they were read, `sample_rows` their numbers. `estimated_from` is the number of rows that were tokenised where
    they are not all. `made` counts the rows to train on by who made them.
    """

    base: str
    base_reason: str
    columns: list[str]
    mapping: dict[str, str] | None
    guess: dict[str, str]
    sample: list[dict[str, str]]
    sample_rows: list[int | str]
    shape: str | None
    rows: int
    turns: int
    usable: int
    train_rows: int
    held_out_rows: int
    tokens: int
    trained_tokens: int
    estimated_from: int | None
    lengths: Histogram
    longest: int
    mean_length: float
    made: list[MadeBy]
    duplicates: FirstRows
    bad: BadRows
    empty_answers: FirstRows
    too_long: FirstRows
    nothing_trained: FirstRows
    shortened: int
    scripts: list[Sentence]
    text: TextReport | None
    findings: list[Finding]
    preview: list[PreviewRow]
