"""From a file, a pasted text or the id of a Hub data set to rows: plain dicts, one after the other.

read_source("data.csv").rows               an iterator: of ten million rows a few are in memory
read_source("data.csv").notes              ["'data.csv' is not UTF-8; it was read as cp949."]
read_rows("data.csv.gz", max_rows=100)     [{"question": ..., "answer": ...}, ...]

A new kind of file is an ending in `kinds.KINDS`, a function that yields its rows, and a line in `_rows_of`.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

from common.errors import UserError
from common.files import exists, parse_json
from common.language import _, joined
from common.mix import DataShare, as_text, data_sets, mix_problem
from common.paths import REPOSITORY
from data import hub_data
from data.columns import rows_of_object
from data.conversations import BadLine, Row
from data.decoding import TooLarge, detect_encoding, lines, whole_bytes
from data.delimited import Record, delimited_records
from data.kinds import KINDS, TABLES, WORKBOOKS, suffix_of
from data.parts import is_one_talk, parts_of, row_of, split_among
from data.sampling import counts_of
from data.sections import sections
from data.settings import EXAMPLE, DataSettings, TableSettings
from data.source import Opened, Source
from data.tables import Table, check_columns, parquet_rows, table_rows
from data.workbooks.records import workbook_records

EXAMPLE_TRAIN = REPOSITORY / "examples" / "study_coach.jsonl"
EXAMPLE_HELD_OUT = REPOSITORY / "examples" / "study_coach_heldout.jsonl"
MAX_ROWS = 20_000_000
MAX_ROWS_HELD = 1_000_000  # of `read_rows`, which holds them all
MAX_JSON_BYTES = 64 * 2**20  # a JSON file is parsed as a whole
MAX_JSON_PARTS = 10_000_000  # lists and objects in a JSON file: each takes far more memory than its two brackets
STREAM_ABOVE_BYTES = 200 * 10**6  # of a Hub data set of which only some rows are wanted; smaller ones are downloaded
SOME_ROWS_ONLY = _("Set max_rows to read only some of its rows.")
ONE_A_LINE = _("Write one JSON object per line.")
NO_OBJECT = _("It is not an object."), _('Write {"prompt": ..., "completion": ...}.')
THIS_LINE = _("This line")
JSON_LINES = _("Write JSON lines (.jsonl) instead.")
SAVE_AS_UTF8 = _("Save it as UTF-8.")


def read_rows(
    data: str,
    config: str | None = None,
    split: str = "train",
    revision: str | None = None,
    max_rows: int = 0,
    table: TableSettings | None = None,
) -> list[Row]:
    """Return the rows of 'example', a file, or a Hub data set as a list; the first `max_rows` (0: all) of each of several.

    Raises UserError.
    """
    one, *others = data_sets(data) or [DataShare(data)]
    if others:
        sets = [as_text([replace(each, share=None)]) for each in (one, *others)]
        return [row for each in sets for row in read_rows(each, config, split, revision, max_rows, table)]
    data, revision = one.place, one.revision or revision
    opened = open_data(data, config, split, revision, 0 if max_rows else None, table)
    rows = list(islice(opened.source().rows, max_rows or MAX_ROWS_HELD + 1))
    if len(rows) > max(max_rows, MAX_ROWS_HELD):
        raise UserError(_("'{name}' has more than {count:,} rows.", name=data, count=MAX_ROWS_HELD), SOME_ROWS_ONLY)
    return rows


def read_source(
    data: str,
    config: str | None = None,
    split: str = "train",
    revision: str | None = None,
    max_rows: int = 0,
    seed: int = 0,
    table: TableSettings | None = None,
) -> Source:
    """Open the same as a stream, with notes; of more than `max_rows` rows (0: no limit) a sample in their order, by the seed.

    Raises UserError when there are no rows; iterating raises it for later ones.
    """
    opened = open_data(data, config, split, revision, STREAM_ABOVE_BYTES if max_rows else None, table)
    if not max_rows:
        return opened.source()
    count = min(opened.count(max_rows), max_rows)
    source = opened.source(count, str(seed))
    if opened.is_part or count < (opened.size or 0):
        words = _(
            "{rows_of_file} are read, picked at random by the seed (max_rows).", rows_of_file=source.counts(count)
        )
        source.notes.append(words)
    return source


def read_mix(sets: list[DataShare], settings: DataSettings) -> list[Source]:
    """Open several data sets as streams, each with so many of its rows, drawn by the seed, as the shares and `max_rows` say.

    Their rows' numbers say which file they are of. Raises UserError as `read_source` does.
    """
    if problem := mix_problem(sets):
        raise UserError(joined(["data:", problem]))
    above = STREAM_ABOVE_BYTES if settings.max_rows else None
    where = (settings.data_config, settings.data_split)
    opened = [open_data(one.place, *where, one.revision, above, settings.table(settings.sheet)) for one in sets]
    shares = [one.share for one in sets if one.share is not None]
    if shares or settings.max_rows:
        counts = counts_of([one.count(settings.max_rows) for one in opened], shares, settings.max_rows)
        sources = [
            one.source(count, f"{settings.seed} {place}")
            for place, (one, count) in enumerate(zip(opened, counts, strict=True))
        ]
    else:
        sources = [one.source() for one in opened]
    names = [source.name for source in sources]
    twice = [
        f" ({names[: place + 1].count(name)})" if names.count(name) > 1 else "" for place, name in enumerate(names)
    ]
    return [
        source.in_mix(place, f"{source.name}{again}")
        for place, (source, again) in enumerate(zip(sources, twice, strict=True), 1)
    ]


def open_data(
    data: str,
    config: str | None = None,
    split: str = "train",
    revision: str | None = None,
    stream_above: int | None = None,
    table: TableSettings | None = None,
) -> Opened:
    """Return 'example', a file or a Hub data set, which is streamed when its repository has more bytes than `stream_above`."""
    path = EXAMPLE_TRAIN if data == EXAMPLE else Path(data)
    suffix = suffix_of(path)
    if not (suffix or exists(path)):
        hub = hub_data.HubSplit(data, config, split, revision, stream_above)
        read = partial(_bounded, hub, data)
        return Opened(data, read, [], hub.splits, hub.size, hub.is_streamed, revision=hub.commit or "")
    if not suffix:
        kinds = ", ".join(KINDS)
        words = _("'{name}' is not a kind of file that can be read.", name=path.name)
        raise UserError(words, _("Use {kinds}, or one of these with .gz.", kinds=kinds))
    if not path.is_file():
        raise UserError(_("There is no file '{name}'.", name=path.name))
    notes: list[str] = []
    splits: dict[str, int] = {}
    tables: list[Table] = []

    def read() -> Iterator[Row]:
        for known in (notes, splits, tables):
            known.clear()
        if suffix in TABLES:
            tables.append(Table(path.name, table or TableSettings()))
            return _bounded(table_rows(_records_of(path, suffix, notes, tables[0]), tables[0]), path.name)
        return _bounded(_rows_of(path, suffix, notes, split, splits), path.name)

    return Opened(path.name, read, notes, splits, tables=tables)


def _rows_of(path: Path, suffix: str, notes: list[str], split: str, splits: dict[str, int]) -> Iterable[Row]:
    """Return the rows of a file of this kind, and add to `notes` what a person should know of them.

    Of a file with several parts they are those of `split`; all parts, with their rows, are added to `splits`.
    """
    if suffix == ".parquet":
        return parquet_rows(path)
    encoding = _encoding_of(path, notes)
    if suffix in (".jsonl", ".ndjson") and not _is_one_list(path, encoding):
        return _jsonl_rows(path, encoding)
    if suffix in (".jsonl", ".ndjson", ".json"):
        return _json_rows(path, encoding, split, splits)
    if next(lines(path, encoding), "").lstrip("\ufeff").startswith('{"'):
        notes.append(
            _(
                "'{name}' is read as plain text, but looks like JSON lines. Rename it to .jsonl to read its rows.",
                name=path.name,
            )
        )
    return ({"text": section} for section in sections(lines(path, encoding), suffix == ".md"))


def _records_of(path: Path, suffix: str, notes: list[str], table: Table) -> Iterator[Record]:
    """Return the records of a table of this kind; the sheets of a workbook are told to `table`."""
    if suffix in WORKBOOKS:
        return workbook_records(path, table)
    return delimited_records(path, _encoding_of(path, notes), "\t" if suffix == ".tsv" else None)


def _encoding_of(path: Path, notes: list[str]) -> str:
    encoding = detect_encoding(path)
    if not encoding.startswith("utf"):
        notes.append(_("'{name}' is not UTF-8; it was read as {encoding}.", name=path.name, encoding=encoding))
    return encoding


def _bounded(found: Iterable[Row], name: str) -> Iterator[Row]:
    """Yield the rows, unless they or their columns are too many."""
    for number, row in enumerate(found, 1):
        check_columns(len(row), name)
        if number > MAX_ROWS:
            raise TooLarge(_("'{name}' has more than {count:,} rows.", name=name, count=MAX_ROWS), SOME_ROWS_ONLY)
        yield row


def _is_one_list(path: Path, encoding: str) -> bool:
    """Return True for a JSON array that is called JSON lines; False where each line is an array of its own."""
    found = (line for line in lines(path, encoding) if not line.isspace())
    first = next(found, "").lstrip("\ufeff \t")
    if not first.startswith("[") or next(found, None) is None:
        return first.startswith("[")
    try:
        parse_json(first)
    except (ValueError, RecursionError):
        return True
    return False


def _jsonl_rows(path: Path, encoding: str) -> Iterator[Row]:
    for number, line in enumerate(lines(path, encoding), 1):
        if not line.isspace():
            try:
                row = row_of(parse(line, THIS_LINE, ONE_A_LINE))
            except UserError as error:
                row = BadLine(error, line, number)
            yield BadLine(UserError(*NO_OBJECT), line, number) if row is None else row


def _json_rows(path: Path, encoding: str, split: str, splits: dict[str, int]) -> Iterable[Row]:
    """Return a list of objects or of lists of turns, alone or as the only list inside of an object, or columns; else one row.

    Of {"train": [...], "validation": [...]} the rows of `split`.
    """
    content = whole_bytes(path, MAX_JSON_BYTES, JSON_LINES)
    try:
        text = content.decode(encoding)
    except UnicodeError as error:
        words = _("'{name}' is not {encoding} text.", name=path.name, encoding=encoding)
        raise UserError(words, SAVE_AS_UTF8) from error
    if not text.strip():
        return []
    if text.count("[") + text.count("{") > MAX_JSON_PARTS:
        words = _("'{name}' has more than {count:,} lists and objects.", name=path.name, count=MAX_JSON_PARTS)
        raise UserError(words, JSON_LINES)
    is_json = suffix_of(path) == ".json"
    value = parse(text, f"'{path.name}'", _("Is it JSON lines? Rename it to .jsonl.") if is_json else ONE_A_LINE)
    if isinstance(value, dict) and (parts := parts_of(value)):
        splits |= {name: len(part) for name, part in parts.items()}
        name = split_among(parts, split)
        if name is None:
            found = ", ".join(name[:40] for name in parts)
            words = _("'{name}' has no part '{part}'.", name=path.name, part=split[:40])
            raise UserError(words, _("Set data_split to one of: {choices}.", choices=found))
        value = parts[name]
    if isinstance(value, dict) and (rows := rows_of_object(value)) is not None:
        return rows
    if isinstance(value, dict):
        lists = [part for part in value.values() if isinstance(part, list)]
        holds_rows = len(lists) == 1 and "messages" not in value and all(isinstance(row, dict) for row in lists[0])
        value = lists[0] if holds_rows else [value]
    if is_one_talk(value):
        value = [value]
    rows = list(map(row_of, value)) if isinstance(value, list) else []
    if not isinstance(value, list) or (rows and all(row is None for row in rows)):
        hint = _('Write [{"prompt": ..., "completion": ...}, ...].')
        raise UserError(_("'{name}' is not a list of objects.", name=path.name), hint)
    return [
        BadLine(UserError(*NO_OBJECT), json.dumps(one, ensure_ascii=False)) if row is None else row
        for one, row in zip(value, rows, strict=True)
    ]


def parse(text: str, where: str, hint: str) -> object:
    """Return the JSON value in `text`; half characters (lone surrogates) in it become U+FFFD.

    Raises UserError, whose sentence begins with `where`.
    """
    try:
        return parse_json(text)
    except RecursionError as error:
        raise UserError(_("{where} is nested too deeply.", where=where), hint) from error
    except ValueError as error:
        words = str(error)[:100] if "\n" in text.strip() else str(error)[:100].replace("line 1 column", "column")
        raise UserError(_("{where} is not JSON: {reason}.", where=where, reason=words), hint) from error
