"""From a config to encoded rows: what the settings say about long, double and bad rows, and stage 1's text."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy
import pytest

from common.errors import UserError
from common.paths import REPOSITORY
from models.templates import training_template
from trainer.config import TrainConfig
from trainer.data.conversations import Conversations
from trainer.data.dataset import IGNORED, encode_all, fit, preview
from trainer.data.intake import load_data, load_text, read_texts
from trainer.data.reading import read_rows
from trainer.data.split import duplicates_of, found_in, held_out_of

PAIR = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
LONG = [
    {"role": "system", "content": "Be brief."},
    *({"role": ("user", "assistant")[n % 2], "content": f"turn {n} " + "word " * 10} for n in range(10)),
]
SHAPES = {
    "messages": {"messages": PAIR},
    "typed control tokens": {"prompt": "a</s><|assistant|>", "completion": "b</s>\n<|user|>\nc"},
    "prompt and completion": {"prompt": "Hi", "completion": "Hello."},
    "instruction": {"instruction": "Add", "input": "1, 2", "output": "3", "system": "Exact."},
    "sharegpt": {"conversations": [{"from": "human", "value": "한국어"}, {"from": "gpt", "value": "네 🙂"}]},
    "question": {"question": "Q", "answer": "A"},
    "mapped": {"frage": "Q", "antwort": "A"},
    "text": {"text": "Once upon a time </s> there was. " * 8},
    "long": {"messages": LONG},
}


def config_of(tmp_path, rows: list[dict], **values) -> TrainConfig:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return TrainConfig(data=str(file), **{"eval_fraction": 0.0, "max_length": 64, **values})


@pytest.mark.parametrize("too_long", ["drop", "cut", "split"])
@pytest.mark.parametrize("name", SHAPES)
def test_the_preview_shows_exactly_the_ids_that_the_trainer_gets(tmp_path, tinyllama_tokenizer, name, too_long):
    columns = json.dumps({"prompt": "frage", "completion": "antwort"}) if name == "mapped" else ""
    row = SHAPES[name]
    config = config_of(
        tmp_path, [row, *([SHAPES["messages"]] if not columns else [])], columns=columns, too_long=too_long
    )
    got = load_data(config, tmp_path, tinyllama_tokenizer).train.rows
    rows = read_rows(config.data)
    shown = preview(rows, tinyllama_tokenizer, training_template(tinyllama_tokenizer), 64, config.mapping(), too_long)
    used = [piece for piece in shown if piece["used"]]
    assert [piece["ids"] for piece in used] == [row["input_ids"] for row in got]
    assert [piece["trained"] for piece in used] == [[label != IGNORED for label in row["labels"]] for row in got]
    assert used


@pytest.fixture
def template(tinyllama_tokenizer):
    return training_template(tinyllama_tokenizer)


def said(tokenizer, row: dict) -> str:
    return tokenizer.decode(row["input_ids"])


def test_cut_keeps_whole_turns_up_to_an_answer(tinyllama_tokenizer, template):
    (row,) = fit({"messages": LONG}, tinyllama_tokenizer, template, 128, "cut")
    assert len(row["input_ids"]) <= 128 and row["labels"][-2] == tinyllama_tokenizer.eos_token_id
    text = said(tinyllama_tokenizer, row)
    assert "Be brief." in text and "turn 0" in text and "turn 1" in text and "turn 9" not in text
    more = fit({"messages": LONG[:5]}, tinyllama_tokenizer, template, 10**6, "cut")[0]
    assert len(more["input_ids"]) > 128 or len(row["input_ids"]) == len(more["input_ids"]), "no turn more would fit"


def test_split_keeps_every_turn_and_the_system_prompt(tinyllama_tokenizer, template):
    rows = fit({"messages": LONG}, tinyllama_tokenizer, template, 128, "split")
    texts = [said(tinyllama_tokenizer, row) for row in rows]
    assert len(rows) > 1 and all(len(row["input_ids"]) <= 128 for row in rows)
    assert all("Be brief." in text for text in texts)
    assert [sum(f"turn {number} " in text for text in texts) for number in range(10)] == [1] * 10


@pytest.mark.parametrize("too_long", ["cut", "split"])
def test_a_single_turn_that_is_too_long_is_left_out_and_reported(tinyllama_tokenizer, template, too_long):
    huge = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "word " * 200}]
    encoded = encode_all([{"messages": huge}], tinyllama_tokenizer, template, 64, too_long)
    assert not encoded.rows and [number for number, _ in encoded.too_long.first] == [1]
    mixed = encode_all([{"row": 7, "messages": [*PAIR, *huge, *PAIR]}], tinyllama_tokenizer, template, 64, too_long)
    assert len(mixed.rows) == (2 if too_long == "split" else 1) and mixed.shortened.first == [7]
    assert "row 7" in mixed.report(64)


def test_row_numbers_are_those_of_the_file(tmp_path, tinyllama_tokenizer):
    rows = [{"x": 1}, SHAPES["messages"], {"prompt": "Q", "completion": "word " * 200}]
    data = load_data(config_of(tmp_path, rows, skip_bad_rows=True), tmp_path, tinyllama_tokenizer)
    assert data.train.too_long.first[0][0] == 3 and any("row 1" in note for note in data.notes)


def test_max_rows_and_columns_are_heeded(tmp_path, tinyllama_tokenizer):
    rows = [{"frage": f"Q{number}", "antwort": "A"} for number in range(5)]
    config = config_of(tmp_path, rows, columns='{"prompt": "frage", "completion": "antwort"}', max_rows=3)
    assert len(load_data(config, tmp_path, tinyllama_tokenizer).train.rows) == 3
    with pytest.raises(UserError, match="frage, antwort"):
        load_data(replace(config, columns=""), tmp_path, tinyllama_tokenizer)


def test_duplicates_are_left_out_when_asked(tmp_path, tinyllama_tokenizer):
    config = config_of(tmp_path, [SHAPES["messages"], SHAPES["question"], SHAPES["text"]])
    assert len(load_data(config, tmp_path, tinyllama_tokenizer).train.rows) == 4
    data = load_data(replace(config, drop_duplicates=True), tmp_path, tinyllama_tokenizer)
    assert len(data.train.rows) == 3 and any("say the same" in note for note in data.notes)


def split(folder, texts: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """(texts to train on, texts held out)."""
    kept = Conversations(folder)
    for number, text in enumerate(texts, 1):
        kept.append(number, {"text": text})
    mask = held_out_of(kept, numpy.ones(len(kept), dtype=bool), fraction, seed)
    return tuple([row["text"] for row in kept.part(part)] for part in (~mask, mask))


TEXTS = [f"text {number}" for number in range(50)]


def test_the_split_is_the_seeds_whatever_the_order_of_the_rows(tmp_path):
    first, again, other = (split(tmp_path, TEXTS, 0.1, seed) for seed in (1, 1, 2))
    assert first == again != other and sorted(first[0] + first[1]) == sorted(TEXTS)
    assert sorted(split(tmp_path, TEXTS[::-1], 0.1, 1)[1]) == sorted(first[1])


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 0), (0.001, 1), (0.1, 5), (0.5, 25), (1.0, 49)])
def test_of_few_rows_as_many_are_held_out_as_asked_at_least_one_and_never_all(tmp_path, fraction, count):
    assert {len(split(tmp_path, TEXTS, fraction, seed)[1]) for seed in range(20)} == {count}


@pytest.mark.parametrize("fraction", [0.02, 0.5])
def test_of_many_rows_about_as_many_are_held_out_as_asked(tmp_path, monkeypatch, fraction):
    monkeypatch.setattr("trainer.data.split.MAX_COUNTED", 1000)
    _, held_out = split(tmp_path, [f"text {number}" for number in range(20_000)], fraction, 0)
    assert len(held_out) == pytest.approx(20_000 * fraction, rel=0.1)
    _, held_out = split(tmp_path, [f"text {number}" for number in range(2000)], 1e-9, 0)
    assert len(held_out) == 1, "one at least"


def test_equal_rows_never_straddle_the_split(tmp_path):
    for seed in range(20):
        train, held_out = split(tmp_path, [text for text in TEXTS for _ in range(3)], 0.1, seed)
        assert len(held_out) == 15 and not set(train) & set(held_out)
        assert {len(part) for part in split(tmp_path, ["a"] * 3 + ["b"] * 2, 0.1, seed)} == {2, 3}
    assert split(tmp_path, ["a", "a"], 0.5, 0) == (["a", "a"], []), "of one text nothing is held out"


def test_duplicates_are_found_in_any_number_of_pieces(tmp_path, monkeypatch):
    kept = Conversations(tmp_path)
    for number in range(3000):
        kept.append(number + 1, {"text": f"text {number % 1000 if number < 2500 else number}"})
    whole = duplicates_of(kept)
    assert numpy.flatnonzero(whole).tolist() == list(range(1000, 2500))
    monkeypatch.setattr("trainer.data.split.PIECE", 100)
    monkeypatch.setattr("trainer.data.conversations.CHUNK_HASHES", 64)
    assert duplicates_of(kept).tolist() == whole.tolist()
    other = Conversations(tmp_path)
    other.append(1, {"text": "text 7"})
    assert [row["row"] for row in kept.part(found_in(kept, other))] == [8, 1008, 2008]


def test_conversations_are_read_back_whole_in_any_order(tmp_path, monkeypatch):
    monkeypatch.setattr("trainer.data.conversations.CHUNK", 7)
    kept = Conversations(tmp_path)
    said = [{"messages": [{"role": "user", "content": f"Zeile {n}\n\u2028 ü 🙂"}]} for n in range(100)]
    for number, conversation in enumerate(said, 1):
        kept.append(number, conversation)
    odd = kept.part(numpy.arange(100) % 2 == 1)
    assert list(odd) == [{"row": n, **said[n - 1]} for n in range(2, 101, 2)] and len(odd) == 50
    drawn = list(odd.sample(20))
    assert len({row["row"] for row in drawn}) == 20 and all(row in list(odd) for row in drawn)
    assert list(odd.sample(50)) == list(odd) and not list(tmp_path.iterdir()), "no file is left behind"


def peak_of_check(file, rows: int) -> float:
    """The most MB that reading and splitting `rows` rows took in a process of its own, above what its imports took."""
    with open(file, "w") as out:
        for number in range(rows):
            out.write(
                json.dumps({"prompt": f"What is {number}?", "completion": f"It is the number {number}. " * 8}) + "\n"
            )
    result = subprocess.run([sys.executable, "-c", PREPARE, str(file)], cwd=REPOSITORY, capture_output=True, check=True)
    return float(result.stdout)


PREPARE = """
import sys, tempfile
from pathlib import Path
from trainer.config import TrainConfig
from trainer.data.intake import prepare
def peak() -> float:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
before = peak()
with tempfile.TemporaryDirectory() as folder:
    prepared = prepare(TrainConfig(data=sys.argv[1]), Path(folder))
    assert len(prepared.train) > len(prepared.held_out) > 0
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")
def test_the_memory_of_reading_does_not_grow_with_the_rows(tmp_path):
    few, many = (peak_of_check(tmp_path / "rows.jsonl", rows) for rows in (5_000, 60_000))
    assert many < few + 10, "a list of all rows would take 60 MB more"


def test_rows_of_the_held_out_file_are_not_trained_when_duplicates_are_dropped(tmp_path, tinyllama_tokenizer):
    held_out = tmp_path / "held.jsonl"
    held_out.write_text(json.dumps(SHAPES["question"]))
    config = config_of(tmp_path, [SHAPES["messages"], SHAPES["prompt and completion"]], eval_data=str(held_out))
    assert len(load_data(config, tmp_path, tinyllama_tokenizer).train.rows) == 2
    assert len(load_data(replace(config, drop_duplicates=True), tmp_path, tinyllama_tokenizer).train.rows) == 1


def test_the_text_of_stage_1_is_packed_and_loses_nothing(tmp_path, tinyllama_tokenizer):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "text_data.txt").write_text("\n\n".join(f"Paragraph {n}. " + "word " * 400 for n in range(6)))
    config = TrainConfig(text_data="data/text_data.txt", max_length=64, eval_fraction=0.2)
    data = load_text(config, tmp_path, tinyllama_tokenizer)
    assert all(len(row["input_ids"]) == 64 for row in list(data.train.rows)[:-1]) and data.held_out.rows
    tokens = [token for part in (data.train, data.held_out) for row in part.rows for token in row["input_ids"]]
    text = tinyllama_tokenizer.decode(tokens)
    assert all(f"Paragraph {number}." in text for number in range(6)) and text.count("word") == 2400
    assert data.train.rows[0]["labels"] == data.train.rows[0]["input_ids"]


def test_conversations_are_refused_as_text(tmp_path, tinyllama_tokenizer):
    config = config_of(tmp_path, [SHAPES["question"]])
    with pytest.raises(UserError, match="text_data has the columns question, answer"):
        load_text(replace(config, text_data=config.data), tmp_path, tinyllama_tokenizer)


def test_max_rows_holds_for_the_held_out_file_and_the_text_too(tmp_path, tinyllama_tokenizer):
    for name, key in (("held_out", "prompt"), ("text", "text")):
        rows = [{key: f"Number {n}", **({"completion": "A"} if key == "prompt" else {})} for n in range(9)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    files = {"eval_data": str(tmp_path / "held_out.jsonl"), "text_data": str(tmp_path / "text.jsonl")}
    rows = [{"prompt": f"Q {n}", "completion": "A"} for n in range(9)]
    config = config_of(tmp_path, rows, max_rows=2, **files)
    data = load_data(config, tmp_path, tinyllama_tokenizer)
    assert (len(data.train.rows), len(data.held_out.rows)) == (2, 2)
    assert len(read_texts(config, tmp_path).conversations) == 2
