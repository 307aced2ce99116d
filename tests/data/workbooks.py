"""Workbooks for tests: .xlsx by openpyxl or part by part, .ods part by part."""

import io
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import openpyxl

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
KINDS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
ODF = "urn:oasis:names:tc:opendocument:xmlns"
SPREADSHEET = "application/vnd.oasis.opendocument.spreadsheet"


def xlsx(*sheets: tuple[str, list]) -> bytes:
    """A workbook as openpyxl writes it, of (name, rows)."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets:
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def zipped(parts: dict[str, str | bytes], **about) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, **about) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return out.getvalue()


def excel_parts(sheet: str, strings: str = "") -> dict[str, str | bytes]:
    """The parts of an .xlsx whose sheet and strings have this XML inside."""
    links = "".join(
        f'<Relationship Id="{kind}" Type="{KINDS}/{kind}" Target="{target}"/>'
        for kind, target in (("worksheet", "/xl/sheet.xml"), ("sharedStrings", "strings.xml"))
    )
    main = f'<Relationship Id="a" Type="{KINDS}/officeDocument" Target="xl/workbook.xml"/>'
    book = f'<workbook xmlns="{MAIN}" xmlns:r="{KINDS}"><sheets><sheet name="S" r:id="worksheet"/></sheets></workbook>'
    return {
        "_rels/.rels": f'<Relationships xmlns="{RELATIONS}">{main}</Relationships>',
        "xl/workbook.xml": book,
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{RELATIONS}">{links}</Relationships>',
        "xl/strings.xml": f'<sst xmlns="{MAIN}">{strings}</sst>',
        "xl/sheet.xml": f'<worksheet xmlns="{MAIN}">{sheet}</worksheet>',
    }


def ods_parts(sheets: str) -> dict[str, str | bytes]:
    """The parts of an .ods with this XML inside of its spreadsheet."""
    names = " ".join(f'xmlns:{name}="{ODF}:{name}:1.0"' for name in ("office", "table", "text"))
    names += ' xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"'
    content = f"<office:body><office:spreadsheet>{sheets}</office:spreadsheet></office:body>"
    return {
        "mimetype": SPREADSHEET,
        "content.xml": f"<office:document-content {names}>{content}</office:document-content>",
        "META-INF/manifest.xml": "<manifest/>",
    }


def ods_table(name: str, rows: list) -> str:
    """The XML of a sheet, its text as LibreOffice writes it."""
    return f"<table:table table:name={quoteattr(name)}>{''.join(map(_ods_row, rows))}</table:table>"


def _ods_row(row) -> str:
    return f"<table:table-row>{''.join(map(_ods_cell, row))}</table:table-row>"


def _ods_cell(value: str) -> str:
    def paragraph(line: str) -> str:
        return escape(line).replace(" ", '<text:s text:c="1"/>').replace("\t", "<text:tab/>")

    words = "".join(f"<text:p>{paragraph(line)}</text:p>" for line in value.split("\n"))
    return f'<table:table-cell office:value-type="string">{words}</table:table-cell>'


def ods(*sheets: tuple[str, list]) -> bytes:
    """A workbook of (name, rows of text)."""
    return zipped(ods_parts("".join(ods_table(name, rows) for name, rows in sheets)))


def rows_of(sheet: str, strings: str = "") -> bytes:
    """An .xlsx with these rows as XML."""
    return zipped(excel_parts(f"<sheetData>{sheet}</sheetData>", strings))


def saved(folder: Path, content: bytes, name: str) -> Path:
    (folder / name).write_bytes(content)
    return folder / name
