"""The sheets of an OpenDocument workbook (.ods), which lie in one part, and the rows of one of them."""

from common.errors import UserError
from common.language import _
from data.decoding import MAX_LINE_CHARACTERS
from data.tables import Table
from data.workbooks.sheet import Part, Sheet, number_text

MAX_SHEETS = 10_000


class OdsNames(Part):
    """The names of the sheets of an OpenDocument workbook."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self._depth = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take the beginning of a table; those inside of others are no sheets."""
        if tag == "table":
            if not self._depth:
                self.names.append(attributes.get("table:name", ""))
            if len(self.names) > MAX_SHEETS:
                raise UserError(
                    _("The workbook has more than {count:,} sheets.", count=MAX_SHEETS),
                    _("Save the sheet to train on as CSV."),
                )
            self._depth += 1

    def end(self, tag: str) -> None:
        """Take the end of a table."""
        self._depth -= tag == "table"


class OdsSheet(Sheet):
    """The rows of one sheet, by its place among them, of an OpenDocument workbook."""

    def __init__(self, table: Table, place: int) -> None:
        super().__init__(table)
        self._waiting = place  # sheets before it
        self._depth = 0  # of tables
        self._cell: dict[str, str] | None = None  # the attributes of the cell that is open
        self._paragraphs: list[str] = []
        self._aside = 0  # notes and readings that are open, whose words are not the cell's
        self._next, self._repeated = 1, 1

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take the beginning of a sheet, a row, a cell, or of words in it."""
        if tag == "table":
            self._depth += 1
            self.is_open = self._depth == 1 and not self._waiting
        elif not self.is_open:
            return
        elif tag == "table-row":
            self.begin_row(self._next)
            self._repeated = _count(attributes.get("table:number-rows-repeated"))
            self._next += self._repeated
            self._column = 1
        elif tag in ("table-cell", "covered-table-cell"):
            self._cell, self._paragraphs = attributes, []
            self.begin_cell()
        elif tag in ("annotation", "ruby-text"):
            self._aside += 1
        elif self._cell is not None and not self._aside:
            if tag in ("p", "h"):
                self.words = []
            elif tag == "s":
                self.text(" " * min(_count(attributes.get("text:c")), MAX_LINE_CHARACTERS + 1))
            elif tag in ("tab", "line-break"):
                self.text("\t" if tag == "tab" else "\n")

    def end(self, tag: str) -> None:
        """Take the end of a sheet, a row, a cell, or of words in it."""
        if tag == "table":
            self._depth -= 1
            self._waiting -= not self._depth
            self.is_open = False
        elif not self.is_open:
            return
        elif tag in ("annotation", "ruby-text"):
            self._aside -= 1
        elif tag in ("p", "h") and self.words is not None and not self._aside:
            self._paragraphs.append(self.taken())
        elif tag in ("table-cell", "covered-table-cell") and self._cell is not None:
            repeated = _count(self._cell.get("table:number-columns-repeated"))
            if value := self._shown(self._cell) if tag == "table-cell" else "":  # what is covered, nobody sees
                self.add(value, repeated)
            self._column += repeated
            self._cell = None
        elif tag == "table-row":
            self.end_row(self._repeated)

    def _shown(self, cell: dict[str, str]) -> str:
        """Return what the cell holds as text."""
        shown = "\n".join(self._paragraphs)
        kind = cell.get("office:value-type", "")
        if cell.get("calcext:value-type") == "error":
            return "#VALUE!"
        if kind in ("float", "percentage", "currency"):
            return number_text(cell["office:value"])
        if kind == "boolean":
            return cell["office:boolean-value"].upper()
        if kind == "date":
            return cell["office:date-value"].replace("T", " ").removesuffix(" 00:00:00")
        if "table:formula" in cell and not (kind or shown):
            self.table.uncalculated += 1
        return cell.get("office:string-value", shown)


def _count(text: str | None) -> int:
    return max(1, int(text)) if text else 1
