"""Files of every common kind and encoding give the same rows; Hub data sets that are not given get a sentence."""

import csv
import gzip
import io
import json

import pandas
import pyarrow
import pyarrow.parquet
import pytest

from common.errors import UserError
from data import conversations
from data.gathering import gather
from data.kinds import paste_suffix, suffix_of
from data.notices import name_bad
from data.reading import EXAMPLE_HELD_OUT, read_rows, read_source
from data.shapes import to_conversation
from data.tables import parquet_rows

ROWS = [
    {"질문": "서울은 어디에 있나요?", "답변": '대한민국의 수도, "서울"입니다.\n둘째 줄'},
    {"질문": "학교에서 무엇을 배우나요?", "답변": "국어와 수학을 배웁니다."},
]


ODD = [{"prompt": '한국어 🙂, "x"\n2', "completion": "NA"}, {"prompt": "b", "completion": "1"}]
TURNS = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
TRL = {"prompt": TURNS[:1], "completion": TURNS[1:]}


def texts(*found: str) -> list[dict]:
    return [{"text": text} for text in found]


def csv_of(rows, delimiter=",") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([rows[0], *map(dict.values, rows)])
    return out.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp949"])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".json", ".tsv", ".csv.gz", ".jsonl.gz"])
def test_every_encoding_gives_the_same_rows(tmp_path, suffix, encoding):
    text = {
        ".jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS),
        ".json": json.dumps(ROWS, ensure_ascii=False),
        ".csv": csv_of(ROWS),
        ".tsv": csv_of(ROWS, "\t"),
    }[suffix_of(f"a{suffix}")]
    content = text.encode(encoding)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    source = read_source(str(path))
    assert list(source.rows) == ROWS == source.head
    assert ("cp949" in " ".join(source.notes)) == (encoding == "cp949"), "a guess is told, what is sure is not"


def test_an_encoding_that_shows_late_in_the_file_is_found(tmp_path):
    path, late = tmp_path / "a.jsonl", {"prompt": "서울은 어디에 있나요?", "completion": "대한민국"}
    plain = b'{"prompt": "a", "completion": "b"}\n' * 50_000  # more than the first look takes in
    path.write_bytes(plain + json.dumps(late, ensure_ascii=False).encode("cp949"))
    assert read_rows(str(path))[-1] == late


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        *(("a.csv", csv_of(ROWS, delimiter), ROWS) for delimiter in ",;\t|"),
        ("one_column_keeps_its_commas.csv", 'text\n"One, two"\nthree\n', texts("One, two", "three")),
        ("odd.csv", pandas.DataFrame(ODD).to_csv(index=False), ODD),
        ("blank_lines.jsonl", "\n\n".join(map(json.dumps, ODD)), ODD),
        ("half_a_character.jsonl", '{"text": "a\\ud83d b \\ud83d\\ude42"}', texts("a\ufffd b 🙂")),
        ("rows_in_an_object.json", json.dumps({"version": 1, "rows": ODD}), ODD),
        ("columns.json", json.dumps({name: [row[name] for row in ODD] for name in ODD[0]}), ODD),
        *(
            (f"pandas_{way}.json", pandas.DataFrame(ODD).to_json(orient=way), ODD)
            for way in ("columns", "index", "split", "records")
        ),
        ("columns_of_turns.json", json.dumps({"messages": [TURNS, TURNS]}), [{"messages": TURNS}] * 2),
        ("lists_of_turns.json", json.dumps([TURNS, TURNS]), [{"messages": TURNS}] * 2),
        ("parts_of_lists.json", json.dumps({"train": [TURNS], "test": [TURNS]}), [{"messages": TURNS}]),
        ("one_talk.json", json.dumps(TURNS), [{"messages": TURNS}]),
        ("one_talk_in_an_object.json", json.dumps({"turns": TURNS, "id": 7}), [{"messages": TURNS}]),
        ("one_row.json", json.dumps({"messages": TURNS, "tools": [1, 2]}), [{"messages": TURNS, "tools": [1, 2]}]),
        ("one_row_of_trl.json", json.dumps(TRL), [TRL]),
        ("one_row_of_strings.json", '{"dialog": ["Hi", "Hello."]}', [{"dialog": ["Hi", "Hello."]}]),
        ("lines.ndjson", "\n".join(map(json.dumps, ODD)), ODD),
        ("array.jsonl", "\n" + json.dumps(ODD, indent=1), ODD),
        ("turns_alone.jsonl", f"{json.dumps(TURNS)}\n" * 2, [{"messages": TURNS}] * 2),
        (
            "headings_but_not_inside_code.md",
            "# One\n\ntext\n\n```\n# no heading\n```\n\n## Two\nmore\n",
            texts("# One\n\ntext\n\n```\n# no heading\n```", "## Two\nmore"),
        ),
    ],
)
def test_a_file_gives_its_rows(tmp_path, name, content, rows):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_rows(str(tmp_path / name)) == rows


def test_a_parquet_file_gives_its_rows(tmp_path):
    assert read_rows(str(parquet(tmp_path, **{name: [row[name] for row in ODD] for name in ODD[0]}))) == ODD


def test_a_text_is_cut_at_blank_lines_and_loses_no_word(tmp_path):
    paragraphs = [f"Paragraph {number}. " + "Words and words. " * 40 for number in range(12)]
    (tmp_path / "a.txt").write_text("\r\n\r\n".join(paragraphs), newline="")
    rows = read_rows(str(tmp_path / "a.txt"))
    assert 3 <= len(rows) <= 6
    assert "\n".join(row["text"] for row in rows).split() == " ".join(paragraphs).split()


def test_rows_in_a_text_file_are_told(tmp_path):
    (tmp_path / "a.txt").write_text('{"prompt": "Hi", "completion": "Hello."}\n')
    assert "looks like JSON lines" in " ".join(read_source(str(tmp_path / "a.txt")).notes)


def test_of_a_list_of_rows_the_first_are_read(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": str(number)}) for number in range(6)))
    assert [row["text"] for row in read_rows(str(tmp_path / "a.jsonl"), max_rows=5)] == list("01234")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", '{"text": "a"}\n\n{"text": \n{"text": "b"}', "Line 3: This line is not JSON"),
        (
            "a.jsonl",
            '{"text": "a"}\n{"text": "c\n{"text": "b"}',
            "Line 2: This line is not JSON: Invalid control character at: col",
        ),
        ("a.jsonl", '{"text": "a"}\n{\'text\': "c"}\n{"text": "b"}', "Line 2: This line is not JSON"),
        ("a.jsonl", '{"text": "a"}\n[1, 2]\n{"text": "b"}', "Line 2: It is not an object"),
        ("a.jsonl", '{"text": "a"}\n1\n{"text": "b"}', "Line 2: It is not an object"),
        ("a.json", '[{"text": "a"}, 5, {"text": "b"}]', "Row 2: It is not an object."),
        ("a.csv", "text;id\na;1\nc, d;e;2\nb;2\n", "Line 3: It has 3 values, but the header has 2"),
        ("a.csv", "text,id\na,1\nc,d,2\nb\n", "Line 3: It has 3 values, but the header has 2"),
        ("a.csv", 'text,id\na,1\n"c,2\nb,3\n', "Line 3: A quotation mark is in an odd place."),
        ("a.csv", 'text,id\na,1\n"c "d", e",2\nb,3\n', "Line 3: A quotation mark is in an odd place."),
        (
            "a.csv",
            'text,id\na,1\n"c "d".\n\nAnd, so",2\nb,3\n',
            "Line 3: A quotation mark is in an odd place, up to line 5.",
        ),
    ],
)
def test_a_line_that_cannot_be_read_is_a_bad_row_with_its_number(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    found = gather(read_source(str(tmp_path / name)), tmp_path)
    assert [row["text"] for row in found.conversations.part()] == ["a", "b"]
    assert found.bad.count == 1 and name_bad(found.bad.first).startswith(words)
    assert found.bad.first[0]["text"].strip()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b"[1, 2]", "not a list of objects"),
        ("a.jsonl", b"", "has no rows"),
        ("a.jsonl", b"\xff\xfe\x00", "not utf-16 text"),
        ("a.jsonl.gz", b"\x1f\x8b\x08 no", "damaged|not a"),
        ("a.jsonl.gz", gzip.compress(b"{}" * 5000, mtime=0)[:-20], "damaged"),
        ("a.json", b"{", "Is it JSON lines"),
        ("a.json", b"[1]", "not a list of objects"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.csv", b"", "has no rows"),
        ("a.csv", b"a,a\n1,2\n", "two columns called 'a'"),
        ("a.csv", b'a,"b\n1,2\n3,4\n', "line 1 is not a header. Is a quotation mark"),
        ("a.txt", b"\n \n", "has no rows"),
        ("a.txt", b"a\x00b" * 3, "NUL"),
        ("a.parquet", b"PAR1 no", "not a Parquet file"),
        ("a.xls", b"PK", "not a kind of file"),
        ("none.jsonl", None, "There is no file"),
        ("nobody/nothing", None, r"is not a file here, and the Hugging Face Hub cannot be reached"),
    ],
)
def test_what_cannot_be_read_says_what_is_wrong(tmp_path, monkeypatch, name, content, words):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_rows(name)


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ('{"prompt": "a", "completion": "b"}\n{"prompt": "c", "completion": "d"}', ".jsonl"),
        ('[{"text": "a"}]', ".json"),
        ('{\n "data": []\n}', ".json"),
        ("prompt\tcompletion\na\tb, c", ".tsv"),
        ("prompt,completion\na,b\n", ".csv"),
        ("prompt;completion\na;b, c\nd;e, f;\ng;h", ".csv"),
        ("sep=|\nprompt|completion\na|b", ".csv"),
        ("질문;답변\n가;나\n", ".csv"),
        ("Once upon a time, there was a llama.\nIt learned.", ".txt"),
        ("", ".txt"),
    ],
)
def test_a_pasted_text_gets_the_kind_that_it_is(text, suffix):
    assert paste_suffix(text) == suffix


def parquet(folder, **columns):
    file = folder / "rows.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:-20],
        lambda content: b"PAR1" + bytes(99) + b"PAR1",
        lambda content: content[:8] + b"\xff" * 30 + content[38:],
    ],
)
def test_a_damaged_parquet_is_a_sentence_without_a_librarys_words(tmp_path, spoil):
    file = parquet(tmp_path, text=["a", "b"] * 50)
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(UserError) as refused:
        list(parquet_rows(file))
    assert refused.value.message == "'rows.parquet' is damaged, or not a Parquet file."


def test_a_parquet_that_is_too_large_for_the_memory_is_a_sentence(tmp_path, monkeypatch):
    file = parquet(tmp_path, text=["a"])

    def iter_batches(self, batch_size):
        pyarrow.allocate_buffer(2**50)  # pyarrow's own error

    monkeypatch.setattr(pyarrow.parquet.ParquetFile, "iter_batches", iter_batches)
    with pytest.raises(UserError) as refused:
        list(parquet_rows(file))
    assert "needs more memory than there is" in refused.value.message and "alloc" not in str(refused.value)


def test_a_value_in_a_parquet_that_python_has_no_type_for_is_named(tmp_path):
    file = parquet(tmp_path, when=pyarrow.array([2**62], pyarrow.timestamp("us")))
    with pytest.raises(UserError, match="contains a value that Python has no type for"):
        list(parquet_rows(file))


def test_the_example_data_is_what_the_readme_says():
    train, held_out = read_rows("example"), read_rows(str(EXAMPLE_HELD_OUT))
    assert len(train) >= 200 and len(held_out) >= 20
    several_turns = sum(len(row["messages"]) > 2 for row in train + held_out)
    assert several_turns >= (len(train) + len(held_out)) / 3
    questions = [message["content"] for row in train + held_out for message in row["messages"][:1]]
    assert len(set(questions)) == len(questions), "a held-out question is trained"
    assert all(to_conversation(row) for row in train + held_out)


def test_a_row_of_a_table_that_never_ends_is_cut_off(tmp_path):
    file = tmp_path / "a.csv.gz"
    file.write_bytes(gzip.compress(b'a,b\n"x' + (b'","xy' * 200_000 + b"\n") * 20 + b"1,2\n"))
    rows = read_rows(str(file))
    assert rows[-1] == {"a": "1", "b": "2"} and all("quotation mark" in str(row.error) for row in rows[:-1])


def test_conversations_that_take_far_more_than_their_file_do_not_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(conversations, "MAX_BYTES", 2_000_000)
    file = tmp_path / "a.jsonl"
    file.write_text(('{"messages": [' + '"a","b",' * 20_000 + '"a","b"]}\n') * 5)
    with pytest.raises(UserError, match="on disk"):
        gather(read_source(str(file)), tmp_path)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("prompt,completion\nCafé?,Yes.\n", "cp1252"),
        ("prompt,completion\nnaïve,“It’s” – no\n", "cp1252"),
        ("prompt,completion\nПривет,Я и мир\n", "cp1251"),
        ("prompt,completion\n너는 누구니?,나는 로봇이야.\n", "cp949"),
    ],
)
def test_an_older_encoding_is_told_apart_by_a_few_letters(tmp_path, text, encoding):
    (tmp_path / "a.csv").write_bytes(text.encode(encoding))
    (row,) = read_rows(str(tmp_path / "a.csv"))
    assert list(row.values()) == text.splitlines()[1].split(",")
