"""Tables to rows: CSV and TSV through the csv module, Parquet through pyarrow. Streams, within the limits of `decoding`."""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from common.errors import UserError
from trainer.data.decoding import MOST_BYTES, MOST_LINE, lines, open_bytes

MOST_COLUMNS = 2000
DELIMITERS = ",;\t|"
SAMPLE_RECORDS = 20
BATCH_ROWS = 128  # of Parquet: one batch is in memory before its size is known
MOST_WHOLE_BYTES = 256 * 2**20  # of a Parquet file in a .gz, which is read as a whole


def csv_rows(path: Path, encoding: str, delimiter: str | None = None) -> Iterator[dict]:
    """The rows of a table with a header, every value text. Raises UserError naming the line that does not fit."""
    delimiter = delimiter or sniff_delimiter(path, encoding)
    reader = _records(path, encoding, delimiter)
    header = next((names for _, names in reader), None)
    if header is None:
        return
    names = _names(header, path.name)
    for number, values in reader:
        if len(values) > len(names):
            raise UserError(
                f"'{path.name}' is not a table: line {number} has {len(values)} values, the header {len(names)}.",
                'Put values that hold the delimiter into "quotation marks".',
            )
        yield dict(zip(names, values + [""] * (len(names) - len(values)), strict=True))


def _records(path: Path, encoding: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, values) of every record that is not blank."""
    csv.field_size_limit(MOST_LINE)
    reader = csv.reader(lines(path, encoding), delimiter=delimiter, strict=True)
    try:
        for values in reader:
            if any(value.strip() for value in values):
                yield reader.line_num, values
    except csv.Error as error:
        raise UserError(
            f"'{path.name}' is not a table: {error} (line {reader.line_num}).",
            "Is a quotation mark opened and never closed?",
        ) from error


def sniff_delimiter(path: Path, encoding: str) -> str:
    """The delimiter that cuts the first records into the most columns, all of them alike; a comma when none does."""
    best, most = ",", 1
    for delimiter in DELIMITERS:
        try:
            widths = [len(values) for _, values in islice(_records(path, encoding, delimiter), SAMPLE_RECORDS)]
        except UserError:
            continue
        if widths and widths[0] > most and all(width == widths[0] for width in widths):
            best, most = delimiter, widths[0]
    return best


def _names(header: list[str], file: str) -> list[str]:
    """The column names, each once; a nameless one is called by its number."""
    check_columns(len(header), file)
    names = [name.strip() or f"column {number}" for number, name in enumerate(header, 1)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"'{file}' has two columns called '{twice[:60]}'.", "Give each column its own name.")
    return names


def check_columns(count: int, file: str) -> None:
    if count > MOST_COLUMNS:
        raise UserError(f"'{file}' has {count:,} columns; {MOST_COLUMNS:,} are the most.", "Keep the ones to train on.")


def parquet_rows(path: Path) -> Iterator[dict]:
    """The rows of a Parquet file. Raises UserError when it is damaged or too large."""
    import pyarrow
    from pyarrow import parquet

    source = io.BytesIO(_content(path)) if path.suffix.lower() == ".gz" else path
    seen = 0
    try:
        file = parquet.ParquetFile(source, thrift_container_size_limit=100_000)
        check_columns(file.metadata.num_columns, path.name)
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            seen += batch.nbytes
            if seen > MOST_BYTES:
                raise UserError(
                    f"'{path.name}' holds more than {MOST_BYTES // 2**20} MB.", "Set max_rows to read less."
                )
            yield from _rows_of(batch, path.name)
    except (MemoryError, pyarrow.ArrowMemoryError) as error:
        raise UserError(
            f"'{path.name}' needs more memory than there is: its rows, or what it says of them, are too large.",
            "Write it in smaller row groups, or as JSON lines.",
        ) from error
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        hint = "Write it again; pandas, pyarrow and DuckDB do."
        raise UserError(f"'{path.name}' is damaged, or not a Parquet file.", hint) from error


def _rows_of(batch, file: str) -> list[dict]:
    try:
        return batch.to_pylist()
    except (ValueError, OverflowError) as error:  # a date beyond Python's, for one
        hint = "Leave that column out, or write it as text."
        raise UserError(f"'{file}' holds a value that Python has no type for: {str(error)[:100]}.", hint) from error


def _content(path: Path) -> bytes:
    with open_bytes(path) as file:
        content = file.read(MOST_WHOLE_BYTES + 1)
    if len(content) > MOST_WHOLE_BYTES:
        raise UserError(f"'{path.name}' holds more than {MOST_WHOLE_BYTES // 2**20} MB.", "Unpack it (.parquet).")
    return content
