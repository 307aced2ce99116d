"""The parts of one file or data set: rows to train on, and rows that are held out."""

from collections.abc import Iterable
from typing import Any

from data.conversations import Row
from data.turns import WHAT, WHO, role_of

TRAIN = ("train", "training")
MAX_NAME = 40
HELD_OUT = ("validation", "valid", "val", "dev", "eval", "evaluation", "test", "testing")  # the first that is there


def parts_of(value: Row) -> dict[str, Any]:
    """Return the parts of {"train": [...], "validation": [...]}, each rows or columns; {} for an object of another kind."""
    found = {name: part for name, part in value.items() if name[:MAX_NAME].strip().lower() in (*TRAIN, *HELD_OUT)}
    are_rows = all(isinstance(part, dict | list) for part in found.values()) and all(
        row_of(row) is not None for part in found.values() if isinstance(part, list) for row in part
    )
    return found if len(found) > 1 and are_rows and any(found.values()) else {}


def row_of(value: object) -> Row | None:
    """Return an object as it is, and a list of objects as the turns of one row; None for anything else."""
    if isinstance(value, list) and value and all(isinstance(turn, dict) for turn in value):
        return {"messages": value}
    return value if isinstance(value, dict) else None


def split_among(names: Iterable[str], split: str) -> str | None:
    """Return the name that is meant by `split`, whatever its case; None when it is not there."""
    meant = TRAIN if split.lower() in TRAIN else (split.lower(),)
    return next((name for wanted in meant for name in names if name.strip().lower() == wanted), None)


def held_out_among(names: Iterable[str]) -> str | None:
    """Return the name of the part that is usually held out; None when there is none."""
    names = list(names)
    return next((name for usual in HELD_OUT for name in names if name.strip().lower() == usual), None)


def is_one_talk(value: object) -> bool:
    """Return True for a list of turns that hold nothing else: ids, say, which would make each a row of a tree."""
    turns = value if isinstance(value, list) else []
    return bool(turns) and all(role_of(turn) and set(turn) <= {*WHO, *WHAT} for turn in turns)
