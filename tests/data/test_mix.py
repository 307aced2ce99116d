"""Several data sets in one run, samples of rows by the seed, and the parts of one file."""

import json
import tracemalloc
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import UserError
from data import decoding, reading
from data.examine import build_report
from data.findings import CheckedBase
from data.intake import load_data, prepare
from data.reading import read_rows, read_source
from data.sampling import counts_of, draw
from data.settings import DataSettings
from tests.data.workbooks import xlsx

SIZES = st.lists(st.integers(1, 60), min_size=1, max_size=5)
SHARES = st.lists(st.sampled_from([0.01, 0.1, 0.25, 0.3, 0.7, 1.0, 3.0, 70.0]), min_size=5, max_size=5)
COLUMNS = '{"prompt": "frage", "completion": "antwort"}'


def rows_of(name: str, count: int, prompt: str = "prompt", completion: str = "completion") -> list[dict]:
    return [{prompt: f"{name} {number}", completion: "A"} for number in range(1, count + 1)]


@pytest.fixture
def mix(tmp_path):
    """Settings for files of these rows by name, with these shares."""

    def make(files: dict[str, list[dict]], shares: list[float] | None = None, **values) -> DataSettings:
        sets = []
        for name, rows in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text("\n".join(map(json.dumps, rows)))
            sets.append(f"{tmp_path / name}" + (f":{shares[len(sets)]}" if shares else ""))
        return DataSettings(data=", ".join(sets), **{"eval_fraction": 0.0, "max_length": 64, **values})

    return make


def said(prepared) -> list[str]:
    return [row["messages"][0]["content"] for row in prepared.train]


@settings(deadline=None)
@given(SIZES, SHARES, st.integers(0, 100))
def test_as_many_rows_are_taken_as_the_shares_allow(sizes, shares, most):
    shares = shares[: len(sizes)]
    counts, whole = counts_of(sizes, shares, most), sum(Fraction(str(share)) for share in shares)
    exact = [sum(counts) * Fraction(str(share)) / whole for share in shares]
    assert all(0 <= count <= size for count, size in zip(counts, sizes, strict=True))
    assert all(abs(count - share) <= 1 for count, share in zip(counts, exact, strict=True))
    one_more = (sum(counts) + 1) / whole
    is_used_up = any(Fraction(str(share)) * one_more > size for share, size in zip(shares, sizes, strict=True))
    assert is_used_up or sum(counts) == most, "more rows would do, too"
    assert counts_of(sizes, None) == sizes and sum(counts_of(sizes, None, most)) == min(sum(sizes), most or sum(sizes))


@settings(deadline=None)
@given(st.integers(0, 300), st.data())
def test_a_sample_has_so_many_rows_in_their_order_and_is_the_seeds(size, data):
    count = data.draw(st.integers(0, size))
    rows = [{"row": number} for number in range(1, size + 1)]
    drawn = list(draw(iter(rows), size, count, "1"))
    assert len(drawn) == count and drawn == sorted(drawn, key=lambda one: one[0]) == list(draw(rows, size, count, "1"))
    assert all(row == {"row": number} for number, row in drawn)
    if 10 < count < size - 10:
        assert drawn != list(draw(rows, size, count, "2"))


def test_every_row_is_as_likely_as_any_other():
    found = Counter(number for seed in range(2000) for number, _ in draw([{}] * 10, 10, 3, str(seed)))
    assert all(500 < found[number] < 700 for number in range(1, 11)), "600 of each are expected"


def test_a_sample_of_many_rows_holds_none_of_them():
    tracemalloc.start()
    count = sum(1 for _ in draw(repeat({"prompt": "Q"}), 200_000, 100_000, "1"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 100_000 and peak < 1_000_000, "100,000 rows with their numbers are 8 MB; other threads have some kB"


@pytest.mark.parametrize("seed", [1, 2])
def test_a_mix_has_the_rows_that_its_shares_promise_and_says_so(tmp_path, mix, seed):
    settings = mix(
        {"a.jsonl": rows_of("a", 120), "b.jsonl": rows_of("b", 30, "question", "answer")}, [0.7, 0.3], seed=seed
    )
    prepared, again = prepare(settings, tmp_path), prepare(settings, tmp_path)
    texts = said(prepared)
    assert Counter(text[0] for text in texts) == {"a": 70, "b": 30} and len(set(texts)) == 100
    assert texts == said(again) != said(prepare(replace(settings, seed=3), tmp_path))
    assert prepared.notes[0] == (
        "Read: 70 of 120 rows of a.jsonl, 30 of 30 rows of b.jsonl, as many as the shares allow, none twice."
    )


def test_without_shares_all_rows_are_read_and_max_rows_takes_the_same_part_of_each(tmp_path, mix):
    settings = mix({"a.jsonl": rows_of("a", 80), "b.jsonl": rows_of("b", 20)})
    whole, some = prepare(settings, tmp_path), prepare(replace(settings, max_rows=10), tmp_path)
    assert said(whole) == [f"{name} {n}" for name, count in (("a", 80), ("b", 20)) for n in range(1, count + 1)]
    assert Counter(text[0] for text in said(some)) == {"a": 8, "b": 2}


def test_a_row_of_a_mix_is_named_by_its_file(tmp_path, mix, tinyllama_tokenizer):
    long = {"prompt": "Q", "completion": "word " * 100}
    files = {"x/a.jsonl": [*rows_of("a", 4), {"x": 1}], "y/a.jsonl": [long, rows_of("a", 1)[0]]}
    settings = mix({**files, "c.jsonl": rows_of("c", 2)}, skip_bad_rows=True)
    base = CheckedBase("test/base", "for a test", 2048)
    report = json.loads(
        json.dumps(build_report(settings, tmp_path, tinyllama_tokenizer, base, 6, lambda sentence: None))
    )
    messages = " ".join(found["message"] for found in report["findings"])
    for words in (
        "Row 5 of a.jsonl (1): None of the known shapes",
        "row 1 of a.jsonl (2) (",
        "trained twice: row 2 of a.jsonl (2)",
    ):
        assert words in messages
    assert report["duplicates"] == {"count": 1, "rows": ["2 of a.jsonl (2)"]}
    shown = [f"{number} of {name}" for name in ("a.jsonl (1)", "a.jsonl (2)", "c.jsonl") for number in (1, 2)]
    assert [row["row"] for row in report["preview"]] == shown
    notes = load_data(settings, tmp_path, tinyllama_tokenizer).notes
    assert any("row 1 of a.jsonl (2)" in note for note in notes)


def test_each_part_of_a_mix_is_read_by_its_own_columns(tmp_path, mix, tinyllama_tokenizer):
    files = {"a.jsonl": rows_of("a", 3), "b.jsonl": rows_of("b", 3, "frage", "antwort")}
    assert len(said(prepare(mix(files, columns=COLUMNS), tmp_path))) == 6
    base = CheckedBase("test/base", "for a test", 2048)
    report = build_report(mix(files), tmp_path, tinyllama_tokenizer, base, 3, lambda sentence: None)
    assert report["findings"][0]["message"].startswith("b.jsonl: The columns are not recognised: frage, antwort.")
    assert report["sample_rows"] == ["1 of b.jsonl", "2 of b.jsonl", "3 of b.jsonl"] and report["columns"] == [
        "frage",
        "antwort",
    ]


def test_duplicates_are_found_and_rows_held_out_over_the_whole_mix(tmp_path, mix):
    files = {"a.jsonl": rows_of("x", 20), "b.jsonl": rows_of("x", 25)}
    prepared = prepare(mix(files, eval_fraction=0.2, drop_duplicates=True), tmp_path)
    assert prepared.duplicates.count == 20 and (len(prepared.train), len(prepared.held_out)) == (20, 5)


def test_the_example_is_part_of_a_mix(tmp_path, mix):
    settings = mix({"a.jsonl": rows_of("a", 20)})
    prepared = prepare(replace(settings, data=f"example, {settings.data}"), tmp_path)
    assert len(prepared.train) == 240 and not len(prepared.held_out)


def test_the_first_rows_of_a_mix_are_those_of_each(mix):
    settings = mix({"a.jsonl": rows_of("a", 5), "b.jsonl": rows_of("b", 5)}, [0.9, 0.1])
    assert [row["prompt"] for row in read_rows(settings.data, max_rows=2)] == ["a 1", "a 2", "b 1", "b 2"]


def test_max_rows_is_a_sample_with_the_numbers_of_the_file(tmp_path, mix, tinyllama_tokenizer):
    settings = mix({"a.jsonl": rows_of("a", 100)}, max_rows=10)
    prepared = prepare(settings, tmp_path)
    numbers = [row["row"] for row in prepared.train]
    assert said(prepared) == [f"a {number}" for number in numbers] == [f"a {number}" for number in sorted(numbers)]
    assert numbers != list(range(1, 11)) and prepared.data.numbers == numbers
    assert "10 of 100 rows of a.jsonl are read, picked at random by the seed (max_rows)." in prepared.notes
    base = CheckedBase("test/base", "for a test", 2048)
    report = build_report(settings, tmp_path, tinyllama_tokenizer, base, 3, lambda sentence: None)
    assert [row["row"] for row in report["preview"]] == numbers[:3]
    assert not prepare(replace(settings, max_rows=100), tmp_path).notes


def test_of_a_file_past_the_limits_rows_are_drawn_from_what_is_within(mix, monkeypatch):
    settings = mix({"a.jsonl": rows_of("a", 100)})
    monkeypatch.setattr(decoding, "MAX_LINES", 60)
    with pytest.raises(UserError, match="more than 60 lines"):
        list(read_source(settings.data).rows)
    source = read_source(settings.data, max_rows=20, seed=1)
    assert len(list(source.rows)) == 20
    assert source.notes == ["20 of the first 60 rows of a.jsonl are read, picked at random by the seed (max_rows)."]


PARTS = {"train": rows_of("t", 3), "validation": rows_of("v", 2), "test": rows_of("u", 1), "version": 1}


@pytest.fixture
def parts(tmp_path):
    def write(value: object) -> DataSettings:
        (tmp_path / "parts.json").write_text(json.dumps(value))
        return DataSettings(data=str(tmp_path / "parts.json"), eval_fraction=0.0)

    return write


def test_of_a_file_with_parts_train_is_trained_and_another_held_out_when_asked(tmp_path, parts, tinyllama_tokenizer):
    settings, base = parts(PARTS), CheckedBase("test/base", "for a test", 2048)
    report = build_report(settings, tmp_path, tinyllama_tokenizer, base, 3, lambda sentence: None)
    (found,) = [found for found in report["findings"] if found["code"] == "parts"]
    assert report["train_rows"] == 3 and "validation (2 rows), test (1 row)" in found["message"]
    prepared = prepare(replace(settings, **found["cure"]["changes"]), tmp_path)
    assert said(prepared) == ["t 1", "t 2", "t 3"] and len(prepared.held_out) == 2
    assert said(prepare(replace(settings, data_split="TEST"), tmp_path)) == ["u 1"]


@pytest.mark.parametrize(
    "value",
    [
        {"Training": PARTS["train"], "dev": PARTS["test"]},
        {"train": {"prompt": ["t 1", "t 2", "t 3"], "completion": ["A"] * 3}, "val": PARTS["test"]},
        {"train": PARTS["train"], "validation": []},
        {"train": PARTS["train"], "info": "nothing"},
    ],
)
def test_parts_are_known_in_any_case_as_rows_or_columns(tmp_path, parts, value):
    assert said(prepare(parts(value), tmp_path)) == ["t 1", "t 2", "t 3"]


def test_a_part_that_is_not_there_is_said_with_those_that_are(tmp_path, parts, mix):
    settings = parts({"validation": PARTS["validation"], "test": PARTS["test"]})
    with pytest.raises(UserError, match=r"no part 'train'\. Set data_split to one of: validation, test"):
        prepare(settings, tmp_path)
    with pytest.raises(UserError, match="has no parts"):
        prepare(mix({"a.jsonl": rows_of("a", 3)}, eval_split="validation"), tmp_path)


class Streamed:
    """A Hub data set that never ends."""

    size, is_streamed, splits, commit = None, True, {}, None

    def __init__(self, *asked) -> None:
        self.asked = asked

    def __iter__(self):
        number = 0
        while True:
            number += 1
            yield {"prompt": f"s {number}", "completion": "A"}


def test_of_a_stream_without_an_end_rows_are_drawn_from_its_beginning(tmp_path, mix, monkeypatch):
    monkeypatch.setattr(reading.hub_data, "HubSplit", Streamed)
    monkeypatch.setattr("data.source.STREAMED_ROWS", 50)
    settings = replace(mix({"a.jsonl": rows_of("a", 30)}), max_rows=20)
    alone = prepare(replace(settings, data="me/endless"), tmp_path)
    assert len(said(alone)) == 20 and alone.notes[0].startswith("20 of the first 70 rows of me/endless are read")
    mixed = prepare(replace(settings, data=f"me/endless@main:0.5, {settings.data}:0.5"), tmp_path)
    assert Counter(text[0] for text in said(mixed)) == {"s": 10, "a": 10}
    assert "10 of the first 70 rows of me/endless" in mixed.notes[0]


def test_the_sheet_that_is_asked_for_is_read_of_a_workbook_in_a_mix(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    rows = [("prompt", "completion"), ("c", "d")]
    (tmp_path / "k.xlsx").write_bytes(xlsx(("One", [("x",)]), ("Two", rows)))
    wanted = DataSettings(data=f"{tmp_path / 'a.jsonl'}, {tmp_path / 'k.xlsx'}", sheet="Two", eval_fraction=0.0)
    found = prepare(wanted, tmp_path)
    assert [row["messages"][0]["content"] for row in found.train] == ["a", "c"]
