"""Who made rows: how many of them, which teacher by which recipe, under which licence, and how that is said.

The counts stand in the report before a start, in the metrics and the fingerprint of a run, and on the cards of adapters and data
sets. Where a single row is from says data/made.py.
"""

from collections import Counter
from collections.abc import Iterable
from typing import TypedDict

from common.language import Sentence, _, joined, n_

MAX_KINDS = 100  # that are told apart: a stranger's rows may each name a teacher of their own
MAX_TEXT_CHARACTERS = 200
MAX_NAMED = 3  # teachers in a sentence


class MadeBy(TypedDict):
    """How many of some rows one teacher made by one recipe, and how many of these a person changed since."""

    teacher: str
    recipe: str
    version: str
    licence: str  # of the teacher's output, as the person who asked it stated
    rows: int
    edited: int


def read_made_by(value: object) -> list[MadeBy]:
    """Return the counts in a file that may be a stranger's; [] for anything else."""
    found: list[MadeBy] = []
    for one in value[:MAX_KINDS] if isinstance(value, list) else []:
        if not isinstance(one, dict):
            continue
        teacher, recipe, version, licence = (
            one_line(one.get(name)) for name in ("teacher", "recipe", "version", "licence")
        )
        rows, edited = (one.get(name) for name in ("rows", "edited"))
        if teacher and type(rows) is int and type(edited) is int and 0 <= edited <= rows < 2**53:
            found.append(
                MadeBy(teacher=teacher, recipe=recipe, version=version, licence=licence, rows=rows, edited=edited)
            )
    return found


def one_line(text: object) -> str:
    """Return a text of an origin on one line, within bounds, without control characters; "" for what is no text."""
    said = text[:MAX_TEXT_CHARACTERS] if isinstance(text, str) else ""
    return " ".join("".join(one if one.isprintable() else " " for one in said).split())


def teachers_of(made: Iterable[MadeBy]) -> dict[str, int]:
    """Return how many rows each teacher made, the one of most rows first."""
    rows: Counter[str] = Counter()
    for one in made:
        rows[one["teacher"]] += one["rows"]
    return dict(rows.most_common())


def name_teachers(teachers: Iterable[str]) -> Sentence:
    """Return the names of the first teachers, and how many there are more."""
    names = [*teachers]
    named, more = joined(names[:MAX_NAMED], ", "), len(names) - MAX_NAMED
    return _("{names} and {count} more", names=named, count=more) if more > 0 else named


def describe_made(made: Iterable[MadeBy], rows: int) -> Sentence | None:
    """Say how many of `rows` were made, and by whom; None where none was."""
    made = [*made]
    teachers = teachers_of(made)
    if not teachers:
        return None
    words = n_(
        "{made:,} of {count:,} row was made by {teachers}.",
        "{made:,} of {count:,} rows were made by {teachers}.",
        rows,
        made=sum(teachers.values()),
        teachers=name_teachers(teachers),
    )
    edited = sum(one["edited"] for one in made)
    return joined([words, _("A person changed {count:,} of them.", count=edited)]) if edited else words
