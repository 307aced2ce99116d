"""From chat to data: what people say of answers becomes rows in data sets that they own.

    STUDIO_HOME/datasets/<owner>/<name>.jsonl    a row a line
    STUDIO_HOME/datasets/<owner>/<name>.undo     the last changes of it, a line each

    {"messages": [...], "source": "liked", "key": ...}                        a good answer ends it
    {"messages": [...], "source": "disliked", "label": false, "key": ...}     a bad one
    {"messages": [...], "source": "edited", "rejected": ["..."], "key": ...}  a pair: a good one, and what it was better than

Training reads them as they are: it takes the good answers, those of pairs too, and leaves the bad ones out. One answer is one
row: `key` tells them apart, so that liking an answer and then correcting it leaves the correction only.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from common.errors import UserError
from common.files import JSON_ERRORS, append_json_line, parse_json, read_json_lines, write_text
from common.language import Sentence, _, joined, n_
from common.paths import LOCAL_OWNER, contained, datasets_folder, slug
from data.columns import is_labelled_false
from models.messages import Message, check_messages

MAX_ROWS = 100_000
MAX_DATASETS = 50  # of one owner
MAX_BYTES = 100_000_000  # of all data sets of one owner
MAX_REJECTED = 20  # answers of one row, the last ones
MAX_UNDO = 20  # changes of a data set that can be taken back, fewer large ones
MAX_UNDO_BYTES = 2_000_000
DEFAULT_NAME = "from-chat"
SOURCES = LIKED, DISLIKED, EDITED, PICKED, MADE = "liked", "disliked", "edited", "picked", "made"  # of rows

Row = dict[str, Any]  # messages, source, key; of some label or rejected
Change = tuple[Row | None, Row | None]  # a row before a change and after it, None where there is none


@dataclass(frozen=True)
class Counts:
    """Rows with a good answer, with a bad one, and with both."""

    good: int
    bad: int
    pairs: int

    @property
    def words(self) -> Sentence:
        """Say them: '12 good, 3 bad, 1 pair'."""
        is_shown = self.good or not (self.bad or self.pairs)
        parts = [_("{count:,} good", count=self.good)] if is_shown else []
        parts += [_("{count:,} bad", count=self.bad)] if self.bad else []
        parts += [n_("{count:,} pair", "{count:,} pairs", self.pairs)] if self.pairs else []
        return joined(parts, ", ")


@dataclass(frozen=True)
class RowsFile:
    """A data set of one owner: `path` is what TrainConfig.data takes."""

    path: Path

    @property
    def name(self) -> str:
        """Its name, without the ending of its file."""
        return self.path.stem

    @property
    def rows(self) -> int:
        """The number of rows."""
        counts = self.counts
        return counts.good + counts.bad + counts.pairs

    @property
    def counts(self) -> Counts:
        """The number of rows of each kind, by their lines: opening the page counts all data sets of an owner."""
        found = Counter[str]()
        try:
            with open(self.path, "rb") as lines:
                for line in lines:
                    if line.endswith(b"\n") and line.strip():
                        found[_kind_of(line)] += 1
        except OSError:  # gone in this moment
            return Counts(0, 0, 0)
        return Counts(found["good"], found["bad"], found["pair"])


def list_datasets(owner: str = LOCAL_OWNER) -> list[RowsFile]:
    """Return the data sets of `owner`, by name."""
    return [RowsFile(file) for file in sorted(datasets_folder(owner).glob("*.jsonl"))]


def find_dataset(name: str, owner: str = LOCAL_OWNER) -> RowsFile:
    """Return the data set of `owner` with this name. Raises UserError when there is none."""
    path = _path(name, owner)
    if not path.is_file():
        hint = _("Like, correct or pick an answer in the chat first.")
        raise UserError(_("There is no dataset '{name}'.", name=name), hint)
    return RowsFile(path)


def read_rows(name: str, owner: str = LOCAL_OWNER) -> list[Row]:
    """Return the rows of a data set, the oldest first. Raises UserError when there is none."""
    return read_json_lines(find_dataset(name, owner).path)


def find_row(name: str, key: str, owner: str = LOCAL_OWNER) -> Row | None:
    """Return the row with this key, None when there is none."""
    return next((row for row in read_json_lines(_path(name, owner)) if row.get("key") == key), None)


def keep_row(
    name: str,
    messages: Sequence[Message],
    source: str,
    key: str,
    owner: str = LOCAL_OWNER,
    rejected: Iterable[str] = (),
    without: Collection[str] = (),
) -> RowsFile:
    """Put a conversation that ends with a rated answer into the data set; an older row with this key is replaced.

    `rejected` are answers that it was preferred to; rows with the keys `without` go out in the same step. Raises UserError for an
    empty answer, a bad name, and when the data set or the owner's room is full.
    """
    checked = check_messages(list(messages), continuing=True)
    answer = checked[-1]["content"]
    if not answer.strip():
        raise UserError(_("An empty answer teaches nothing."))
    row: Row = {"messages": checked, "source": source, "key": key}
    worse = [text for text in dict.fromkeys(rejected) if text.strip() and text != answer]
    for text in worse:
        check_messages([*checked[:-1], {"role": "assistant", "content": text}], continuing=True)
    if source == DISLIKED:
        row["label"] = False
    elif worse:
        row["rejected"] = worse[-MAX_REJECTED:]
    return change_rows(name, {**dict.fromkeys(without), key: row}, owner)


def drop_row(name: str, key: str, owner: str = LOCAL_OWNER) -> RowsFile:
    """Take the row with this key out, if it is there."""
    return change_rows(name, {key: None}, owner)


def change_rows(name: str, changed: Mapping[str, Row | None], owner: str = LOCAL_OWNER) -> RowsFile:
    """Put rows into the data set by their keys, in the places of older ones; None takes one out. `undo` takes it all back.

    Raises UserError for a bad name, and when the data set or the owner's room is full; nothing is changed then.
    """
    path = _path(name, owner)
    with _locked(owner):
        others, before = _apart(read_json_lines(path), changed)
        new = [row for row in changed.values() if row]
        if new:
            _check_room(path, owner, len(others), new)
        if before:
            write_text(path, _lines([*others, *new]))
        for row in new if not before else ():
            append_json_line(path, row)
        if before or new:
            _note(path, [{"key": key, "before": before.get(key)} for key in changed])
    return RowsFile(path)


def drop_last_row(name: str, owner: str = LOCAL_OWNER) -> None:
    """Take the last row out, whether it has a key or not. Raises UserError when there is none."""
    path = find_dataset(name, owner).path
    with _locked(owner):
        rows = read_json_lines(path)
        if not rows:
            raise UserError(_("The dataset has no rows."))
        write_text(path, _lines(rows[:-1]))
        _note(path, [{"key": str(rows[-1].get("key", "")), "before": rows[-1]}])


def undo(name: str, owner: str = LOCAL_OWNER) -> dict[str, Change]:
    """Take the last change of the data set back; return what that changed, by the rows' keys.

    Raises UserError when there is nothing to take back, and when the rows do not fit any more.
    """
    path = find_dataset(name, owner).path
    with _locked(owner):
        noted = read_json_lines(_undo_path(path))
        if not noted:
            raise UserError(_("There is nothing to undo."))
        last: dict[str, Row | None] = {one["key"]: one["before"] for one in noted[-1]["rows"]}
        others, undone = _apart(read_json_lines(path), last)
        back = [row for row in last.values() if row]
        if back:
            _check_room(path, owner, len(others), back, freed=_undo_path(path).stat().st_size)
        write_text(path, _lines([*others, *back]))
        write_text(_undo_path(path), _lines(noted[:-1]))
    return {key: (undone.get(key), row) for key, row in last.items()}


def row_key(conversation: str, pane: int, place: int, before: Sequence[Message], tries: int = 0) -> str:
    """Return a key that identifies an answer: its place, a hash of the messages `before` it, and how often it was retried."""
    said = [[message["role"], message["content"]] for message in before]
    named = [conversation, pane, place, said, *([tries] if tries else [])]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()[:16]


def _kind_of(line: bytes) -> str:
    """Return what the row in this line is: "good", "bad" or "pair"."""
    if b'"label"' not in line and b'"rejected"' not in line:  # in a text the quotes would be escaped
        return "good"
    try:
        row = parse_json(line)
    except JSON_ERRORS:
        return "good"
    if not isinstance(row, dict):
        return "good"
    return "bad" if is_labelled_false(row.get("label")) else "pair" if row.get("rejected") else "good"


def _apart(rows: list[Row], keys: Collection[str]) -> tuple[list[Row], dict[str, Row]]:
    """Return (the rows with other keys or none, those with these keys by key)."""
    named = {row["key"]: row for row in rows if isinstance(row.get("key"), str) and row["key"] in keys}
    return [row for row in rows if not isinstance(row.get("key"), str) or row["key"] not in named], named


def _check_room(path: Path, owner: str, others: int, new: list[Row], freed: int = 0) -> None:
    """Raise UserError when `new` rows beside `others` are too many for a data set, or too large for its owner's room.

    What can be taken back takes room, too, less the `freed` bytes of it.
    """
    if others + len(new) > MAX_ROWS:
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
    taken = sum(file.stat().st_size for file in [*files, *datasets_folder(owner).glob("*.undo")]) - freed
    size = taken + len(_lines(new).encode("utf-8", "replace"))
    if size > MAX_BYTES:
        words = _("Your datasets take {size} MB together, the limit.", size=MAX_BYTES // 10**6)
        raise UserError(words, _("Remove some rows first."))


def _note(path: Path, rows: list[dict[str, Any]]) -> None:
    """Note a change for `undo`: the changed keys, each with the row before. The oldest changes make room for it."""
    noted = [*read_json_lines(_undo_path(path)), {"rows": rows}][-MAX_UNDO:]
    sizes = [len(json.dumps(one)) for one in noted]
    first = next((place for place in range(len(noted)) if sum(sizes[place:]) <= MAX_UNDO_BYTES), len(noted) - 1)
    write_text(_undo_path(path), _lines(noted[first:]))


def _undo_path(path: Path) -> Path:
    return path.with_suffix(".undo")


def _locked(owner: str) -> FileLock:
    """Return the lock to hold while rows are read and written, so that two answers liked at once are two rows."""
    folder = datasets_folder(owner)
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".lock")


def _lines(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _path(name: str, owner: str) -> Path:
    return contained(datasets_folder(owner), f"{slug(str(name)[:200])}.jsonl")
