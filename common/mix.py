"""The data of a run as one line of text: a data set, or several with their shares.

data_sets("a.jsonl:0.7, owner/name@main:0.3")   [DataShare("a.jsonl", 0.7), DataShare("owner/name", 0.3, "main")]
as_text(data_sets)                              the same line
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from common.errors import UserError
from common.files import is_file
from common.language import _

MAX_DATA_SETS = 20
MAX_CHARACTERS = 20_000  # of a line: each comma is looked at again with all that is before it
_SHARE = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+) *%?")
_PINNED = re.compile(r"([\w.-]+/[\w.-]+)@(?!.*\.[A-Za-z]\w{1,7}$)([\w./-]+)")  # `me/x@2.csv` is a file
# what can stand before a comma that is not one of a file's name: the ending of a file, or an id
_WHOLE = re.compile(r"example|.*\.[A-Za-z]\w{1,7}|[\w.-]+/[\w.-]+(?:@[\w./-]+)?", re.DOTALL)


@dataclass(frozen=True)
class DataShare:
    """Where rows come from: 'example', a file, or a Hub data set at a revision; and its share of a run's rows."""

    place: str
    share: float | None = None
    revision: str | None = None


def data_sets(text: str) -> list[DataShare]:
    """Return the data sets that a line names, in their order; `mix_problem` says what is wrong with them.

    What is a file is one data set, whatever its name.
    """
    return [DataShare(text)] if is_file(text) else split_line(text)


def split_line(text: str) -> list[DataShare]:
    """Return the data sets that a line names, whether or not such files are there; a line that is too long is one name.

    A comma or a colon inside of a file's name does not end it: `C:\\x.csv`, `Data, final.csv`.
    """
    if len(text) > MAX_CHARACTERS:
        return [DataShare(text)]
    found, held = [], ""
    for piece in text.split(","):
        held = f"{held},{piece}".lstrip(" ,\t\n")
        place, _, share = held.rstrip().rpartition(":")
        if place.strip() and _SHARE.fullmatch(share.strip()):
            found.append(_data_set(place, float(share.strip().rstrip("% "))))
        elif _WHOLE.fullmatch(held.rstrip()):
            found.append(_data_set(held))
        else:
            continue
        held = ""
    return [*found, _data_set(held)] if held.strip() else found


def _data_set(place: str, share: float | None = None) -> DataShare:
    place = place.strip()
    pinned = _PINNED.fullmatch(place)
    return DataShare(pinned[1], share, pinned[2]) if pinned else DataShare(place, share)


def as_text(sets: Iterable[DataShare]) -> str:
    """Return the line that names these data sets. Raises UserError for one that would be read as others than were checked."""
    sets, lines = list(sets), []
    for one in sets:
        revision = f"@{one.revision}" if one.revision else ""
        lines.append(f"{one.place}{revision}" + ("" if one.share is None else f":{one.share:.12g}"))
    line = ", ".join(lines)
    if [one.place for one in data_sets(line)] != [one.place for one in sets]:
        raise UserError(
            _("A file with this name cannot be listed with others: {line}", line=line[:200]),
            _("Rename it, without a comma, a colon or an @ in its name."),
        )
    return line


def with_whole_paths(line: str) -> str:
    """Return the line with whole paths in the place of files' names, for a process that works in another folder."""
    return as_text(
        replace(one, place=str(Path(one.place).resolve())) if is_file(one.place) else one for one in data_sets(line)
    )


def line_of(value: object) -> object:
    """Return the line for data sets in a list or a table, as YAML has them: ["a.jsonl", {"b.jsonl": 0.3}].

    Any other value stays as it is.
    """
    pairs = []
    for one in value if isinstance(value, list) else [value]:
        pairs += one.items() if isinstance(one, dict) else [(one, None)]
    if not isinstance(value, list | dict) or not all(
        isinstance(place, str) and isinstance(share, str | int | float | None) for place, share in pairs
    ):
        return value
    return ", ".join(place if share is None else f"{place}:{share}" for place, share in pairs)


def mix_problem(sets: list[DataShare]) -> str:
    """Say what is wrong with these data sets as a mix; "" for nothing."""
    places, shares = [one.place for one in sets], [one.share for one in sets if one.share is not None]
    if not sets:
        return _("choose the data to train on.")
    if len(sets) > MAX_DATA_SETS:
        return _("{count} datasets; at most {most} can be mixed.", count=len(sets), most=MAX_DATA_SETS)
    twice = next((place for place in places if places.count(place) > 1), None)
    if any(letter in place for place in places for letter in "\n\r\t"):
        return _("a name spans several lines.")
    if twice is not None:
        return _("'{name}' is listed twice.", name=twice[-80:])
    if shares and len(sets) == 1:
        return _("a share divides the rows between several datasets; to use part of a single one, set max_rows.")
    if shares and len(shares) < len(sets):
        return _("give every dataset a share, as in a.jsonl:0.7, b.jsonl:0.3, or none at all.")
    if not all(share > 0 and isfinite(share) for share in shares):
        return _("a share must be a number above 0.")
    return ""
