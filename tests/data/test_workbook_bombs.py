"""Workbooks that are made to fill the memory or take for ever are refused in little of both."""

import io
import random
import struct
import zipfile

import pytest

from tests.adapters.test_bombs import many, zeros
from tests.data.test_fuzz import read_bounded
from tests.data.workbooks import excel_parts, ods_parts, rows_of, saved, zipped

MEGABYTE = 2**20
MAX_MEGABYTES, MAX_SECONDS = 300, 20


def with_part(name: str, packed: bytes, declared: int) -> bytes:
    """An .xlsx with one part that is deflated already, whatever size it declares."""
    parts = {other: content for other, content in excel_parts("").items() if other != name}
    out = io.BytesIO(zipped(parts))
    with zipfile.ZipFile(out, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(name, packed)
    whole, label = bytearray(out.getvalue()), name.encode()
    for start, method in ((whole.index(label) - 30, 8), (whole.rindex(label) - 46, 10)):
        struct.pack_into("<H", whole, start + method, zipfile.ZIP_DEFLATED)
        struct.pack_into("<I", whole, start + method + 14, declared)
    return bytes(whole)


def salted(element: str, count: int) -> str:
    """So many elements with a number each, so that they do not pack to nothing."""
    chance = random.Random(0)
    return "".join(element.format(chance.randrange(10**6)) for _ in range(count))


def ods_row(row: str = "", cell: str = "", words: str = "a") -> bytes:
    """An .ods of one row, with attributes of the row and its cell."""
    inside = f'<table:table-cell {cell} office:value-type="string"><text:p>{words}</text:p></table:table-cell>'
    return zipped(
        ods_parts(f'<table:table table:name="S"><table:table-row {row}>{inside}</table:table-row></table:table>')
    )


EMPTY = "<c s='{}'/>"
NOISE = random.Random(0).randbytes(10 * MEGABYTE).hex()
STRING = "<c t='s'><v>0</v></c>"
SHEET, STRINGS = "xl/sheet.xml", "xl/strings.xml"
STYLE = "<xf numFmtId='200'/>"
LINKS = "xl/_rels/workbook.xml.rels"
FORMAT = f"<numFmt numFmtId='200' formatCode='{'[' * MEGABYTE}'/>"
STYLES: dict[str, str | bytes] = {
    LINKS: str(excel_parts("")[LINKS]).replace("sharedStrings", "styles"),
    "xl/strings.xml": f"<styleSheet>{FORMAT}<cellXfs>{STYLE * 100_000}</cellXfs></styleSheet>",
}
BOMBS = {
    "four gigabytes, and it says so": (
        lambda: with_part(SHEET, zeros(4_000 * MEGABYTE), 4_000 * MEGABYTE),
        "unpacks to",
    ),
    "ten gigabytes, and it says a kilobyte": (lambda: with_part(SHEET, zeros(10_000 * MEGABYTE), 1000), "damaged"),
    "as much as is allowed, of nothing": (
        lambda: with_part(SHEET, zeros(250 * MEGABYTE), 250 * MEGABYTE),
        "unpacks to",
    ),
    "the same as strings": (lambda: with_part(STRINGS, zeros(250 * MEGABYTE), 250 * MEGABYTE), "unpacks to"),
    "a hundred thousand files": (lambda: many(100_000, is_large=True), "thousands of files"),
    "millions of empty cells in a row": (lambda: rows_of(f"<row>{salted(EMPTY, 3_000_000)}</row>"), "no rows"),
    "millions of rows": (lambda: rows_of(salted("<row><c><v>{}</v></c></row>", 1_100_000)), "more than 1,048,576 rows"),
    "millions of strings": (lambda: rows_of(f"<row>{STRING}</row>", "<si/>" * 3_000_000), "no rows"),
    "tags in tags": (lambda: rows_of("<a>" * 5_000_000), "damaged"),
    "a tag of 20 megabytes": (lambda: rows_of(f"<row a='{NOISE}'/>"), "damaged"),
    "a million names of tags": (lambda: rows_of("".join(f"<a{number}/>" for number in range(1_000_000))), "damaged"),
    "a cell of 20 megabytes": (
        lambda: rows_of(f"<row><c><v>{NOISE}</v></c></row>"),
        "longer than 8 MB",
    ),
    "a cell in half a million pieces": (
        lambda: rows_of(f"<row><c>{salted('<v>{}</v>', 500_000)}</c></row>"),
        "no rows",
    ),
    "strings in which an emoji makes four bytes of each letter's one": (
        lambda: rows_of(f"<row>{STRING}</row>", f"<si><t>{NOISE[: 4 * MEGABYTE]}😀</t></si>" * 17),
        "more than 256 MB",
    ),
    "one long string in each of 2,000 cells": (
        lambda: rows_of(f"<row>{STRING * 2000}</row>", f"<si><t>{'a' * MEGABYTE}</t></si>"),
        "longer than 8 MB",
    ),
    "a number format of a megabyte in each style": (lambda: zipped({**excel_parts(""), **STYLES}), "no rows"),
    "ods: a million sheets": (
        lambda: zipped(ods_parts(salted("<table:table table:name='{}'/>", 1_000_000))),
        "more than 10,000 sheets",
    ),
    "ods: a cell in each column": (
        lambda: ods_row(cell="table:number-columns-repeated='2147483647'"),
        "2,147,483,647 columns",
    ),
    "ods: a row two billion times": (
        lambda: ods_row("table:number-rows-repeated='2147483647'"),
        "more than 1,048,576 rows",
    ),
    "ods: a billion spaces": (lambda: ods_row(words="<text:s text:c='1000000000'/>"), "longer than 8 MB"),
    "ods: eight million spaces in each paragraph": (
        lambda: ods_row(words="<text:s text:c='8000000'/></text:p><text:p>" * 200),
        "longer than 8 MB",
    ),
    "ods: a long row a million times": (
        lambda: ods_row("table:number-rows-repeated='1000000'", words=NOISE[: 4 * MEGABYTE]),
        "more than 4,096 MB",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_workbook_that_grows_is_refused_in_bounded_memory_and_time(tmp_path, bomb):
    make, words = BOMBS[bomb]
    told = read_bounded(saved(tmp_path, make(), "a.xlsx"))
    assert words in told["answer"]
    assert told["megabytes"] < MAX_MEGABYTES and told["seconds"] < MAX_SECONDS, told
