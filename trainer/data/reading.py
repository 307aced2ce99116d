"""From a file, a pasted text or the id of a Hub data set to rows: plain dicts, one after the other. Knows no shapes, no tokens.

read_source("data.csv").rows               an iterator: of ten million rows a few are in memory
read_source("data.csv").notes              ["'data.csv' was read as cp949."]
read_rows("data.csv.gz", max_rows=100)     [{"question": ..., "answer": ...}, ...]
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from common.errors import UserError
from common.paths import REPOSITORY
from trainer.config import EXAMPLE
from trainer.data import hub_data
from trainer.data.decoding import detect_encoding, lines, whole_text
from trainer.data.tables import check_columns, csv_rows, parquet_rows

EXAMPLE_TRAIN = REPOSITORY / "examples" / "study_coach.jsonl"
EXAMPLE_HELD_OUT = REPOSITORY / "examples" / "study_coach_heldout.jsonl"
KINDS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt", ".md")
SUFFIXES = (*KINDS, *(f"{kind}.gz" for kind in KINDS))
MOST_ROWS = 20_000_000
MOST_ROWS_HELD = 1_000_000  # of `read_rows`, which holds them all
MOST_JSON_BYTES = 64 * 2**20  # a JSON file is parsed as a whole
MOST_NESTED = 10_000_000  # lists and objects in a JSON file: each takes far more memory than its two brackets
HEAD_ROWS = 1000  # rows that tell what the columns are
HEAD_CHARACTERS = 8 * 2**20
SECTION = 2000  # characters after which a text is cut at the next blank line


@dataclass
class Source:
    """The rows, to be read once; the first of them; and what a person should know about how they are read."""

    rows: Iterator[dict]
    head: list[dict]
    notes: list[str] = field(default_factory=list)


def read_rows(
    data: str, config: str | None = None, split: str = "train", revision: str | None = None, max_rows: int = 0
) -> list[dict]:
    """The rows of `data` as a list: 'example', a file, or a Hub data set id; the first `max_rows` (0: all). Raises UserError."""
    rows = list(islice(read_source(data, config, split, revision, max_rows).rows, MOST_ROWS_HELD + 1))
    if len(rows) > MOST_ROWS_HELD:
        raise UserError(f"'{data}' has more than {MOST_ROWS_HELD:,} rows.", "Set max_rows to read its first rows.")
    return rows


def read_source(
    data: str, config: str | None = None, split: str = "train", revision: str | None = None, max_rows: int = 0
) -> Source:
    """Like `read_rows`, row by row, with notes. Raises UserError when there are no rows; `rows` does for what comes later."""
    path = EXAMPLE_TRAIN if data == EXAMPLE else Path(data)
    if not (suffix_of(path) or _exists(path)):
        return source_of(_bounded(hub_data.rows(data, config, split, revision, max_rows), data, max_rows))
    suffix = suffix_of(path)
    if not suffix:
        raise UserError(
            f"'{path.name}' is not a kind of file that is read.", f"Use {', '.join(KINDS)}, or one with .gz."
        )
    if not path.is_file():
        raise UserError(f"There is no file '{path.name}'.")
    return _read_file(path, suffix, max_rows)


def source_of(rows: Iterable[dict], notes: list[str] | None = None) -> Source:
    """A source of these rows."""
    rows, head, size = iter(rows), [], 0
    for row in islice(rows, HEAD_ROWS):
        head.append(row)
        size += len(str(row))
        if size > HEAD_CHARACTERS:
            break
    return Source(chain(head, rows), head, notes or [])


def suffix_of(path: Path | str) -> str:
    """The kind of a file by its name, without .gz: '.csv' of 'a.csv.gz'; '' for a kind that is not read."""
    name = Path(path).name.lower()
    return next((kind for kind in KINDS if name.endswith((kind, f"{kind}.gz"))), "")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _read_file(path: Path, suffix: str, max_rows: int) -> Source:
    notes = []
    if suffix == ".parquet":
        found = parquet_rows(path)
    else:
        encoding = detect_encoding(path)
        if not encoding.startswith("utf"):
            notes.append(f"'{path.name}' is not UTF-8; it was read as {encoding}.")
        found = _text_rows(path, suffix, encoding)
    source = source_of(_bounded(found, path.name, max_rows), notes)
    if not source.head:
        raise UserError(f"'{path.name}' holds no rows.", "Give at least one row.")
    return source


def _text_rows(path: Path, suffix: str, encoding: str) -> Iterable[dict]:
    if suffix == ".jsonl":
        return _jsonl_rows(path, encoding)
    if suffix == ".json":
        return _json_rows(path, encoding)
    if suffix in (".csv", ".tsv"):
        return csv_rows(path, encoding, "\t" if suffix == ".tsv" else None)
    return ({"text": section} for section in sections(lines(path, encoding), suffix == ".md"))


def _bounded(found: Iterable[dict], name: str, max_rows: int) -> Iterator[dict]:
    """The first `max_rows` rows; all of them when that is 0, unless they are too many."""
    for number, row in enumerate(islice(found, max_rows or None), 1):
        check_columns(len(row), name)
        if number > MOST_ROWS:
            raise UserError(f"'{name}' has more than {MOST_ROWS:,} rows.", "Set max_rows to read its first rows.")
        yield row


def _jsonl_rows(path: Path, encoding: str) -> Iterator[dict]:
    for number, line in enumerate(lines(path, encoding), 1):
        if not line.isspace():
            row = parse(line, f"line {number} of '{path.name}'", "Write one JSON object a line.")
            if not isinstance(row, dict):
                raise UserError(
                    f"line {number} of '{path.name}' is a {type(row).__name__}, not an object.",
                    'Write {"prompt": ..., "completion": ...}.',
                )
            yield row


def _json_rows(path: Path, encoding: str) -> list[dict]:
    """A list of objects, alone or as the only list inside of one object; a single object is one row."""
    text = whole_text(path, encoding, MOST_JSON_BYTES)
    if not text.strip():
        return []
    if text.count("[") + text.count("{") > MOST_NESTED:
        raise UserError(
            f"'{path.name}' holds more than {MOST_NESTED:,} lists and objects.", "Set max_rows to read less."
        )
    value = parse(text, f"'{path.name}'", "Is it JSON lines? Call it .jsonl.")
    if isinstance(value, dict):
        lists = [part for part in value.values() if isinstance(part, list)]
        holds_rows = len(lists) == 1 and "messages" not in value and all(isinstance(row, dict) for row in lists[0])
        value = lists[0] if holds_rows else [value]
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise UserError(f"'{path.name}' is not a list of objects.", 'Write [{"prompt": ..., "completion": ...}, ...].')
    return value


def parse(text: str, where: str, hint: str) -> object:
    """The JSON value in `text`; half characters (lone surrogates) in it become U+FFFD. Raises UserError."""
    try:
        value = json.loads(text)
        if "\\ud" in text or "\\uD" in text:
            whole = json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            value = json.loads(whole)
    except RecursionError as error:
        raise UserError(f"{where} is nested too deeply.", hint) from error
    except ValueError as error:
        raise UserError(f"{where} is not JSON: {str(error)[:100]}.", hint) from error
    return value


def sections(text_lines: Iterable[str], is_markdown: bool) -> Iterator[str]:
    """A text in pieces that end at a blank line after about `SECTION` characters, in Markdown also before a heading."""
    held: list[str] = []
    size, in_code = 0, False
    for line in text_lines:
        in_code ^= line.lstrip().startswith("```")
        is_heading = is_markdown and not in_code and re.match(r"#{1,6} ", line)
        if held and (is_heading or (size >= SECTION and not line.strip())):
            yield from _section(held)
            held, size = [], 0
        held.append(line)
        size += len(line)
    yield from _section(held)


def _section(held: list[str]) -> Iterator[str]:
    text = "".join(held).replace("\r\n", "\n").strip("\n\ufeff")
    if text.strip():
        yield text


def paste_suffix(text: str) -> str:
    """The kind of file that a pasted text is: '.jsonl', '.json', '.csv', '.tsv' or '.txt'."""
    start = text.strip()
    first = start.split("\n", 1)[0]
    if first.startswith(("{", "[")):
        try:
            is_object = isinstance(json.loads(first), dict)
            return ".jsonl" if is_object else ".json"
        except (ValueError, RecursionError):
            return ".json"
    for delimiter, suffix in (("\t", ".tsv"), (",", ".csv"), (";", ".csv"), ("|", ".csv")):
        if _is_table(start, delimiter):
            return suffix
    return ".txt"


def _is_table(text: str, delimiter: str) -> bool:
    """True when the first records have two columns or more, all alike, and the first looks like names."""
    try:
        records = [values for values in islice(csv.reader(io.StringIO(text), delimiter=delimiter), 20) if values]
    except csv.Error:
        return False
    is_even = len(records) > 1 and len({len(values) for values in records}) == 1 and len(records[0]) > 1
    return is_even and all(0 < len(name.strip()) <= 40 for name in records[0])
