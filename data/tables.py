"""Tables to rows: CSV and TSV through the csv module, Parquet through pyarrow. Streams, within the limits of `decoding`."""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from common.errors import UserError
from data.conversations import BadLine, Row
from data.decoding import MAX_BYTES, MAX_LINE_CHARACTERS, TooLarge, lines, whole_bytes

MAX_COLUMNS = 2000
DELIMITERS = ",;\t|"
SAMPLE_RECORDS = 20
BATCH_ROWS = 128  # of Parquet: one batch is in memory before its size is known
MAX_WHOLE_BYTES = 256 * 2**20  # of a Parquet file in a .gz, which is read as a whole


def csv_rows(path: Path, encoding: str, delimiter: str | None = None) -> Iterator[Row]:
    """Yield the rows of a table with a header, every value text. Raises UserError for what is no table."""
    delimiter = delimiter or _sniff_delimiter(path, encoding)
    reader = _records(path, encoding, delimiter)
    header = next((names for _, names in reader), None)
    if header is None:
        return
    check_columns(len(header), path.name)
    names = [name.strip() or f"column {number}" for number, name in enumerate(header, 1)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"'{path.name}' has two columns called '{twice[:60]}'.", "Give each column its own name.")
    for number, values in reader:
        if len(values) > len(names):
            words = f"line {number} has {len(values)} values, the header {len(names)}."
            yield BadLine(UserError(words, 'Put values that hold the delimiter into "quotation marks".'))
            continue
        yield dict(zip(names, values + [""] * (len(names) - len(values)), strict=True))


def _records(path: Path, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, values) of every record that is not blank."""
    csv.field_size_limit(MAX_LINE_CHARACTERS)
    size = 0  # characters of the record that is being read, which may go over any number of lines

    def counted() -> Iterator[str]:
        nonlocal size
        for line in lines(path, encoding):
            size += len(line)
            if size > MAX_LINE_CHARACTERS:
                words = (
                    f"A row of '{path.name}' is longer than {MAX_LINE_CHARACTERS // 2**20} MB (line {reader.line_num})."
                )
                raise UserError(words, "Is a quotation mark opened and never closed?")
            yield line

    reader = csv.reader(counted(), delimiter=delimiter, strict=True)
    try:
        for values in reader:
            size = 0
            if any(value.strip() for value in values):
                yield reader.line_num, values
    except csv.Error as error:
        raise UserError(
            f"'{path.name}' is not a table: {error} (line {reader.line_num}).",
            "Is a quotation mark opened and never closed?",
        ) from error


def _sniff_delimiter(path: Path, encoding: str) -> str:
    """Return the delimiter that cuts the first records into the most columns, most of them alike; a comma when none does."""
    best, most = ",", 1
    for delimiter in DELIMITERS:
        try:
            widths = [len(values) for _, values in islice(_records(path, encoding, delimiter), SAMPLE_RECORDS)]
        except UserError:
            continue
        if widths and widths[0] > most and widths.count(widths[0]) * 2 > len(widths):
            best, most = delimiter, widths[0]
    return best


def check_columns(count: int, file: str) -> None:
    """Raise UserError for more columns than are read."""
    if count > MAX_COLUMNS:
        raise UserError(f"'{file}' has {count:,} columns; {MAX_COLUMNS:,} are the most.", "Keep the ones to train on.")


def parquet_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet file. Raises UserError when it is damaged or too large."""
    import pyarrow
    from pyarrow import parquet

    source = (
        io.BytesIO(whole_bytes(path, MAX_WHOLE_BYTES, "Unpack it (.parquet)."))
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
                raise TooLarge(f"'{path.name}' holds more than {MAX_BYTES // 2**20} MB.", "Set max_rows to read less.")
            try:
                rows = batch.to_pylist()
            except (ValueError, OverflowError) as error:  # a date beyond Python's, for one
                words = f"'{path.name}' holds a value that Python has no type for: {str(error)[:100]}."
                raise UserError(words, "Leave that column out, or write it as text.") from error
            yield from rows
    except (MemoryError, pyarrow.ArrowMemoryError) as error:
        raise UserError(
            f"'{path.name}' needs more memory than there is: its rows, or what it says of them, are too large.",
            "Write it in smaller row groups, or as JSON lines.",
        ) from error
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        hint = "Write it again; pandas, pyarrow and DuckDB do."
        raise UserError(f"'{path.name}' is damaged, or not a Parquet file.", hint) from error
