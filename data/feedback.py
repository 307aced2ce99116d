"""From chat to data: answers that a person liked, corrected or picked become training rows in data sets that they own.

    STUDIO_HOME/datasets/<owner>/<name>.jsonl    {"messages": [...], "source": "liked" | "edited" | "picked", "key": ...}

The rows have the shape that training reads. One answer is one row: `key` tells them apart, so that liking an answer and then
correcting it leaves the correction only.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from common.errors import UserError
from common.files import append_json_line, read_json_lines, write_text
from common.language import _, n_
from common.paths import LOCAL_OWNER, contained, datasets_folder, slug
from models.messages import Message, check_messages

MAX_ROWS = 100_000
MAX_DATASETS = 50  # of one owner
MAX_BYTES = 100_000_000  # of all data sets of one owner
DEFAULT_NAME = "from-chat"

Row = dict[str, Any]  # messages, source, key


@dataclass(frozen=True)
class DataSet:
    """A data set of one owner: `path` is what TrainConfig.data takes."""

    path: Path

    @property
    def name(self) -> str:
        """Its name, without the ending of its file."""
        return self.path.stem

    @property
    def rows(self) -> int:
        """The number of rows, counted by their line ends: opening the page lists all data sets of an owner."""
        try:
            with open(self.path, "rb") as lines:
                return sum(1 for line in lines if line.endswith(b"\n") and line.strip())
        except OSError:  # gone in this moment
            return 0


def list_datasets(owner: str = LOCAL_OWNER) -> list[DataSet]:
    """Return the data sets of `owner`, by name."""
    return [DataSet(file) for file in sorted(datasets_folder(owner).glob("*.jsonl"))]


def find_dataset(name: str, owner: str = LOCAL_OWNER) -> DataSet:
    """Return the data set of `owner` with this name. Raises UserError when there is none."""
    path = _path(name, owner)
    if not path.is_file():
        hint = _("Like, correct or pick an answer in the chat first.")
        raise UserError(_("There is no dataset '{name}'.", name=name), hint)
    return DataSet(path)


def read_rows(name: str, owner: str = LOCAL_OWNER) -> list[Row]:
    """Return the rows of a data set, the oldest first. Raises UserError when there is none."""
    return read_json_lines(find_dataset(name, owner).path)


def keep_row(name: str, messages: Sequence[Message], source: str, key: str, owner: str = LOCAL_OWNER) -> DataSet:
    """Put a conversation that ends with a good answer into the data set; an older row with this key is replaced.

    Raises UserError for an empty answer, a bad name, and when the data set or the owner's room is full.
    """
    checked = check_messages(list(messages), continuing=True)
    if not checked[-1]["content"].strip():
        raise UserError(_("An empty answer teaches nothing."))
    path, row = _path(name, owner), {"messages": checked, "source": source, "key": key}
    with _locked(owner):
        rows = read_json_lines(path)
        others = [other for other in rows if other.get("key") != key]
        if len(others) >= MAX_ROWS:
            words = n_(
                "The dataset '{name}' has {count:,} row, the limit.",
                "The dataset '{name}' has {count:,} rows, the limit.",
                MAX_ROWS,
                name=path.stem,
            )
            raise UserError(words, _("Start another one."))
        files = list(datasets_folder(owner).glob("*.jsonl"))
        if path not in files and len(files) >= MAX_DATASETS:
            words = n_("You have {count} dataset, the limit.", "You have {count} datasets, the limit.", MAX_DATASETS)
            raise UserError(words, _("Use one of them."))
        size = sum(file.stat().st_size for file in files) + len(_lines([row]).encode("utf-8", "replace"))
        if size > MAX_BYTES:
            words = _("Your datasets take {size} MB together, the limit.", size=MAX_BYTES // 10**6)
            raise UserError(words, _("Remove some rows first."))
        if len(others) < len(rows):
            write_text(path, _lines([*others, row]))
        else:
            append_json_line(path, row)
    return DataSet(path)


def drop_row(name: str, key: str, owner: str = LOCAL_OWNER) -> None:
    """Take the row with this key out, if it is there."""
    path = _path(name, owner)
    if path.is_file():
        with _locked(owner):
            write_text(path, _lines(row for row in read_json_lines(path) if row.get("key") != key))


def drop_last_row(name: str, owner: str = LOCAL_OWNER) -> None:
    """Take the last row out, whether it has a key or not. Raises UserError when there is none."""
    path = find_dataset(name, owner).path
    with _locked(owner):
        rows = read_json_lines(path)
        if not rows:
            raise UserError(_("The dataset has no rows."))
        write_text(path, _lines(rows[:-1]))


def row_key(conversation: str, pane: int, place: int, before: Sequence[Message]) -> str:
    """Return a key that identifies an answer: its place, and a hash of the messages `before` it."""
    said = [[message["role"], message["content"]] for message in before]
    return hashlib.sha256(json.dumps([conversation, pane, place, said]).encode()).hexdigest()[:16]


def _locked(owner: str) -> FileLock:
    """Return the lock to hold while rows are read and written, so that two answers liked at once are two rows."""
    folder = datasets_folder(owner)
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".lock")


def _lines(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _path(name: str, owner: str) -> Path:
    return contained(datasets_folder(owner), f"{slug(str(name)[:200])}.jsonl")
