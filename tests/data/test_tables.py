"""Tables of any dialect give their rows exactly; what is odd in one is told, with a way to read it otherwise."""

import csv
import io
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import delimited
from data.findings import find_table_problems
from data.gathering import gather
from data.reading import read_source
from data.settings import TableSettings

NAMES = ["prompt", "completion", "Note 1"]
LETTERS = st.characters(codec="utf-8", exclude_categories=("Cs",), exclude_characters="\0\r\ufeff")
WORDS = st.text(LETTERS, min_size=1, max_size=20).filter(lambda text: text.strip())
PLAIN = st.text(st.sampled_from("abc ,;\t|한국é\"'\\\n"), max_size=12).map(lambda text: f"x{text}")
PROPERTY = settings(deadline=None, max_examples=60, database=None)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")


def written(rows, **dialect) -> str:
    out = io.StringIO()
    csv.writer(out, **dialect).writerows(rows)
    return out.getvalue()


def read(folder, content: bytes, name: str = "a.csv", **settings):
    """The rows, and what gathering them found."""
    (folder / name).write_bytes(content)
    rows = list(read_source(str(folder / name), table=TableSettings(**settings)).rows)
    return rows, gather(read_source(str(folder / name), table=TableSettings(**settings)), folder)


@PROPERTY
@given(
    rows=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL)),
    end=st.sampled_from(("\n", "\r\n")),
    encoding=st.sampled_from(ENCODINGS),
)
def test_a_table_of_any_delimiter_quoting_and_encoding_is_read_exactly(
    tmp_path_factory, rows, delimiter, quoting, end, encoding
):
    text = written([NAMES, *rows], delimiter=delimiter, quoting=quoting, lineterminator=end)
    found, _ = read(tmp_path_factory.mktemp("table"), text.encode(encoding), keep_null_words=True)
    assert found == [dict(zip(NAMES, row, strict=True)) for row in rows]


@PROPERTY
@given(rows=st.lists(st.tuples(PLAIN, PLAIN, PLAIN), min_size=1, max_size=8), delimiter=st.sampled_from(",;\t|"))
def test_backslashed_quotation_marks_are_quotation_marks(tmp_path_factory, rows, delimiter):
    # one at the end of a cell could be the path "C:\dir\" as well
    rows = [[value.replace("\\", "").replace('"', '"q') for value in row] for row in rows]
    text = written([NAMES, *rows], delimiter=delimiter, quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\")
    found, _ = read(tmp_path_factory.mktemp("table"), text.encode())
    assert found == [dict(zip(NAMES, row, strict=True)) for row in rows]


@PROPERTY
@given(
    lines=st.lists(st.sampled_from(("good", "wide", "open", "stray")), min_size=1, max_size=30),
    delimiter=st.sampled_from(",;\t|"),
)
def test_broken_lines_cost_no_other_and_are_named_by_their_numbers(tmp_path_factory, lines, delimiter):
    kinds = {
        "good": lambda number: delimiter.join((f"Question {number}?", f'"Well, {delimiter} number {number}"', "")),
        "wide": lambda number: delimiter.join("abcd"),
        "open": lambda number: delimiter.join((f'"opened {number}', "never closed", "x")),
        "stray": lambda number: delimiter.join((f'"a" and "b{delimiter} c"', "d", "e")),
    }
    text = "\n".join([delimiter.join(NAMES), *(kinds[kind](number) for number, kind in enumerate(lines))])
    rows, found = read(tmp_path_factory.mktemp("table"), text.encode())
    good = [number for number, kind in enumerate(lines) if kind == "good"]
    assert [row["prompt"] for row in rows if row] == [f"Question {number}?" for number in good]
    assert [row["completion"] for row in rows if row] == [f"Well, {delimiter} number {number}" for number in good]
    named = [bad["where"] for bad in found.bad.first]
    assert named == [f"Line {number + 2}" for number, kind in enumerate(lines) if kind != "good"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("sep=;\r\nprompt;completion\r\na, b;c\r\n", [("a, b", "c")]),
        ('"sep=,"\nprompt,completion\na;b,c\n', [("a;b", "c")]),
        ("sep=\t\nprompt\tcompletion\na;b\tc\n", [("a;b", "c")]),
        ('prompt,completion\nWhat?,"Stop" is what he said.\n', [("What?", '"Stop" is what he said.')]),
        ('prompt,completion\n"""Stop""",A 5" pipe\n', [('"Stop"', 'A 5" pipe')]),
        ('prompt,completion\n"a \\"b\\"\nc","d"\n"e","C:\\dir\\"\n', [('a "b"\nc', "d"), ("e", "C:\\dir\\")]),
        ("prompt;completion\na;b, c\nd;e, f; g; h\ni; j; k\n", [("a", "b, c"), None, None]),
        ("prompt,completion,,\na,b,,\nc,d,,\n", [("a", "b"), ("c", "d")]),
        ("prompt,completion\na,b,,,\n,,\n\nc,d\n", [("a", "b"), ("c", "d")]),
    ],
)
def test_a_table_as_programs_write_it_gives_its_rows(tmp_path, text, rows):
    found, _ = read(tmp_path, text.encode())
    assert found == [dict(zip(NAMES[:2], row, strict=True)) if row else {} for row in rows]


@pytest.mark.parametrize(
    "rows",
    [
        [("질문", "답변"), ("서울은 어디에 있나요?", "대한민국의 수도입니다.")],
        [("질문", "답변"), ("안녕?", "네.")],
        [("question", "answer"), ("What is 김치?", "A dish of cabbage: 배추김치."), ("And rice?", "밥")],
    ],
)
def test_what_excel_saves_as_csv_in_korea_is_read(tmp_path, rows):
    found, _ = read(tmp_path, written(rows).encode("cp949"))
    assert [tuple(row.values()) for row in found] == rows[1:]


@pytest.mark.parametrize(
    ("text", "is_headless"),
    [
        ("How are you?,Fine.\nWho are you?,A bot.\n", True),
        ("1,I like it.\n2,I hate it.\n", True),
        ("spam,Buy now and win\nspam,Cheap watches\nham,See you at five\n", True),
        ("너는 누구니?,나는 로봇이야.\n뭐 하니?,놀아.\n", True),
        ("prompt,completion\nHow are you?,Fine.\n", False),
        ("What is it?,answer\nHow are you?,Fine.\n", False),
        ("Frage,Antwort\nWie geht's?,Gut.\n", False),
        (",0,1\n0,a,b\n", False),
    ],
)
def test_a_first_row_that_is_no_header_is_told_and_can_be_a_row(tmp_path, text, is_headless):
    _, found = read(tmp_path, text.encode())
    told = [item for item in find_table_problems(found.tables) if item["code"] == "header"]
    assert bool(told) == is_headless
    if told:
        rows, found = read(tmp_path, text.encode(), **told[0]["cure"]["changes"])
        assert [",".join(row.values()) for row in rows] == text.splitlines() and next(iter(rows[0])) == "column 1"
        assert not find_table_problems(found.tables)


@pytest.mark.parametrize(
    ("text", "rows", "told"),
    [
        ("My list,\nprompt,completion\na,b\nc,d\n", [("a", "b"), ("c", "d")], ["title"]),
        ("# exported\nprompt;completion\na;b, c\n", [("a", "b, c")], ["title"]),
        (
            "text\nOnce, in May.\nOn a hill; far away, a dog.\n",
            [("Once, in May.",), ("On a hill; far away, a dog.",)],
            [],
        ),
        ("prompt\ncompletion\n", [("completion",)], []),
    ],
)
def test_a_title_is_no_header_and_one_column_has_no_delimiter(tmp_path, text, rows, told):
    found, gathered = read(tmp_path, text.encode())
    assert [tuple(row.values()) for row in found] == rows
    assert [item["code"] for item in find_table_problems(gathered.tables)] == told


def test_words_that_stand_for_nothing_count_as_empty_and_can_be_kept(tmp_path):
    words = ["nan", "None", "null", "NaN", "N/A", "#REF!"]
    text = written(
        [("prompt", "completion"), *(("Say it", word) for word in words), ("No null here", "NA"), ("a", "none")]
    )
    rows, found = read(tmp_path, text.encode())
    assert [row["completion"] for row in rows] == [""] * len(words) + ["NA", "none"]
    (told,) = find_table_problems(found.tables)
    assert told["code"] == "null_words" and told["message"].startswith("6 cells of 'a.csv'")
    rows, found = read(tmp_path, text.encode(), **told["cure"]["changes"])
    assert [row["completion"] for row in rows] == [*words, "NA", "none"] and not find_table_problems(found.tables)


def test_a_table_in_which_each_line_opens_a_quotation_mark_takes_time_in_proportion(tmp_path, monkeypatch):
    monkeypatch.setattr(delimited, "MAX_AHEAD_CHARACTERS", 10**5)
    (tmp_path / "a.csv").write_text("a,b\n" + 'x","y\n' * 20_000 + "last,row\n")
    started = time.monotonic()
    records = list(delimited.delimited_records(tmp_path / "a.csv", "utf-8"))
    assert time.monotonic() - started < 20 and len(records) == 20_002 and records[-1] == (20_002, ["last", "row"])
