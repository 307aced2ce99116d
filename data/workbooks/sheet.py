"""What all workbooks share: how the parts of one are taken from expat, and a sheet's rows from its cells.

Only what a cell holds is kept; empty cells, formats, pictures and comments are passed by.
"""

import re

from common.errors import UserError
from common.language import _
from data.decoding import MAX_BYTES, MAX_LINE_CHARACTERS, TooLarge
from data.tables import Table, check_columns

MAX_SHEET_ROWS = 2**20
CELL_CHARACTERS = 8  # that an empty cell counts as, where a row has some behind it
INTEGER = re.compile(r"-?\d+")


class Part:
    """Takes what expat tells of one part of a workbook; keeps the words while `words` is a list."""

    def __init__(self) -> None:
        self.words: list[str] | None = None
        self._size = 0  # of the cell

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take the beginning of an element, whose tag has no prefix."""

    def end(self, tag: str) -> None:
        """Take the end of an element."""

    def begin_cell(self) -> None:
        """Begin a cell, which may have several pieces of words."""
        self._size = 0

    def text(self, words: str) -> None:
        """Take some of the words between two tags. Raises UserError for a cell that is too long."""
        if self.words is not None:
            self._grow(len(words))
            self.words.append(words)

    def taken(self) -> str:
        """Return the words that were kept, and keep none any more. Raises UserError for a cell of too many pieces."""
        words, self.words = "".join(self.words or []), None
        self._grow(1)  # an empty piece takes room, too
        return words

    def _grow(self, characters: int) -> None:
        self._size += characters
        if self._size > MAX_LINE_CHARACTERS:
            raise UserError(_("A cell is longer than {size} MB.", size=MAX_LINE_CHARACTERS // 2**20))


class Sheet(Part):
    """The rows of a sheet as they come, each (number, values, how often); whoever reads takes them out of `rows`."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.rows: list[tuple[int, list[str], int]] = []
        self.table = table
        self.is_open = False
        self._number = 0
        self._column = 0
        self._cells: dict[int, str] = {}
        self._held = 0
        self._told = 0  # of all rows

    def begin_row(self, number: int) -> None:
        """Begin the row of this number."""
        self._number, self._column, self._cells, self._held = number, 0, {}, 0

    def add(self, value: str, repeated: int = 1) -> None:
        """Put a value that is not empty into the row, from its column on. Raises UserError for too many, and too long a row."""
        last = self._column + repeated - 1
        check_columns(last, self.table.name)
        self._held += len(value) * repeated
        if self._held > MAX_LINE_CHARACTERS:
            most = MAX_LINE_CHARACTERS // 2**20
            raise UserError(
                _("Row {row} of '{name}' is longer than {size} MB.", row=self._number, name=self.table.name, size=most)
            )
        self._cells.update(dict.fromkeys(range(self._column, last + 1), value))

    def end_row(self, repeated: int = 1) -> None:
        """End the row; one that holds nothing is none. Raises UserError for more rows than a sheet can have.

        And for more than a file may hold: one string can be in every cell, and one row be there a million times.
        """
        if not self._cells:
            return
        if self._number + repeated - 1 > MAX_SHEET_ROWS:
            words = _("'{name}' has more than {count:,} rows.", name=self.table.name, count=MAX_SHEET_ROWS)
            raise UserError(words, _("Save it as CSV."))
        values = [self._cells.get(column, "") for column in range(1, max(self._cells) + 1)]
        self._told += repeated * (self._held + CELL_CHARACTERS * len(values))
        if self._told > MAX_BYTES:
            words = _("'{name}' unpacks to more than {size:,} MB.", name=self.table.name, size=MAX_BYTES // 2**20)
            raise TooLarge(words, _("Set max_rows to read only some of its rows."))
        self.rows.append((self._number, values, repeated))


def number_text(text: str) -> str:
    """Return a number as a sheet shows it: 42 for 42.0, and 15 digits, behind which computers err."""
    text = text.strip()
    try:
        return text if INTEGER.fullmatch(text) else f"{float(text):.15g}"
    except ValueError:
        return text
