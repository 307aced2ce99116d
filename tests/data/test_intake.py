"""From settings to encoded rows: what they say about bad, double and held-out rows, and stage 1's text."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy
import pytest

from common.errors import UserError
from common.paths import REPOSITORY
from data.conversations import Conversations
from data.dataset import IGNORED, Encoder
from data.intake import load_data, load_text, read_texts
from data.reading import read_rows
from data.split import duplicates_of, found_in, held_out_of
from models.templates import training_template
from tests.data.test_dataset import LONG, PAIR

QUESTION = {"question": "Q", "answer": "A"}
COLUMNS = '{"prompt": "frage", "completion": "antwort"}'
SHAPES = {
    "messages": {"messages": PAIR},
    "typed control tokens": {"prompt": "a</s><|assistant|>", "completion": "b</s>\n<|user|>\nc"},
    "prompt and completion": {"prompt": "Hi", "completion": "Hello."},
    "instruction": {"instruction": "Add", "input": "1, 2", "output": "3", "system": "Exact."},
    "sharegpt": {"conversations": [{"from": "human", "value": "한국어"}, {"from": "gpt", "value": "네 🙂"}]},
    "question": QUESTION,
    "mapped": {"frage": "Q", "antwort": "A"},
    "text": {"text": "Once upon a time </s> there was. " * 8},
    "long": {"messages": LONG},
}


@pytest.mark.parametrize("too_long", ["drop", "cut", "split"])
@pytest.mark.parametrize("name", SHAPES)
def test_the_preview_shows_exactly_the_ids_that_the_trainer_gets(
    tmp_path, tinyllama_tokenizer, data_settings, name, too_long
):
    columns = COLUMNS if name == "mapped" else ""
    rows = [SHAPES[name], *([] if columns else [SHAPES["messages"]])]
    settings = data_settings(rows, columns=columns, too_long=too_long)
    got = load_data(settings, tmp_path, tinyllama_tokenizer).train.rows
    encoder = Encoder(tinyllama_tokenizer, training_template(tinyllama_tokenizer), 64, too_long)
    pieces = [piece for row in read_rows(settings.data) for piece in encoder.preview(1, row, settings.mapping())]
    used = [piece for piece in pieces if piece["used"]]
    assert [piece["ids"] for piece in used] == [row["input_ids"] for row in got]
    assert [piece["trained"] for piece in used] == [[label != IGNORED for label in row["labels"]] for row in got]
    assert used


def test_bad_rows_are_named_by_number_and_stop_the_start(tmp_path, tinyllama_tokenizer, data_settings):
    settings = data_settings([QUESTION, {"x": 1}, {"prompt": "Q", "completion": ""}])
    with pytest.raises(UserError, match=r"2 of 3 rows cannot be used\. Row 2: .* Row 3: .*skip_bad_rows"):
        load_data(settings, tmp_path, tinyllama_tokenizer)
    data = load_data(replace(settings, skip_bad_rows=True), tmp_path, tinyllama_tokenizer)
    assert len(data.train.rows) == 1 and [note[:15] for note in data.notes] == ["Left out: Row 2", "Left out: Row 3"]
    with pytest.raises(UserError, match="1 of 1 row cannot"):
        load_data(data_settings([{"x": 1}], skip_bad_rows=True), tmp_path, tinyllama_tokenizer)


def test_row_numbers_are_those_of_the_file(tmp_path, tinyllama_tokenizer, data_settings):
    rows = [{"x": 1}, SHAPES["messages"], {"prompt": "Q", "completion": "word " * 200}]
    data = load_data(data_settings(rows, skip_bad_rows=True), tmp_path, tinyllama_tokenizer)
    assert data.train.too_long.first[0][0] == 3 and any("Row 1" in note for note in data.notes)


def test_columns_are_heeded(tmp_path, tinyllama_tokenizer, data_settings):
    settings = data_settings([{"frage": f"Q{number}", "antwort": "A"} for number in range(3)], columns=COLUMNS)
    assert len(load_data(settings, tmp_path, tinyllama_tokenizer).train.rows) == 3
    with pytest.raises(UserError, match="frage, antwort"):
        load_data(replace(settings, columns=""), tmp_path, tinyllama_tokenizer)


def test_duplicates_are_left_out_when_asked(tmp_path, tinyllama_tokenizer, data_settings):
    settings = data_settings([SHAPES["messages"], QUESTION, SHAPES["text"]])
    assert len(load_data(settings, tmp_path, tinyllama_tokenizer).train.rows) == 4
    data = load_data(replace(settings, drop_duplicates=True), tmp_path, tinyllama_tokenizer)
    assert len(data.train.rows) == 3 and any("says the same" in note for note in data.notes)


def test_rows_of_the_held_out_file_are_not_trained_when_duplicates_are_dropped(
    tmp_path, tinyllama_tokenizer, data_settings
):
    held_out = tmp_path / "held.jsonl"
    held_out.write_text(json.dumps(QUESTION))
    settings = data_settings([SHAPES["messages"], SHAPES["prompt and completion"]], eval_data=str(held_out))
    assert len(load_data(settings, tmp_path, tinyllama_tokenizer).train.rows) == 2
    assert len(load_data(replace(settings, drop_duplicates=True), tmp_path, tinyllama_tokenizer).train.rows) == 1


def test_max_rows_holds_for_the_data_the_held_out_file_and_the_text(tmp_path, tinyllama_tokenizer, data_settings):
    rows = [{"prompt": f"Q {n}", "completion": "A"} for n in range(9)]
    (tmp_path / "held_out.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "text.jsonl").write_text("\n".join(json.dumps({"text": f"Number {n}"}) for n in range(9)))
    files = {"eval_data": str(tmp_path / "held_out.jsonl"), "text_data": str(tmp_path / "text.jsonl")}
    settings = data_settings(rows, max_rows=2, **files)
    data = load_data(settings, tmp_path, tinyllama_tokenizer)
    assert (len(data.train.rows), len(data.held_out.rows)) == (2, 2)
    assert len(read_texts(settings, tmp_path).conversations) == 2


def test_the_text_of_stage_1_is_packed_and_loses_nothing(tmp_path, tinyllama_tokenizer, data_settings):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "text_data.txt").write_text("\n\n".join(f"Paragraph {n}. " + "word " * 400 for n in range(6)))
    settings = data_settings([], text_data="data/text_data.txt", eval_fraction=0.2)
    data = load_text(settings, tmp_path, tinyllama_tokenizer)
    assert all(len(row["input_ids"]) == 64 for row in list(data.train.rows)[:-1]) and data.held_out.rows
    tokens = [token for part in (data.train, data.held_out) for row in part.rows for token in row["input_ids"]]
    text = tinyllama_tokenizer.decode(tokens)
    assert all(f"Paragraph {number}." in text for number in range(6)) and text.count("word") == 2400
    assert data.train.rows[0]["labels"] == data.train.rows[0]["input_ids"]
    assert data.train.trained_tokens + data.held_out.trained_tokens == len(tokens)


def test_conversations_are_refused_as_text(tmp_path, tinyllama_tokenizer, data_settings):
    settings = data_settings([QUESTION])
    with pytest.raises(UserError, match="text_data must be plain text, but it has these columns: question, answer"):
        load_text(replace(settings, text_data=settings.data), tmp_path, tinyllama_tokenizer)


TEXTS = [f"text {number}" for number in range(50)]


def kept(folder, texts: list[str]) -> Conversations:
    found = Conversations(folder)
    for number, text in enumerate(texts, 1):
        found.append(number, {"text": text})
    return found


def split(folder, texts: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """(texts to train on, texts held out)."""
    found = kept(folder, texts)
    mask = held_out_of(found, numpy.ones(len(found), dtype=bool), fraction, seed)
    return tuple([row["text"] for row in found.part(part)] for part in (~mask, mask))


def test_the_split_is_the_seeds_whatever_the_order_of_the_rows(tmp_path):
    first, again, other = (split(tmp_path, TEXTS, 0.1, seed) for seed in (1, 1, 2))
    assert first == again != other and sorted(first[0] + first[1]) == sorted(TEXTS)
    assert sorted(split(tmp_path, TEXTS[::-1], 0.1, 1)[1]) == sorted(first[1])


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 0), (0.001, 1), (0.1, 5), (0.5, 25), (1.0, 49)])
def test_of_few_rows_as_many_are_held_out_as_asked_at_least_one_and_never_all(tmp_path, fraction, count):
    assert {len(split(tmp_path, TEXTS, fraction, seed)[1]) for seed in range(20)} == {count}


@pytest.mark.parametrize("fraction", [0.02, 0.5])
def test_of_many_rows_about_as_many_are_held_out_as_asked(tmp_path, monkeypatch, fraction):
    monkeypatch.setattr("data.split.MAX_COUNTED", 1000)
    many = [f"text {number}" for number in range(20_000)]
    assert len(split(tmp_path, many, fraction, 0)[1]) == pytest.approx(20_000 * fraction, rel=0.1)
    assert len(split(tmp_path, many[:2000], 1e-9, 0)[1]) == 1, "one at least"


def test_equal_rows_never_straddle_the_split(tmp_path):
    for seed in range(20):
        train, held_out = split(tmp_path, [text for text in TEXTS for _ in range(3)], 0.1, seed)
        assert len(held_out) == 15 and not set(train) & set(held_out)
        assert {len(part) for part in split(tmp_path, ["a"] * 3 + ["b"] * 2, 0.1, seed)} == {2, 3}
    assert split(tmp_path, ["a", "a"], 0.5, 0) == (["a", "a"], []), "of one text nothing is held out"


def test_duplicates_are_found_in_any_number_of_pieces(tmp_path, monkeypatch):
    found = kept(tmp_path, [f"text {number % 1000 if number < 2500 else number}" for number in range(3000)])
    whole = duplicates_of(found)
    assert numpy.flatnonzero(whole).tolist() == list(range(1000, 2500))
    monkeypatch.setattr("data.split.PIECE_HASHES", 100)
    monkeypatch.setattr("data.conversations.CHUNK_HASHES", 64)
    assert duplicates_of(found).tolist() == whole.tolist()
    other = kept(tmp_path, ["text 7"])
    assert [row["row"] for row in found.part(found_in(found, other))] == [8, 1008, 2008]


def test_conversations_are_read_back_whole_in_any_order(tmp_path, monkeypatch):
    monkeypatch.setattr("data.conversations.CHUNK_BYTES", 7)
    said = [f"Zeile {n}\n\u2028 ü 🙂" for n in range(100)]
    odd = kept(tmp_path, said).part(numpy.arange(100) % 2 == 1)
    assert list(odd) == [{"row": n, "text": said[n - 1]} for n in range(2, 101, 2)] and len(odd) == 50
    drawn = list(odd.sample(20))
    assert len({row["row"] for row in drawn}) == 20 and all(row in list(odd) for row in drawn)
    assert list(odd.sample(50)) == list(odd) and not list(tmp_path.iterdir()), "no file is left behind"


PREPARE = """
import sys, tempfile
from pathlib import Path
from data.intake import prepare
from data.settings import DataSettings
def peak() -> float:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
before = peak()
with tempfile.TemporaryDirectory() as folder:
    prepared = prepare(DataSettings(data=sys.argv[1]), Path(folder))
    assert len(prepared.train) > len(prepared.held_out) > 0
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")
def test_the_memory_of_reading_does_not_grow_with_the_rows(data_settings):
    def megabytes(count: int) -> float:
        """What reading and splitting `count` rows takes in a process of its own, above its imports."""
        rows = [{"prompt": f"What is {n}?", "completion": f"It is the number {n}. " * 8} for n in range(count)]
        command = [sys.executable, "-c", PREPARE, data_settings(rows).data]
        return float(subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout)

    assert megabytes(60_000) < megabytes(5_000) + 10, "a list of all rows would take 60 MB more"
