"""Where a made row is from: the teacher that wrote it, by which recipe, from which place of which document.

    {"messages": [...], "made": {"teacher": "local", "recipe": "question-answer", "version": "1", "prompt": "9f86d081...", ...}}

The column `made` is no part of what is trained: it stays beside the conversation, and is counted where rows are trained, held out
or asked (see common/made_by.py).
"""

from collections.abc import Iterable, Mapping
from typing import NotRequired, TypedDict

from common.made_by import MAX_KINDS, MadeBy, one_line

COLUMN = "made"
OTHERS = "..."  # the teacher of rows beyond MAX_KINDS


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


def origin_of(row: Mapping[str, object]) -> Origin | None:
    """Return where a row is from, within bounds; None where it does not say so. The row may be a stranger's."""
    value = row.get(COLUMN)
    found = value if isinstance(value, Mapping) else {}
    if not one_line(found.get("teacher")):
        return None
    start, end, time = (found.get(name) for name in ("start", "end", "time"))
    origin = Origin(
        teacher=one_line(found["teacher"]),
        recipe=one_line(found.get("recipe")),
        version=one_line(found.get("version")),
        prompt=one_line(found.get("prompt")),
        document=one_line(found.get("document")),
        start=start if isinstance(start, int) and 0 <= start < 2**53 else 0,
        end=end if isinstance(end, int) and 0 <= end < 2**53 else 0,
        time=float(time) if isinstance(time, int | float) and 0 <= time < 1e11 else 0.0,
        licence=one_line(found.get("licence")),
    )
    return Origin(**origin, edited=True) if found.get("edited") is True else origin


def made_by(origins: Iterable[Origin | None]) -> list[MadeBy]:
    """Count rows by who made them, those of most rows first; None is a row that nobody made."""
    found: dict[tuple[str, ...], MadeBy] = {}
    for origin in origins:
        if origin is None:
            continue
        by = (origin["teacher"], origin["recipe"], origin["version"], origin["licence"])
        if by not in found:
            by = by if len(found) < MAX_KINDS - 1 else (OTHERS, "", "", "")
            teacher, recipe, version, licence = by
            found.setdefault(
                by, MadeBy(teacher=teacher, recipe=recipe, version=version, licence=licence, rows=0, edited=0)
            )
        found[by]["rows"] += 1
        found[by]["edited"] += origin.get("edited", False)
    return sorted(found.values(), key=lambda one: -one["rows"])
