"""Workbooks give the cells of one sheet as the text that they show; what is none is refused in a sentence."""

import datetime
import gzip

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

from common.errors import UserError
from data.findings import find_table_problems
from data.reading import read_rows, read_source
from data.settings import TableSettings
from tests.data.workbooks import excel_parts, ods, ods_parts, ods_table, rows_of, saved, xlsx, zipped

NAMES = ["prompt", "completion", "Note 1"]
LETTERS = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
WORDS = st.text(st.one_of(LETTERS, st.sampled_from("\n\t _x0041_")), min_size=1, max_size=20).filter(
    lambda text: text.strip() and text[0] not in "=" and not ILLEGAL_CHARACTERS_RE.search(text)
)
NUMBERS = st.one_of(st.integers(-(10**14), 10**14), st.booleans())
TWO = ("prompt", "completion")


@given(rows=st.lists(st.tuples(WORDS, st.one_of(WORDS, NUMBERS), WORDS), min_size=1, max_size=6))
def test_what_openpyxl_writes_is_read_exactly(tmp_path_factory, rows):
    path = saved(tmp_path_factory.mktemp("book"), xlsx(("S", [NAMES, *rows])), "a.xlsx")
    found = read_source(str(path), table=TableSettings(keep_null_words=True)).rows
    shown = [[str(cell).upper() if isinstance(cell, bool) else str(cell) for cell in row] for row in rows]
    assert list(found) == [dict(zip(NAMES, row, strict=True)) for row in shown]


@given(rows=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=6))
def test_what_is_in_an_ods_is_read_exactly(tmp_path_factory, rows):
    path = saved(tmp_path_factory.mktemp("book"), ods(("S", [NAMES, *rows])), "a.ods")
    found = read_source(str(path), table=TableSettings(keep_null_words=True)).rows
    assert list(found) == [dict(zip(NAMES, row, strict=True)) for row in rows]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (42, "42"),
        (42.0, "42"),
        (42.5, "42.5"),
        (0.1 + 0.2, "0.3"),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (datetime.datetime(2024, 2, 29, 13, 5), "2024-02-29 13:05:00"),
        (datetime.time(13, 5), "13:05:00"),
        (datetime.timedelta(hours=30), "30:00:00"),
        (True, "TRUE"),
        ("line\nbreak ", "line\nbreak "),
        ("한국어 🙂", "한국어 🙂"),
        (None, ""),
        ("#N/A", ""),
        ("nan", ""),
        ("=1+1", ""),
    ],
)
def test_a_cell_of_excel_is_the_text_that_it_shows(tmp_path, value, text):
    path = saved(tmp_path, xlsx(("S", [TWO, (value, "b")])), "a.xlsx")
    assert read_rows(str(path)) == [{"prompt": text, "completion": "b"}]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (
            '<table:table-cell office:value-type="float" office:value="42"><text:p>42,00 kg</text:p></table:table-cell>',
            "42",
        ),
        ('<table:table-cell office:value-type="float" office:value="0.30000000000000004"/>', "0.3"),
        ('<table:table-cell office:value-type="date" office:date-value="2024-02-29"/>', "2024-02-29"),
        ('<table:table-cell office:value-type="date" office:date-value="2024-02-29T13:05:00"/>', "2024-02-29 13:05:00"),
        ('<table:table-cell office:value-type="boolean" office:boolean-value="true"/>', "TRUE"),
        (
            '<table:table-cell office:value-type="string"><office:annotation><text:p>a note</text:p></office:annotation>'
            "<text:p>a<text:s text:c='2'/><text:span>b</text:span><text:line-break/>c</text:p><text:p>d</text:p>"
            "</table:table-cell>",
            "a  b\nc\nd",
        ),
        (
            '<table:table-cell office:value-type="string" calcext:value-type="error" office:string-value="">'
            "<text:p>Err:508</text:p></table:table-cell>",
            "",
        ),
        ("<table:covered-table-cell/>", ""),
    ],
)
def test_a_cell_of_an_ods_is_the_text_that_it_shows(tmp_path, cell, text):
    last = '<table:table-cell office:value-type="string"><text:p>b</text:p></table:table-cell>'
    empty = '<table:table-cell table:number-columns-repeated="16382"/></table:table-row>'
    empty += '<table:table-row table:number-rows-repeated="1048574"><table:table-cell/></table:table-row>'
    table = ods_table("S", [TWO]).replace("</table:table>", f"<table:table-row>{cell}{last}{empty}</table:table>")
    path = saved(tmp_path, zipped(ods_parts(table)), "a.ods")
    assert read_rows(str(path)) == [{"prompt": text, "completion": "b"}]


@pytest.mark.parametrize("write", [xlsx, ods], ids=["xlsx", "ods"])
def test_of_several_sheets_the_first_is_read_and_the_others_are_offered(tmp_path, write):
    rows = [[TWO, (f"a{number}", "b")] for number in range(2)]
    path = saved(tmp_path, write(("One", rows[0]), ("Two", rows[1])), "a.xlsx.gz")
    path.write_bytes(gzip.compress(path.read_bytes()))
    source = read_source(str(path))
    assert list(source.rows) == [{"prompt": "a0", "completion": "b"}]
    (told,) = find_table_problems(source.tables)
    assert told["message"] == "Only the sheet 'One' of 'a.xlsx.gz' is read, not 'Two'."
    source = read_source(str(path), table=TableSettings(**told["cure"]["changes"]))
    assert list(source.rows) == [{"prompt": "a1", "completion": "b"}] and not find_table_problems(source.tables)
    with pytest.raises(UserError, match=r"no sheet 'Three'\. Set sheet to one of: 'One', 'Two'"):
        read_source(str(path), table=TableSettings(sheet="Three"))


def test_a_hidden_sheet_and_a_chart_are_not_the_first(tmp_path):
    book = openpyxl.Workbook()
    book.active.sheet_state = "hidden"
    book.create_chartsheet("Chart")
    sheet = book.create_sheet("Shown")
    sheet.append(TWO)
    sheet.append(("a", "b"))
    book.save(tmp_path / "a.xlsx")
    source = read_source(str(tmp_path / "a.xlsx"))
    assert list(source.rows) == [{"prompt": "a", "completion": "b"}]
    (table,) = source.tables
    assert (table.sheet, table.other_sheets) == ("Shown", ["Sheet"])


def test_cells_are_found_wherever_they_are_and_empty_ones_are_nothing(tmp_path):
    rows = '<row r="3"><c r="B3" t="inlineStr"><is><t>prompt</t></is></c><c r="C3" t="str"><f>A1</f><v>completion</v></c></row>'
    rows += '<row r="900000"><c r="B900000" t="s"><v>0</v></c><c r="C900000"><v>1</v></c><c r="XFD900000" s="9"/></row>'
    rows += '<row><c/><c t="s"><v>1</v></c><c t="e"><v>#REF!</v></c><c t="n"><f>1+1</f></c></row><row r="1048576"/>'
    strings = "<si><r><t>_x005F_x0041_a_x000D_</t></r><r><t xml:space='preserve'> b</t></r>"
    strings += "<rPh sb='0' eb='1'><t>no</t></rPh></si><si><t>c</t></si>"
    sheet = f'<dimension ref="A1:XFD1048576"/><sheetData>{rows}</sheetData><mergeCells><mergeCell ref="A1:XFD9"/></mergeCells>'
    path = saved(tmp_path, zipped(excel_parts(sheet, strings)), "a.xlsx")
    source = read_source(str(path))
    assert list(source.rows) == [
        {"column 1": "", "prompt": "_x0041_a\r b", "completion": "1"},
        {"column 1": "", "prompt": "c", "completion": ""},
    ]
    assert [item["message"][:40] for item in find_table_problems(source.tables)] == [
        "1 cell of 'a.xlsx' says nan, None, null ",
        "1 cell of 'a.xlsx' has a formula but no ",
    ]


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
LAUGHS = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
LOCKED = "<manifest:file-entry><manifest:encryption-data/></manifest:file-entry>"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK", "'a.xlsx' is damaged, or not a workbook. Save it again"),
        (b"", "is damaged, or not a workbook"),
        (OLE, "an old Excel file .* or locked with a password"),
        (zipped({"word/document.xml": "<a/>"}), "is damaged, or not a workbook"),
        (zipped(ods_parts("")), "has no sheets"),
        (zipped({**ods_parts(""), "META-INF/manifest.xml": f"<m>{LOCKED}</m>"}), "locked with a password"),
        (zipped({**excel_parts(""), "xl/sheet.xml": f"{LAUGHS}<worksheet>&b;</worksheet>"}), "is damaged"),
        (zipped({**excel_parts(""), "xl/sheet.xml": "<worksheet><sheetData><row>"}), "is damaged|has no rows"),
        (rows_of(""), "has no rows"),
        (rows_of('<row><c t="s"><v>7</v></c></row>'), "is damaged"),
        (rows_of('<row><c r="ABCD1"><v>7</v></c></row>'), "is damaged"),
        (rows_of('<row><c r="XFD1"><v>7</v></c></row>'), "has 16,384 columns; the limit is 2,000"),
        (rows_of("<row><c><v>1</v></c><c><v>1</v></c></row>"), "two columns called '1'"),
    ],
)
def test_what_is_no_workbook_says_what_it_is(tmp_path, content, words):
    with pytest.raises(UserError, match=words):
        read_rows(str(saved(tmp_path, content, "a.xlsx")))
