"""Broken files through the real reading and shapes: rows or a sentence, never another exception, in bounded memory."""

import gzip
import json
import random
import re
import subprocess
import sys
import textwrap

import pandas
import pytest

from common.errors import UserError
from common.paths import REPOSITORY
from data.columns import columns_of, guess_mapping, recognise
from data.gathering import gather
from data.kinds import KINDS, WORKBOOKS, paste_suffix
from data.notices import LEFT_OUT, describe, name_bad
from data.reading import read_rows, read_source
from data.source import Source
from tests.data.workbooks import excel_parts, ods_parts, ods_table, zipped

FILES, MANY_FILES = 500, 5000
SEED = 20260
VALUES = (
    *("text", "", " ", "한국어 🙂", "a\ud800b", "\ufeff", "\u0000", "</s>", '"', "{", "x" * 5000),
    *(None, True, 0, -1, 1e308, float("nan"), float("inf"), 10**400, [], {}, [[]], [None], [{}], [1, "a"]),
    [{"role": "user", "content": "Q"}, {"role": "assistant", "content": ""}],
    [{"role": "assistant", "content": None}, {"from": 5, "value": []}],
    [{"role": ["user"], "content": {"text": "x"}}],
    [{"content": [{"type": "text", "text": 5}, {"type": "image"}], "role": "assistant"}],
    [["Q", "A"], ["Q"]],
    [["Q", None], [5, []]],
    [{"role": "system", "content": "s"}, {"role": "tool", "content": None, "tool_calls": [{}]}, {"from": "human"}],
    [
        {"role": "assistant", "content": "A", "weight": "0"},
        {"role": "system", "content": 5},
        {"input": 1, "output": []},
    ],
    [
        {"role": "user", "content": [{"image": "x"}, "Q", {"type": []}]},
        {"role": "assistant", "content": {"parts": [1]}},
    ],
    {"role": ["user", "assistant"], "content": ["Q"]},
    {"role": ["user", "assistant"], "content": ["Q", "A"], "loss": [None, False]},
    {"messages": [{"role": "user", "content": "Q"}], "a": {"turns": {"chat": []}}},
    {"from": "gpt", "value": "A"},
    {"text": ["A", "a"], "answer_start": [0]},
    {"text": []},
    [{"name": "w", "arguments": {}}],
    "\n\nHuman: Q\n\nAssistant: A",
    "\n\nHuman: Q\n\nAssistant:",
    '[{"role": "user"',
    '[["Q", "A"]]',
    "[" * 3000,
)
NAMES = (
    *("prompt", "completion", "messages", "conversations", "text"),
    *("instruction", "output", "system", "", "frage", "\n"),
    *("chosen", "rejected", "label", "history", "context", "answers", "choices", "A", "B", "tools", "image", "body"),
)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp949", "shift_jis", "cp1252")
PYTHON = re.compile(r"\b(NoneType|dict|Traceback|bytes|bool)\b")  # no word of a sentence
RAW = (
    *(b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00" * 100, b"\xff" * 100),
    *(b"PAR1", b"\x1f\x8b", b"\n\n\n", b"null"),
)


def rows_of(chance: random.Random) -> list:
    """Rows of mixed types; now and then a row that is no row."""
    rows = []
    for _ in range(chance.randint(0, 8)):
        row = {name: chance.choice(VALUES) for name in chance.sample(NAMES, chance.randint(0, 6))}
        rows.append(chance.choice(VALUES) if chance.random() < 0.1 else row)
    return rows


def text_of(chance: random.Random) -> str:
    """Text that is nearly JSON lines, JSON, a table or prose."""
    rows = rows_of(chance)
    kind = chance.randrange(5)
    if kind == 0:
        return "\n".join(json.dumps(row) for row in rows)
    if kind == 1:
        return json.dumps(chance.choice((rows, {"data": rows}, {"a": rows, "b": rows}, *VALUES)))
    if kind == 2:
        cells = [[str(chance.choice(VALUES))[:50] for _ in range(chance.randint(1, 5))] for _ in range(5)]
        end = chance.choice(("", '"', '\n"a', "\r", "\r\n\n"))
        return "\n".join(chance.choice(",;\t|").join(row) for row in cells) + end
    if kind == 3:
        depth = chance.choice((10, 900, 2000, 200_000))
        lists = "[" * depth
        return chance.choice(('{"a":' * depth + "1" + "}" * depth, lists, f'[{{"text": {lists}{"]" * depth}}}]'))
    return "\n".join(str(chance.choice(VALUES))[:200] for _ in range(20))


def parquet_of(chance: random.Random, path) -> bytes:
    values = chance.choice(
        (["a", None], [1, 2], [b"\xff", b""], [["a"], []], [{"role": "user"}, None], [1.5, float("nan")])
    )
    names = chance.sample(("prompt", "completion", "text", "messages"), 2)
    pandas.DataFrame(dict.fromkeys(names, values)).to_parquet(path)
    return path.read_bytes()


def workbook_of(chance: random.Random) -> bytes:
    """A workbook with odd cells, each of its parts often damaged inside of the zip."""
    cells = [[chance.choice(("text", "a b", "42", "nan", "")) for _ in range(3)] for _ in range(4)]
    kinds = ("n", "s", "b", "e", "d", "str", "inlineStr", "?")
    places = ("", 'r="A1"', 'r="C9"', 'r="XFD1048576"', 'r="Ä1"', 's="7"')
    values = ("0", "1", "-1", "1e400", "x", "", "99999999")
    cell = "<c {} t='{}'><f>1+1</f><v>{}</v><is><t>{}</t></is></c>"
    rows = "".join(
        f"<row>{''.join(cell.format(*map(chance.choice, (places, kinds, values)), text) for text in row)}</row>"
        for row in cells
    )
    if chance.random() < 0.5:
        parts = excel_parts(f"<sheetData>{rows}</sheetData>", "<si><t>a_x0000__xD800_</t></si><si/>")
    else:
        repeats = ("1", "0", "-1", "x", "3", "4000000000")
        told = f'office:value-type="{chance.choice(("float", "string", "date", "boolean"))}"'
        table = ods_table("S", cells).replace('office:value-type="string"', told, chance.randint(0, 3))
        parts = ods_parts(table.replace("<text:p>", f'<text:s text:c="{chance.choice(repeats)}"/><text:p>'))
    whole = {name: content if isinstance(content, bytes) else content.encode() for name, content in parts.items()}
    return zipped({name: damaged(chance, part) if chance.random() < 0.2 else part for name, part in whole.items()})


def damaged(chance: random.Random, content: bytes) -> bytes:
    """The same bytes, often cut short or with some of them changed."""
    for _ in range(chance.choice((0, 0, 1, 2))):
        if content and chance.random() < 0.5:
            content = content[: chance.randrange(len(content))]
        elif content:
            place = chance.randrange(len(content))
            content = content[:place] + chance.randbytes(chance.randint(1, 8)) + content[place + chance.randint(0, 8) :]
    return content


def broken_file(chance: random.Random, folder, number: int):
    suffix = chance.choice(KINDS)
    if chance.random() < 0.1:
        content = chance.choice((*RAW, chance.randbytes(300)))
    elif suffix == ".parquet" and chance.random() < 0.8:
        content = damaged(chance, parquet_of(chance, folder / "whole.parquet"))
    elif suffix in WORKBOOKS and chance.random() < 0.9:
        content = workbook_of(chance) if chance.random() < 0.7 else damaged(chance, workbook_of(chance))
    else:
        content = damaged(chance, text_of(chance).encode(chance.choice(ENCODINGS), "replace"))
    if chance.random() < 0.2:
        suffix += ".gz"
        content = content if chance.random() < 0.2 else damaged(chance, gzip.compress(content, mtime=0))
    path = folder / f"{number}{suffix}"
    path.write_bytes(content)
    return path


def test_broken_files_give_rows_or_a_sentence(tmp_path, sample):
    chance, read, refused = random.Random(SEED), 0, 0
    files = sample(MANY_FILES, FILES)
    for number in range(files):
        path = broken_file(chance, tmp_path, number)
        try:
            rows = read_rows(str(path), max_rows=chance.choice((0, 0, 2)))
        except UserError as error:
            assert str(error) and len(str(error)) < 600 and "Traceback" not in str(error), path
            str(error).encode()
            refused += 1
            continue
        assert rows and all(isinstance(row, dict) for row in rows), path
        found = gather(Source.of(enumerate(rows, 1), []), tmp_path, recognise(rows))
        conversations, bad = list(found.conversations.part()), found.bad
        left_out = sum(rows for (_, name), rows in found.noticed.items() if name == LEFT_OUT)
        assert len(conversations) + bad.count + left_out == len(rows) and found.empty_answers.count <= bad.count, path
        sentences = [sentence for _, _, sentence in describe(found.noticed)]
        assert not PYTHON.search(" ".join([name_bad(bad.first), *sentences])), path
        json.dumps(
            [conversations, bad.first, sentences, columns_of(rows), guess_mapping(rows)], ensure_ascii=False
        ).encode()
        read += 1
    assert min(read, refused) > files / 5, (read, refused)


def test_any_pasted_text_gets_a_kind():
    chance = random.Random(SEED)
    for _ in range(300):
        assert paste_suffix(text_of(chance)) in KINDS


READ = """
import json, resource, sys, time
from pathlib import Path
from common.errors import UserError
from data import decoding
from data.reading import read_source
decoding.MAX_BYTES = 256 * 2**20  # the limit itself is 4 GB, which takes long to write
import charset_normalizer, csv
if sys.argv[1].endswith("parquet"):
    import pyarrow.parquet
def peak() -> float:  # getrusage would count the parent's memory from before exec
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
pages = int(Path("/proc/self/statm").read_text().split()[0])
before = peak()
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 1_200_000_000,) * 2)
start = time.process_time()
try:
    answer = f"{sum(1 for _ in read_source(sys.argv[1], max_rows=int(sys.argv[2])).rows)} rows"
except UserError as error:
    answer = str(error)
print(json.dumps({"answer": answer, "megabytes": peak() - before, "seconds": time.process_time() - start}))
"""


def read_bounded(path, max_rows: int = 0) -> dict:
    """What reading `path` says in a process with 1.2 GB for it, the megabytes that it took, and its seconds."""
    command = [sys.executable, "-c", textwrap.dedent(READ), str(path), str(max_rows)]
    result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-1000:]
    return json.loads(result.stdout)


def repeated(path, content: bytes | None, times: int):
    """A file of so many times `content`, gzipped by its name; of so many zeros without one."""
    with gzip.open(path, "wb", compresslevel=1) if path.suffix == ".gz" else open(path, "wb") as file:
        if content is None:
            file.truncate(times)
        for _ in range(times if content else 0):
            file.write(content)
    return path


MEGABYTE, TWO_GIGABYTES = 2**20, 2 * 2**30


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")
@pytest.mark.parametrize(
    ("name", "content", "times", "words", "most_megabytes"),
    [
        ("a.jsonl", None, TWO_GIGABYTES, "longer than 8 MB", 100),
        ("a.csv", None, TWO_GIGABYTES, "longer than 8 MB", 100),
        ("a.json", None, TWO_GIGABYTES, "larger than 64 MB", 200),
        ("a.parquet", None, TWO_GIGABYTES, "not a Parquet file", 100),
        ("b.jsonl", b"a" * MEGABYTE, 100, "longer than 8 MB", 100),
        ("b.csv", b"a" * MEGABYTE, 100, "longer than 8 MB", 100),
        ("c.csv", b"a,", 10**6, "columns", 300),
        ("c.tsv", b"a\t", 10**6, "columns", 300),
        ("b.json", b"[" * MEGABYTE, 5, "nested too deeply", 200),
        ("c.json", b"[" * MEGABYTE, 30, "lists and objects", 200),
        ("c.jsonl", b'{"a": [' + b"[]," * 10**6 + b"1]}\n", 20, "20 rows", 600),
        ("d.jsonl.gz", b"\n" * MEGABYTE, 20, "more than 20,000,000 lines", 100),
        ("e.jsonl.gz", b" " * (MEGABYTE - 1) + b"\n", 300, "more than 256 MB", 100),
        ("d.json.gz", b" " * MEGABYTE, 300, "larger than 64 MB", 200),
        ("d.csv.gz", b'"' + b"a\n" * (MEGABYTE // 2), 300, "not a table", 200),
        ("f.jsonl", b"{}\n", 1_200_000, "1200000 rows", 20),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hostile_file_is_refused_in_bounded_memory(tmp_path, name, content, times, words, most_megabytes):
    told = read_bounded(repeated(tmp_path / name, content, times))
    assert words in told["answer"]
    assert told["megabytes"] < most_megabytes and told["seconds"] < 30, told


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")
def test_of_a_large_file_a_sample_of_what_is_within_the_limit_is_read(tmp_path):
    row = b'{"prompt": "a", "completion": "' + b"b" * 990 + b'"}\n'
    path = repeated(tmp_path / "a.jsonl", row * 1024, 300)
    assert "more than 256 MB" in read_bounded(path)["answer"]
    told = read_bounded(path, max_rows=50)
    assert told["answer"] == "50 rows" and told["megabytes"] < 100


def test_a_million_columns_in_an_object_are_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("{" + ",".join(f'"{number}":1' for number in range(500_000)) + "}")
    with pytest.raises(UserError, match="500,000 columns"):
        read_source(str(path))  # the first rows are read at once
