"""From chat to data: answers that a person liked, corrected or picked become training rows in data sets that they own.

    STUDIO_HOME/datasets/<owner>/<name>.jsonl    {"messages": [...], "source": "liked" | "edited" | "picked", "key": ...}

The rows have the shape that training reads. One answer is one row: `key` tells them apart, so that liking an answer and then
correcting it leaves the correction only.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

from filelock import FileLock

from chat.history import check_messages
from common.errors import UserError
from common.files import append_json_line, read_json_lines, write_text
from common.paths import LOCAL_OWNER, contained, datasets_folder, slug
from models.templates import Message

MAX_ROWS = 100_000
MAX_DATASETS = 50  # of one owner
MAX_DATASETS_BYTES = 100_000_000  # of all data sets of one owner
DEFAULT_NAME = "from-chat"


class Row(TypedDict, total=False):
    """A row as training reads it; one that was written by hand may have neither `source` nor `key`."""

    messages: list[Message]
    source: str
    key: str


@dataclass(frozen=True)
class DataSet:
    """A data set of one owner: `path` is what TrainConfig.data takes."""

    path: Path
    rows: int

    @property
    def name(self) -> str:
        return self.path.stem


def list_datasets(owner: str = LOCAL_OWNER) -> list[DataSet]:
    """Return the data sets of `owner`, by name."""
    folder = datasets_folder(owner)
    files = sorted(folder.glob("*.jsonl")) if folder.is_dir() else []
    return [DataSet(file, _line_count(file)) for file in files]


def _line_count(file: Path) -> int:
    """Count the rows without parsing them: all data sets of an owner are listed when the page is opened."""
    try:
        with open(file, "rb") as lines:
            return sum(1 for line in lines if line.endswith(b"\n") and line.strip())
    except OSError:  # gone in this moment
        return 0


def find_dataset(name: str, owner: str = LOCAL_OWNER) -> DataSet:
    """Return the data set of `owner` with this name. Raises UserError when there is none."""
    path = _path(name, owner)
    if not path.is_file():
        raise UserError(f"There is no data set '{name}'.", "Like, correct or pick an answer in the chat first.")
    return DataSet(path, len(_rows(path)))


def read_rows(name: str, owner: str = LOCAL_OWNER) -> list[Row]:
    """Return the rows of a data set, the oldest first. Raises UserError when there is none."""
    return _rows(find_dataset(name, owner).path)


def keep_row(name: str, messages: Sequence[Message], source: str, key: str, owner: str = LOCAL_OWNER) -> DataSet:
    """Put a conversation that ends with a good answer into the data set; an older row with this key is replaced.

    Raises UserError for an empty answer, a bad name, and when the data set or the owner's room is full.
    """
    checked = check_messages(messages, continuing=True)
    if not checked[-1]["content"].strip():
        raise UserError("An empty answer teaches nothing.")
    path, row = _path(name, owner), Row(messages=checked, source=source, key=key)
    with _locked(owner):
        rows = _rows(path)
        others = [other for other in rows if other.get("key") != key]
        if len(others) >= MAX_ROWS:
            raise UserError(f"The data set '{path.stem}' has {MAX_ROWS:,} rows.", "Begin another one.")
        _check_room(path, row, owner)
        if len(others) < len(rows):
            _write_rows(path, [*others, row])
        else:
            append_json_line(path, dict(row))
    return DataSet(path, len(others) + 1)


def drop_row(name: str, key: str, owner: str = LOCAL_OWNER) -> None:
    """Take the row with this key out, if it is there."""
    path = _path(name, owner)
    if not path.is_file():
        return
    with _locked(owner):
        rows = _rows(path)
        kept = [row for row in rows if row.get("key") != key]
        if len(kept) < len(rows):
            _write_rows(path, kept)


def drop_last_row(name: str, owner: str = LOCAL_OWNER) -> None:
    """Take the last row out, whether it has a key or not. Raises UserError when there is none."""
    path = find_dataset(name, owner).path
    with _locked(owner):
        rows = _rows(path)
        if not rows:
            raise UserError("The data set has no rows.")
        _write_rows(path, rows[:-1])


def row_key(conversation: str, pane: int, place: int, before: Sequence[Message]) -> str:
    """Return what tells one answer from any other: where it stands, and the messages `before` it."""
    said = [[message["role"], message["content"]] for message in before]
    return hashlib.sha256(json.dumps([conversation, pane, place, said]).encode()).hexdigest()[:16]


def _locked(owner: str) -> FileLock:
    """Held while rows are read and written: two answers liked at once are two rows."""
    folder = datasets_folder(owner)
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".lock")


def _check_room(path: Path, row: Row, owner: str) -> None:
    """Raise UserError when the owner has no room for one more row, or one more data set."""
    files = list(datasets_folder(owner).glob("*.jsonl"))
    if path not in files and len(files) >= MAX_DATASETS:
        raise UserError(f"You have {MAX_DATASETS} data sets.", "Use one of them.")
    line = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace")
    size = sum(file.stat().st_size for file in files) + len(line)
    if size > MAX_DATASETS_BYTES:
        raise UserError(f"Your data sets have {MAX_DATASETS_BYTES / 1e6:.0f} MB together.", "Take rows out first.")


def _rows(path: Path) -> list[Row]:
    return cast(list[Row], read_json_lines(path))


def _write_rows(path: Path, rows: Sequence[Row]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _path(name: str, owner: str) -> Path:
    return contained(datasets_folder(owner), f"{slug(str(name)[:200])}.jsonl")
