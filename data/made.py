"""Where a made row is from: the teacher that wrote it, by which recipe, from which place of which document.

    {"messages": [...], "made": {"teacher": "local", "recipe": "question-answer", "version": "1", "prompt": "9f86d081...", ...}}

The column `made` is no part of what is trained. It is counted where rows are read, and the count goes wherever the rows go: the
report before a start, the metrics and fingerprint of a run, the card of an adapter or data set.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple, NotRequired, TypedDict

from common.language import Sentence, _, joined, n_

COLUMN = "made"
MAX_TEXT_CHARACTERS = 200  # of a text in an origin
MAX_KINDS = 100  # of origins that are told apart: a stranger's rows may each name a teacher of their own
MAX_NAMED = 3  # teachers in a sentence


class Origin(TypedDict):
    """How one row was made. `prompt` is the beginning of the SHA-256 of what the teacher was asked.

    `document` is the name of a document, whose characters from `start` to `end` the row was made from; "" where there was none.
    `time` is in seconds since 1970, `licence` what the person who made it stated of the teacher's output. `edited` is there
    where a person has changed the row since.
    """

    teacher: str
    recipe: str
    version: str
    prompt: str
    document: str
    start: int
    end: int
    time: float
    licence: str
    edited: NotRequired[bool]


class MadeBy(TypedDict):
    """How many of some rows one teacher made by one recipe, and how many of these a person changed."""

    teacher: str
    recipe: str
    version: str
    licence: str
    rows: int
    edited: int


class Maker(NamedTuple):
    """What rows are counted by."""

    teacher: str
    recipe: str
    version: str
    licence: str
    is_edited: bool


def maker_of(row: Mapping[str, object]) -> Maker | None:
    """Return who made a row; None where it does not say so. The row may be a stranger's."""
    origin = row.get(COLUMN)
    if not isinstance(origin, Mapping) or not isinstance(origin.get("teacher"), str):
        return None
    texts = (origin.get(name) for name in ("teacher", "recipe", "version", "licence"))
    teacher, *others = (" ".join(one[:MAX_TEXT_CHARACTERS].split()) if isinstance(one, str) else "" for one in texts)
    return Maker(teacher, *others, origin.get("edited") is True) if teacher else None


def count_made(makers: Counter[Maker], maker: Maker) -> None:
    """Add a row to `makers`, which never hold much more than `MAX_KINDS`: what is one too many counts as of a teacher "..."."""
    is_told = maker in makers or len(makers) < MAX_KINDS
    makers[maker if is_told else Maker("...", "", "", "", maker.is_edited)] += 1


def made_by(makers: Mapping[Maker, int]) -> list[MadeBy]:
    """Return the counts as JSON may have them, those of most rows first."""
    found: dict[tuple[str, ...], MadeBy] = {}
    for maker, rows in makers.items():
        known = MadeBy(
            teacher=maker.teacher, recipe=maker.recipe, version=maker.version, licence=maker.licence, rows=0, edited=0
        )
        one = found.setdefault(maker[:4], known)
        one["rows"] += rows
        one["edited"] += rows if maker.is_edited else 0
    return sorted(found.values(), key=lambda one: (-one["rows"], one["teacher"], one["recipe"]))


def teachers_of(made: Iterable[MadeBy]) -> dict[str, int]:
    """Return how many rows each teacher made, the one of most rows first."""
    rows: Counter[str] = Counter()
    for one in made:
        rows[one["teacher"]] += one["rows"]
    return dict(rows.most_common())


def describe_made(made: Iterable[MadeBy], rows: int) -> Sentence | None:
    """Say how many of `rows` were made, and by whom; None where none was."""
    made = [*made]
    teachers = teachers_of(made)
    if not teachers:
        return None
    named = joined([*teachers][:MAX_NAMED], ", ")
    more = len(teachers) - MAX_NAMED
    words = n_(
        "{made:,} of {count:,} row was made by {teachers}.",
        "{made:,} of {count:,} rows were made by {teachers}.",
        rows,
        made=sum(teachers.values()),
        teachers=_("{names} and {count} more", names=named, count=more) if more > 0 else named,
    )
    edited = sum(one["edited"] for one in made)
    return joined([words, _("A person changed {count:,} of them.", count=edited)]) if edited else words
