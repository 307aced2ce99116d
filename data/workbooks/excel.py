"""The parts of an Excel workbook (.xlsx): its sheets, number formats and strings, and the rows of a sheet.

42.0 -> 42      0.30000000000000004 -> 0.3      a date -> 2024-01-02 or 2024-01-02 03:04:05      true -> TRUE
"""

import re
from datetime import date, timedelta
from posixpath import join, normpath
from sys import getsizeof

from common.errors import UserError
from common.language import _
from data.tables import Table
from data.workbooks.sheet import Part, Sheet, number_text

ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
DATE_FORMATS = {*range(14, 23), *range(27, 37), 45, 47, *range(50, 59)}  # those that Excel knows by number
DURATION_FORMAT = 46
MAX_CODE_LENGTH = 255  # of a number format, as in Excel
MAX_STRINGS_BYTES = 256 * 2**20  # of memory: one emoji makes four of each letter's byte
LAST_SERIAL = 2_958_466  # of the first day after the year 9999


class Links(Part):
    """Which part of an Excel workbook is what: {id: (kind, place in the zip)}."""

    def __init__(self, folder: str = "") -> None:
        super().__init__()
        self.folder = folder
        self.targets: dict[str, tuple[str, str]] = {}

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take a relationship; what lies outside of the file is none."""
        if tag == "Relationship" and attributes.get("TargetMode") != "External":
            place = normpath(join("/", self.folder, attributes["Target"])).lstrip("/")
            self.targets[attributes["Id"]] = attributes["Type"].rpartition("/")[2], place

    def place_of(self, kind: str) -> str | None:
        """Return the place of the first part of a kind."""
        return next((place for found, place in self.targets.values() if found == kind), None)


class Contents(Part):
    """The sheets of an Excel workbook as (name, id, is it hidden), and whether its days count from 1904."""

    def __init__(self) -> None:
        super().__init__()
        self.sheets: list[tuple[str, str, bool]] = []
        self.is_1904 = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take a sheet, or the properties of the workbook."""
        if tag == "sheet":
            link = next((value for key, value in attributes.items() if key.endswith(":id")), "")
            self.sheets.append((attributes["name"], link, attributes.get("state", "visible") != "visible"))
        elif tag == "workbookPr":
            self.is_1904 = attributes.get("date1904") in ("1", "true")


class Styles(Part):
    """What the number formats of an Excel workbook make of a number: "date", "duration" or "" for each style of cells."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: list[str] = []
        self._formats: dict[str, str] = {}  # the same for each number format by its id
        self._in_cells = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take a number format, or a style of cells."""
        if tag == "numFmt":
            self._formats[attributes["numFmtId"]] = _kind_of_format(attributes["formatCode"][:MAX_CODE_LENGTH])
        elif tag == "cellXfs":
            self._in_cells = True
        elif tag == "xf" and self._in_cells:
            number = attributes.get("numFmtId", "0")
            known = "duration" if int(number) == DURATION_FORMAT else "date" if int(number) in DATE_FORMATS else ""
            self.kinds.append(self._formats.get(number, known))

    def end(self, tag: str) -> None:
        """Take the end of the styles of cells; others come before and after."""
        self._in_cells = self._in_cells and tag != "cellXfs"


def _kind_of_format(code: str) -> str:
    code = re.sub(r'"[^"]*"|\\.|_.|\*.', "", code).split(";")[0].lower()
    if re.search(r"\[(h+|m+|s+)\]", code):
        return "duration"
    return "date" if re.search(r"[dmyhs]", re.sub(r"\[[^\]]*\]", "", code)) else ""


class Strings(Part):
    """The strings that the cells of an Excel workbook refer to by their number."""

    def __init__(self) -> None:
        super().__init__()
        self.strings: list[str] = []
        self._pieces: list[str] = []
        self._held = 0
        self._is_reading = False  # how a word is read aloud, which is beside it

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take the beginning of a string, or of a piece of one."""
        if tag == "t" and not self._is_reading:
            self.words = []
        elif tag == "rPh":
            self._is_reading = True
        elif tag == "si":
            self.begin_cell()

    def end(self, tag: str) -> None:
        """Take the end of a string, or of a piece of one. Raises UserError when all together take too much memory."""
        if tag == "t" and not self._is_reading:
            self._pieces.append(_unescaped(self.taken()))
        elif tag == "rPh":
            self._is_reading = False
        elif tag == "si":
            text, self._pieces = "".join(self._pieces), []
            self.strings.append(text)
            self._held += getsizeof(text)
            if self._held > MAX_STRINGS_BYTES:
                raise UserError(
                    _("The text of the workbook takes more than {size} MB.", size=MAX_STRINGS_BYTES // 2**20),
                    _("Save it as CSV."),
                )


class ExcelSheet(Sheet):
    """The rows of a sheet of Excel."""

    def __init__(self, table: Table, strings: list[str], styles: list[str], is_1904: bool) -> None:
        super().__init__(table)
        self._strings, self._styles, self._is_1904 = strings, styles, is_1904
        self._columns: dict[str, int] = {}  # numbers of letters that were met
        self._kind = self._style = ""
        self._pieces: list[str] = []  # of what the cell holds
        self._has_formula = self._is_reading = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """Take the beginning of a row, a cell, or what is in it."""
        if tag == "sheetData":
            self.is_open = True
        elif not self.is_open:
            return
        elif tag == "c":
            place = attributes.get("r")
            self._column = self._column_of(place) if place else self._column + 1
            self._kind, self._style = attributes.get("t", "n"), attributes.get("s", "")
            self._pieces, self._has_formula = [], False
            self.begin_cell()
        elif tag == "v" or (tag == "t" and not self._is_reading):
            self.words = []
        elif tag == "row":
            self.begin_row(int(attributes.get("r", self._number + 1)))
        elif tag == "f":
            self._has_formula = True
        elif tag == "rPh":
            self._is_reading = True

    def end(self, tag: str) -> None:
        """Take the end of a row, a cell, or what is in it."""
        if not self.is_open:
            return
        if tag == "v" or (tag == "t" and not self._is_reading):
            self._pieces.append(self.taken())
        elif tag == "c":
            held = "".join(self._pieces)
            if held and (value := self._shown(held)):
                self.add(value)
            elif self._has_formula and self._kind != "str":
                self.table.uncalculated += 1
        elif tag == "row":
            self.end_row()
        elif tag == "rPh":
            self._is_reading = False
        elif tag == "sheetData":
            self.is_open = False

    def _column_of(self, place: str) -> int:
        letters = place.rstrip("0123456789")
        if letters not in self._columns:
            if not re.fullmatch(r"[A-Za-z]{1,3}", letters):
                raise ValueError(f"no cell: {place[:20]}")
            number = 0
            for letter in letters.upper():
                number = number * 26 + ord(letter) - ord("A") + 1
            self._columns[letters] = number
        return self._columns[letters]

    def _shown(self, held: str) -> str:
        """Return what the cell holds as text."""
        if self._kind == "s":
            return self._strings[int(held)]
        if self._kind in ("str", "inlineStr"):
            return _unescaped(held)
        if self._kind == "b":
            return "TRUE" if held.strip() == "1" else "FALSE"
        if self._kind == "d":
            return held.replace("T", " ").removesuffix(" 00:00:00")
        kind = self._styles[int(self._style)] if self._style and self._styles and self._kind == "n" else ""
        return (_time(float(held), kind, self._is_1904) if kind else "") or number_text(held)


def _time(serial: float, kind: str, is_1904: bool) -> str:
    """Return a number of days as date and time, or as hours where `kind` is "duration"; "" for what is no date."""
    if not 0 <= serial < LAST_SERIAL:
        return ""
    days, seconds = divmod(round(serial * 86_400), 86_400)
    if kind == "duration":
        return f"{days * 24 + seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if not days and not is_1904:
        return clock
    # Excel takes 1900 for a leap year
    first = date(1904, 1, 1) if is_1904 else date(1899, 12, 30) if days >= 60 else date(1899, 12, 31)
    day = (first + timedelta(days)).isoformat()
    return f"{day} {clock}" if seconds else day


def _unescaped(text: str) -> str:
    """Return a string of Excel with the characters that it writes as _x000D_; half a character becomes U+FFFD."""
    if "_x" not in text:
        return text
    text = ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
