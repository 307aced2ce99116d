"""CSV and TSV to records through the csv module: line by line, so that a broken line costs no other.

A record that is no strict CSV is read again with its backslashed quotes doubled, then its first line alone with stray quotes as
letters; when neither has as many values as the header, that line is an error with its number, and reading goes on behind it.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from common.errors import UserError
from common.language import _
from data.columns import NAMES
from data.conversations import BadLine
from data.decoding import MAX_LINE_CHARACTERS, lines

DELIMITERS = ",;\t|"
NO_DELIMITER = "\x1f"  # the separator of units, which no text holds
SAMPLE_RECORDS = 20
SAMPLE_CHARACTERS = 2**17
KNOWN = {name for names in NAMES.values() for name in names}  # of columns
MAX_RECORD_LINES = 100_000
MAX_BROKEN_LINES = 20  # that a broken record may have
# that are read for records which never end, and so are read again: at first, and more for each character that is passed
MAX_AHEAD_CHARACTERS, AHEAD_A_CHARACTER = 4 * MAX_LINE_CHARACTERS, 8
UNCLOSED = _("Is a quotation mark opened and never closed?")
EXCEL_LINE = re.compile(r'"?sep=([^\w\s"]|\t)"?\s*', re.IGNORECASE)  # Excel's first line, which names the delimiter
ENCLOSED = re.compile(r'"(?:[^"]|"")*+"')
BACKSLASHED = re.compile(r'(?<!\\)((?:\\\\)*)\\"')

Record = tuple[int, list[str] | BadLine]  # the number of the line or row in the file, and its values


def delimited_records(path: Path, encoding: str, delimiter: str | None = None) -> Iterator[Record]:
    """Yield the records that are not blank, the header first. Raises UserError when the header cannot be read."""
    first = next(lines(path, encoding), "").lstrip("\ufeff")
    named = EXCEL_LINE.fullmatch(first)
    delimiter = named[1] if named else delimiter or _sniff_delimiter(lines(path, encoding), path.name)
    return _records(lines(path, encoding), path.name, delimiter, skip=1 if named else 0)


def _records(found: Iterator[str], name: str, delimiter: str, skip: int = 0) -> Iterator[Record]:
    csv.field_size_limit(MAX_LINE_CHARACTERS)
    waiting: deque[str] = deque()  # lines that are read again
    source = islice(found, skip, None)
    number, width, ahead = skip, 0, MAX_AHEAD_CHARACTERS
    while (first := waiting.popleft() if waiting else next(source, None)) is not None:
        taken, values = [first], None
        for read in (_strict, _backslashed, _loose):
            waiting.extendleft(reversed(taken[1:]))
            del taken[1:]
            values = read(taken, waiting, source, delimiter, min(ahead, MAX_LINE_CHARACTERS))
            if values is not None and (read is _strict or len(values) == (width or len(values))):
                break
            values = None
            ahead -= sum(map(len, taken[1:]))
        ahead += AHEAD_A_CHARACTER * sum(map(len, taken))
        start, number = number + 1, number + len(taken)
        if values is None and not width:
            words = _("'{name}' is not a table: line {line} is not a header.", name=name, line=start)
            raise UserError(words, UNCLOSED)
        if values is None:
            rest = _rest_of_broken(first, waiting, source, delimiter, width)
            for _again in range(rest):
                waiting.popleft()
            number += rest
            words = _("A quotation mark is in an odd place.")
            if rest:
                words = _("A quotation mark is in an odd place, up to line {line}.", line=number)
            yield start, BadLine(UserError(words, UNCLOSED), first, start)
        elif any(value.strip() for value in values):
            width = width or len(values)
            yield start, values


def _strict(
    taken: list[str], waiting: deque[str], source: Iterator[str], delimiter: str, most: int, unescape=str
) -> list[str] | None:
    """Return the values of the record that begins with the line in `taken`; the lines that it goes on with are added to it.

    Returns None when it is no CSV, or does not end within `most` characters.
    """

    def fed() -> Iterator[str]:
        size = len(taken[0])
        yield unescape(taken[0])
        while size <= most and len(taken) < MAX_RECORD_LINES:
            if (line := waiting.popleft() if waiting else next(source, None)) is None:
                return
            taken.append(line)
            size += len(line)
            yield unescape(line)

    try:
        return next(csv.reader(fed(), delimiter=delimiter, strict=True), [])
    except csv.Error:
        return None


def _backslashed(
    taken: list[str], waiting: deque[str], source: Iterator[str], delimiter: str, most: int
) -> list[str] | None:
    return _strict(taken, waiting, source, delimiter, most, lambda line: BACKSLASHED.sub(r'\1""', line))


def _loose(
    taken: list[str], waiting: deque[str], source: Iterator[str], delimiter: str, most: int = 0
) -> list[str] | None:
    """Return the cells of the first line: quotation marks around a whole cell enclose it, others are letters."""
    line, end = taken[0].rstrip("\r\n"), re.escape(delimiter)
    cells = re.findall(rf'(?:^|{end})("(?:[^"]|"")*+"(?={end}|$)|[^{end}]*)', line)
    if any(cell.count('"') % 2 for cell in cells if cell.startswith('"')):
        return None
    return [cell[1:-1].replace('""', '"') if ENCLOSED.fullmatch(cell) else cell for cell in cells]


def _rest_of_broken(first: str, waiting: deque[str], source: Iterator[str], delimiter: str, width: int) -> int:
    """Return how many of the next lines go on with a broken one: up to where the quotation mark that it opened is closed.

    Unless that is far away, or each line before it has the header's values, and is a row of its own.
    """
    size, are_rows = 0, True
    for place in range(MAX_BROKEN_LINES if first.count('"') % 2 else 0):
        if place == len(waiting):
            waiting.extend(islice(source, 1))
        if place == len(waiting) or (size := size + len(waiting[place])) > MAX_LINE_CHARACTERS:
            break
        values = _loose([waiting[place]], waiting, source, delimiter)
        if waiting[place].count('"') % 2:
            return 0 if values is None or (place and are_rows) else place + 1
        are_rows = are_rows and values is not None and len(values) == width
    return 0


def has_title(samples: list[list[str]]) -> bool:
    """Return whether the first of these records is one value above a header, which is one by names that are in common use."""
    title, header = ([value.strip() for value in values if value.strip()] for values in [*samples, [], []][:2])
    return len(title) == 1 < len(header) and any(value.lower() in KNOWN for value in header)


def _sniff_delimiter(found: Iterator[str], name: str) -> str:
    """Return the delimiter that cuts the header into the most values, of those by which most of the first records have as many.

    Without such a one, one that is in the header, be it below a title; else there is one column.
    """
    sample, size = [], 0
    while size < SAMPLE_CHARACTERS and (line := next(found, None)) is not None:
        sample.append(line)
        size += len(line)
    header = next((line for line in sample if not line.isspace()), "")
    best, score = "," if any(map(header.__contains__, DELIMITERS)) else NO_DELIMITER, (False, 1, 0)
    for delimiter in DELIMITERS:
        try:
            records = list(islice(_records(iter(sample), name, delimiter), SAMPLE_RECORDS))
        except UserError:
            continue
        widths = [len(values) for _, values in records if isinstance(values, list)]
        alike = widths.count(widths[0]) if widths else 0
        scored = (alike * 2 > len(records), widths[0] if widths else 0, alike)
        if scored[1] > 1 and scored > score:
            best, score = delimiter, scored
        elif best == NO_DELIMITER and has_title([values for _, values in records if isinstance(values, list)]):
            best = delimiter
    return best
