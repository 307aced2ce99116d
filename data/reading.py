"""From a file, a pasted text or the id of a Hub data set to rows: plain dicts, one after the other.

read_source("data.csv").rows               an iterator: of ten million rows a few are in memory
read_source("data.csv").notes              ["'data.csv' was read as cp949."]
read_rows("data.csv.gz", max_rows=100)     [{"question": ..., "answer": ...}, ...]

A new kind of file is an ending in `kinds.KINDS`, a function that yields its rows, and a line in `_rows_of`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from common.errors import UserError
from common.files import parse_json
from common.paths import REPOSITORY
from data import hub_data
from data.columns import rows_of_object
from data.conversations import BadLine, Row
from data.decoding import detect_encoding, lines, whole_bytes
from data.kinds import KINDS, suffix_of
from data.settings import EXAMPLE
from data.tables import check_columns, csv_rows, parquet_rows

EXAMPLE_TRAIN = REPOSITORY / "examples" / "study_coach.jsonl"
EXAMPLE_HELD_OUT = REPOSITORY / "examples" / "study_coach_heldout.jsonl"
MAX_ROWS = 20_000_000
MAX_ROWS_HELD = 1_000_000  # of `read_rows`, which holds them all
MAX_JSON_BYTES = 64 * 2**20  # a JSON file is parsed as a whole
MAX_JSON_PARTS = 10_000_000  # lists and objects in a JSON file: each takes far more memory than its two brackets
MAX_HEAD_ROWS = 1000  # rows that tell what the columns are
MAX_HEAD_CHARACTERS = 8 * 2**20
SECTION_CHARACTERS = 2000  # after which a text is cut at the next blank line
FIRST_ROWS_ONLY = "Set max_rows to read its first rows."
ONE_A_LINE = "Write one JSON object a line."
JSON_LINES = "Write JSON lines (.jsonl) instead."


@dataclass
class Source:
    """The rows, to be read once; the first of them; and notes on how they were read."""

    rows: Iterator[Row]
    head: list[Row]
    notes: list[str] = field(default_factory=list)


def read_rows(
    data: str, config: str | None = None, split: str = "train", revision: str | None = None, max_rows: int = 0
) -> list[Row]:
    """Return the rows of 'example', a file, or a Hub data set as a list; the first `max_rows` (0: all). Raises UserError."""
    rows = list(islice(read_source(data, config, split, revision, max_rows).rows, MAX_ROWS_HELD + 1))
    if len(rows) > MAX_ROWS_HELD:
        raise UserError(f"'{data}' has more than {MAX_ROWS_HELD:,} rows.", FIRST_ROWS_ONLY)
    return rows


def read_source(
    data: str, config: str | None = None, split: str = "train", revision: str | None = None, max_rows: int = 0
) -> Source:
    """Open the same as a stream, with notes. Raises UserError when there are no rows; iterating raises it for later ones."""
    path = EXAMPLE_TRAIN if data == EXAMPLE else Path(data)
    suffix = suffix_of(path)
    if not (suffix or _exists(path)):
        return source_of(_bounded(hub_data.rows(data, config, split, revision, max_rows), data, max_rows))
    if not suffix:
        kinds = ", ".join(KINDS)
        raise UserError(f"'{path.name}' is not a kind of file that is read.", f"Use {kinds}, or one with .gz.")
    if not path.is_file():
        raise UserError(f"There is no file '{path.name}'.")
    notes: list[str] = []
    source = source_of(_bounded(_rows_of(path, suffix, notes), path.name, max_rows), notes)
    if not source.head:
        raise UserError(f"'{path.name}' holds no rows.", "Give at least one row.")
    return source


def source_of(rows: Iterable[Row], notes: list[str] | None = None) -> Source:
    """Return a source of these rows; its head is read at once."""
    rows, head, size = iter(rows), [], 0
    for row in islice(rows, MAX_HEAD_ROWS):
        head.append(row)
        size += len(str(row))
        if size > MAX_HEAD_CHARACTERS:
            break
    return Source(chain(head, rows), head, notes or [])


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _rows_of(path: Path, suffix: str, notes: list[str]) -> Iterable[Row]:
    """Return the rows of a file of this kind, and add to `notes` what a person should know of them."""
    if suffix == ".parquet":
        return parquet_rows(path)
    encoding = detect_encoding(path)
    if not encoding.startswith("utf"):
        notes.append(f"'{path.name}' is not UTF-8; it was read as {encoding}.")
    if suffix in (".jsonl", ".ndjson") and not _begins_with_a_list(path, encoding):
        return _jsonl_rows(path, encoding)
    if suffix in (".jsonl", ".ndjson", ".json"):
        return _json_rows(path, encoding)
    if suffix in (".csv", ".tsv"):
        return csv_rows(path, encoding, "\t" if suffix == ".tsv" else None)
    return ({"text": section} for section in sections(lines(path, encoding), suffix == ".md"))


def _bounded(found: Iterable[Row], name: str, max_rows: int) -> Iterator[Row]:
    """Yield the first `max_rows` rows; all of them when that is 0, unless they are too many."""
    for number, row in enumerate(islice(found, max_rows or None), 1):
        check_columns(len(row), name)
        if number > MAX_ROWS:
            raise UserError(f"'{name}' has more than {MAX_ROWS:,} rows.", FIRST_ROWS_ONLY)
        yield row


def _begins_with_a_list(path: Path, encoding: str) -> bool:
    """Return True for a JSON array that is called JSON lines."""
    return next((line for line in lines(path, encoding) if not line.isspace()), "").lstrip("\ufeff \t").startswith("[")


def _jsonl_rows(path: Path, encoding: str) -> Iterator[Row]:
    for number, line in enumerate(lines(path, encoding), 1):
        if not line.isspace():
            try:
                row = parse(line, f"line {number}", ONE_A_LINE)
            except UserError as error:
                row = BadLine(error)
            if not isinstance(row, dict):
                row = BadLine(UserError(f"line {number} is no object.", 'Write {"prompt": ..., "completion": ...}.'))
            yield row


def _json_rows(path: Path, encoding: str) -> Iterable[Row]:
    """Return a list of objects, alone or as the only list inside of one object, or columns; else one object is one row."""
    content = whole_bytes(path, MAX_JSON_BYTES, JSON_LINES)
    try:
        text = content.decode(encoding)
    except UnicodeError as error:
        raise UserError(f"'{path.name}' is not {encoding} text.", "Save it as UTF-8.") from error
    if not text.strip():
        return []
    if text.count("[") + text.count("{") > MAX_JSON_PARTS:
        raise UserError(f"'{path.name}' holds more than {MAX_JSON_PARTS:,} lists and objects.", JSON_LINES)
    is_json = suffix_of(path) == ".json"
    value = parse(text, f"'{path.name}'", "Is it JSON lines? Call it .jsonl." if is_json else ONE_A_LINE)
    if isinstance(value, dict) and (rows := rows_of_object(value)) is not None:
        return rows
    if isinstance(value, dict):
        lists = [part for part in value.values() if isinstance(part, list)]
        holds_rows = len(lists) == 1 and "messages" not in value and all(isinstance(row, dict) for row in lists[0])
        value = lists[0] if holds_rows else [value]
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise UserError(f"'{path.name}' is not a list of objects.", 'Write [{"prompt": ..., "completion": ...}, ...].')
    return value


def parse(text: str, where: str, hint: str) -> object:
    """Return the JSON value in `text`; half characters (lone surrogates) in it become U+FFFD. Raises UserError."""
    try:
        return parse_json(text)
    except RecursionError as error:
        raise UserError(f"{where} is nested too deeply.", hint) from error
    except ValueError as error:
        raise UserError(f"{where} is not JSON: {str(error)[:100]}.", hint) from error


def sections(text_lines: Iterable[str], is_markdown: bool) -> Iterator[str]:
    """Yield a text in pieces that end at a blank line after about `SECTION_CHARACTERS`, in Markdown also before a heading."""
    held: list[str] = []
    size, in_code = 0, False
    for line in text_lines:
        in_code ^= line.lstrip().startswith("```")
        is_heading = is_markdown and not in_code and re.match(r"#{1,6} ", line)
        if held and (is_heading or (size >= SECTION_CHARACTERS and not line.strip())):
            yield from _section(held)
            held, size = [], 0
        held.append(line)
        size += len(line)
    yield from _section(held)


def _section(held: list[str]) -> Iterator[str]:
    text = "".join(held).replace("\r\n", "\n").strip("\n\ufeff")
    if text.strip():
        yield text
