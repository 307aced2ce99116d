"""Tables to rows: what the columns are called and what their cells hold; Parquet through pyarrow. Streams.

table = Table("a.csv", settings.table())
rows = table_rows(delimited_records(path, encoding), table)
table.described()                            when the rows were read: no header, words such as nan, other sheets
"""

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from common.errors import UserError
from common.language import Sentence, _, n_
from data.conversations import BadLine, Row
from data.decoding import MAX_BYTES, MAX_LINE_CHARACTERS, TooLarge, whole_bytes
from data.delimited import KNOWN, Record, has_title
from data.report import Level
from data.settings import TableSettings

MAX_COLUMNS = 2000
SAMPLE_RECORDS = 100  # that tell what the columns are
MAX_NAME_WORDS, MAX_NAME_LENGTH = 5, 60  # of a column; more is a value
NULL_WORDS = {"nan", "NaN", "NAN", "None", "null", "Null", "NULL", "N/A", "n/a", "<NA>", "NaT"}  # NA is a word, too
NULL_WORDS |= {"#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!"}  # errors in Excel
BATCH_ROWS = 128  # of Parquet: one batch is in memory before its size is known
MAX_WHOLE_BYTES = 256 * 2**20  # of a Parquet file in a .gz, which is read as a whole


@dataclass
class Table:
    """What is told about a table that is read; the counts grow with its rows."""

    name: str
    settings: TableSettings
    headless: list[str] = field(default_factory=list)  # the values of a first row that looks like no header
    title: str = ""
    null_words: int = 0
    sheet: str = ""
    other_sheets: list[str] = field(default_factory=list)
    uncalculated: int = 0

    def value_of(self, cell: str) -> str:
        """Return what a cell holds: "" for a word that stands for nothing, unless such words are kept."""
        if cell.strip() not in NULL_WORDS or self.settings.keep_null_words:
            return cell
        self.null_words += 1
        return ""

    def described(self) -> list[tuple[str, Level, Sentence]]:
        """Return (kind, level, sentence) of each thing that could be other than it was meant, once the rows were read."""
        told: list[tuple[str, Level, Sentence]] = []
        name = self.name
        if self.other_sheets and not self.settings.sheet:
            others = ", ".join(f"'{other[:40]}'" for other in self.other_sheets[:10])
            words = _(
                "Only the sheet '{sheet}' of '{name}' is read, not {others}.",
                sheet=self.sheet[:40],
                name=name,
                others=others,
            )
            told.append(("sheet", "info", words))
        if self.title:
            words = _(
                "The first row of '{name}' ('{title}') is taken as a title and not used.",
                name=name,
                title=self.title[:60],
            )
            told.append(("title", "info", words))
        if self.headless:
            first = ", ".join(f"'{value[:40]}'" for value in self.headless[:5])
            words = _(
                "'{name}' seems to have no header: its first row ({values}) is taken as one and not used.",
                name=name,
                values=first,
            )
            told.append(("header", "warning", words))
        if self.null_words:
            words = n_(
                "{count:,} cell of '{name}' says nan, None, null or the like and is read as empty.",
                "{count:,} cells of '{name}' say nan, None, null or the like and are read as empty.",
                self.null_words,
                name=name,
            )
            told.append(("null_words", "warning", words))
        if self.uncalculated:
            words = n_(
                "{count:,} cell of '{name}' has a formula but no value and is read as empty. "
                "Save the file once in Excel or LibreOffice.",
                "{count:,} cells of '{name}' have a formula but no value and are read as empty. "
                "Save the file once in Excel or LibreOffice.",
                self.uncalculated,
                name=name,
            )
            told.append(("formulas", "warning", words))
        return told


def table_rows(records: Iterator[Record], table: Table) -> Iterator[Row]:
    """Yield the rows of a table, every value text: {column: value}, and a bad line where a record is none.

    A column without a name is called by its number; behind the last name it goes when the first rows hold nothing in it.
    Raises UserError for a name that is there twice.
    """
    first = _first(records)
    samples = [values for _number, values in first if isinstance(values, list)]
    if not samples:
        return
    if table.settings.header and has_title(samples):
        title = samples.pop(0)
        first = [(number, values) for number, values in first if values is not title]
        table.title = "".join(title).strip()
    header = samples[0] if table.settings.header else []
    table.headless = header if header and seems_headless(samples) else []
    widths = [_width(values) for values in samples]
    # of lines most are right; the cells of a sheet are where they are
    most = max(widths) if table.sheet else len(header) or Counter(map(len, samples)).most_common(1)[0][0]
    width = min(most, max(widths))
    check_columns(width, table.name)
    names = [name.strip() or f"column {number}" for number, name in enumerate(header[:width], 1)]
    names += [f"column {number}" for number in range(len(names) + 1, width + 1)]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        words = _("'{name}' has two columns called '{column}'.", name=table.name, column=twice[:60])
        raise UserError(words, _("Give each column its own name."))
    for number, values in chain(first[1:] if header else first, records):
        if isinstance(values, BadLine):
            yield values
        elif (count := _width(values)) > width and not table.sheet:
            words = _("It has {count} values, but most lines have {width}.", count=count, width=width)
            if header:
                words = _("It has {count} values, but the header has {width}.", count=count, width=width)
            error = UserError(words, _('Put values that contain the delimiter into "quotation marks".'))
            yield BadLine(error, ", ".join(values), number)
        else:
            cells = [table.value_of(value) for value in values[: max(width, count)]]
            here = names + [f"column {number}" for number in range(width + 1, count + 1)]
            yield dict(zip(here, cells + [""] * (len(here) - len(cells)), strict=True))


def _first(records: Iterator[Record]) -> list[Record]:
    """Return the first records, which tell what the columns are."""
    first, size = [], 0
    for record in islice(records, SAMPLE_RECORDS):
        first.append(record)
        size += sum(map(len, record[1])) if isinstance(record[1], list) else 0
        if size > MAX_LINE_CHARACTERS:
            break
    return first


def _width(values: list[str]) -> int:
    """Return how many values there are up to the last that is not blank."""
    return next((place for place in range(len(values), 0, -1) if values[place - 1].strip()), 0)


def seems_headless(samples: list[list[str]]) -> bool:
    """Return whether the first of these records looks like the others: half of its values are sentences or come again below.

    Names that are in common use make it a header.
    """
    header = [(place, value.strip()) for place, value in enumerate(samples[0]) if value.strip()]
    if any(value.lower() in KNOWN for _, value in header):
        return False

    def is_value(place: int, value: str) -> bool:
        is_sentence = value[-1] in ".?!。？！…" or len(value.split()) > MAX_NAME_WORDS or len(value) > MAX_NAME_LENGTH
        return is_sentence or any(len(other) > place and other[place].strip() == value for other in samples[1:])

    return sum(is_value(place, value) for place, value in header) * 2 >= len(header)


def check_columns(count: int, file: str) -> None:
    """Raise UserError for more columns than are read."""
    if count > MAX_COLUMNS:
        words = _("'{name}' has {count:,} columns; the limit is {most:,}.", name=file, count=count, most=MAX_COLUMNS)
        raise UserError(words, _("Keep the ones to train on."))


def parquet_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet file. Raises UserError when it is damaged or too large."""
    import pyarrow
    from pyarrow import parquet

    source = (
        io.BytesIO(whole_bytes(path, MAX_WHOLE_BYTES, _("Unpack it (.parquet).")))
        if path.suffix.lower() == ".gz"
        else path
    )
    seen = 0
    try:
        file = parquet.ParquetFile(source, thrift_container_size_limit=100_000)
        check_columns(file.metadata.num_columns, path.name)
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            seen += batch.nbytes
            if seen > MAX_BYTES:
                words = _("'{name}' unpacks to more than {size:,} MB.", name=path.name, size=MAX_BYTES // 2**20)
                raise TooLarge(words, _("Set max_rows to read only some of its rows."))
            try:
                rows = batch.to_pylist()
            except (ValueError, OverflowError) as error:  # a date beyond Python's, for one
                reason = str(error)[:100]
                words = _(
                    "'{name}' contains a value that Python has no type for: {reason}.", name=path.name, reason=reason
                )
                raise UserError(words, _("Leave that column out, or write it as text.")) from error
            yield from rows
    except (MemoryError, pyarrow.ArrowMemoryError) as error:
        raise UserError(
            _("'{name}' needs more memory than there is.", name=path.name),
            _("Write it in smaller row groups, or as JSON lines."),
        ) from error
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        hint = _("Write it again, for example with pandas, pyarrow or DuckDB.")
        raise UserError(_("'{name}' is damaged, or not a Parquet file.", name=path.name), hint) from error
