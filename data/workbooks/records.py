"""Workbooks to records: one sheet of an .xlsx or .ods, values only, row by row. No formula, link or macro is followed.

Libraries that read them make what a file says of its size, a row of a billion cells or a sheet up to its last corner, before
anybody can count. Here only what a cell holds takes memory, and each part of the zip is bounded before it is read.
"""

import io
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from posixpath import basename, dirname, join
from xml.parsers import expat

from common.errors import UserError
from common.language import _
from common.zips import BROKEN, open_zip
from data.decoding import whole_bytes
from data.delimited import Record
from data.tables import MAX_WHOLE_BYTES, Table
from data.workbooks.excel import Contents, ExcelSheet, Links, Strings, Styles
from data.workbooks.ods import OdsNames, OdsSheet
from data.workbooks.sheet import Part, Sheet

MAX_MEMBERS = 10_000
MAX_SHEET_BYTES = 256 * 2**20  # of XML, and of the strings of all sheets
MAX_PART_BYTES = 16 * 2**20  # of the list of sheets, the styles and the like
MAX_RATIO = 200  # sheets get some twenty times smaller in a zip
CHUNK_BYTES = 2**16
MAX_TAG_BYTES = 2 * 2**20  # which expat holds until it ends
MAX_NAMES = 10_000  # of tags and attributes, which it holds too
MAX_DEPTH = 200
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # begins files of Excel 97, and newer ones that are locked with a password
SAVE = _("Save it again as .xlsx, or as CSV.")


def workbook_records(path: Path, table: Table) -> Iterator[Record]:
    """Yield (row number, values) of the rows that are not blank of the sheet that `table` asks for, and tell it the sheets.

    Raises UserError for what is damaged, locked, too large, or no workbook.
    """
    is_gzipped = path.suffix.lower() == ".gz"
    try:
        with closing(
            io.BytesIO(whole_bytes(path, MAX_WHOLE_BYTES, _("Unpack it."))) if is_gzipped else path.open("rb")
        ) as file:
            if file.read(len(OLE)) == OLE:
                words = _("'{name}' is an old Excel file (.xls), or locked with a password.", name=table.name)
                raise UserError(words, _("Save it as .xlsx without a password."))
            try:
                workbook = open_zip(file, MAX_MEMBERS, SAVE)
            except UserError as error:
                words = _("'{name}' cannot be read: {reason}", name=table.name, reason=error.message)
                raise UserError(words, SAVE) from error
            with workbook:
                sheet, place = (_ods_sheet if "content.xml" in workbook.namelist() else _excel_sheet)(workbook, table)
                yield from _rows(workbook, place, sheet)
    except (*BROKEN, expat.ExpatError, KeyError, IndexError, OverflowError, RecursionError) as error:
        raise UserError(_("'{name}' is damaged, or not a workbook.", name=table.name), SAVE) from error


def _excel_sheet(workbook: zipfile.ZipFile, table: Table) -> tuple[Sheet, str]:
    """Return a reader for the sheet that is asked for, and its place in the zip."""
    root, contents = Links(), Contents()
    _read(workbook, "_rels/.rels", root)
    place = root.place_of("officeDocument") or "xl/workbook.xml"
    if place.endswith(".bin"):
        raise UserError(_("'{name}' is a binary workbook (.xlsb).", name=table.name), _("Save it as .xlsx."))
    _read(workbook, place, contents)
    links = Links(dirname(place))
    _read(workbook, join(dirname(place), "_rels", f"{basename(place)}.rels"), links)
    sheets = [
        (name, links.targets[link][1], is_hidden)
        for name, link, is_hidden in contents.sheets
        if links.targets.get(link, ("",))[0] == "worksheet"
    ]
    visible = next((number for number, sheet in enumerate(sheets) if not sheet[2]), 0)
    chosen = _choose(table, [sheet[0] for sheet in sheets], visible)
    strings, styles = Strings(), Styles()
    if part := links.place_of("styles"):
        _read(workbook, part, styles)
    if part := links.place_of("sharedStrings"):
        _read(workbook, part, strings, MAX_SHEET_BYTES)
    return ExcelSheet(table, strings.strings, styles.kinds, contents.is_1904), sheets[chosen][1]


def _ods_sheet(workbook: zipfile.ZipFile, table: Table) -> tuple[Sheet, str]:
    """Return the same of an OpenDocument workbook, all of whose sheets lie in one place."""
    listed = "META-INF/manifest.xml"
    if listed in workbook.namelist() and b"encryption-data" in b"".join(_chunks(workbook, listed, MAX_PART_BYTES)):
        raise UserError(_("'{name}' is locked with a password.", name=table.name), _("Save it without a password."))
    found = OdsNames()
    _read(workbook, "content.xml", found, MAX_SHEET_BYTES)
    return OdsSheet(table, _choose(table, found.names)), "content.xml"


def _choose(table: Table, names: list[str], first: int = 0) -> int:
    """Return the place of the sheet that the settings name, else the first; tell the table which one it is."""
    if not names:
        raise UserError(_("'{name}' has no sheets.", name=table.name), SAVE)
    asked = table.settings.sheet or names[first]
    if asked not in names:
        has = ", ".join(f"'{name[:40]}'" for name in names[:20])
        words = _("'{name}' has no sheet '{sheet}'.", name=table.name, sheet=asked[:40])
        raise UserError(words, _("Set sheet to one of: {sheets}.", sheets=has))
    table.sheet, table.other_sheets = asked, [name for name in names if name != asked]
    return names.index(asked)


def _rows(workbook: zipfile.ZipFile, place: str, sheet: Sheet) -> Iterator[Record]:
    """Yield the records of a sheet as they are parsed."""
    for _piece in _parsed(workbook, place, sheet, MAX_SHEET_BYTES):
        for number, values, repeated in sheet.rows:
            for offset in range(repeated):
                yield number + offset, values
        sheet.rows.clear()


def _read(workbook: zipfile.ZipFile, place: str, part: Part, max_bytes: int = MAX_PART_BYTES) -> None:
    """Parse a part of the workbook to its end."""
    for _piece in _parsed(workbook, place, part, max_bytes):
        pass


def _parsed(workbook: zipfile.ZipFile, place: str, part: Part, max_bytes: int) -> Iterator[None]:
    """Parse a part of the workbook; yields after every piece. Raises UserError for what would fill the memory, ExpatError."""
    names: dict[str, str] = {}
    parser = expat.ParserCreate(None, None, names)
    parser.buffer_text = True
    depth = fed = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
        part.start(tag.rpartition(":")[2], attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        part.end(tag.rpartition(":")[2])

    def refuse(*declared) -> None:
        raise ValueError("it declares words that could grow")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = part.text, refuse
    for chunk in _chunks(workbook, place, max_bytes):
        parser.Parse(chunk, False)
        fed += len(chunk)
        if len(names) > MAX_NAMES or fed - max(parser.CurrentByteIndex, 0) > MAX_TAG_BYTES:
            raise ValueError("its tags are too many, or too long")
        yield
    parser.Parse(b"", True)
    yield


def _chunks(workbook: zipfile.ZipFile, place: str, max_bytes: int) -> Iterator[bytes]:
    """Yield a part of the workbook piece by piece. Raises UserError when it is too large, or grows too much."""
    member = workbook.getinfo(place)
    if member.file_size > min(max_bytes, max(MAX_PART_BYTES, MAX_RATIO * member.compress_size)):
        words = _("A sheet of the workbook unpacks to {size:,} MB.", size=member.file_size // 2**20)
        raise UserError(words, _("Save it as CSV."))
    with workbook.open(member) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
