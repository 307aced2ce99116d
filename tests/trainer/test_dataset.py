"""Every shape of row becomes a conversation; a bad one is named with what was found and what to do."""

import json
from dataclasses import replace

import pandas
import pytest

from common.errors import UserError
from models.templates import training_template
from trainer.config import TrainConfig
from trainer.data.dataset import (
    EXAMPLE_HELD_OUT,
    IGNORED,
    encode,
    encode_all,
    preview,
    read_rows,
    to_conversation,
)
from trainer.data.intake import load_data

PAIR = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]


@pytest.fixture(scope="module")
def template(tinyllama_tokenizer):
    return training_template(tinyllama_tokenizer)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": PAIR},
        {"prompt": "Q", "completion": "A"},
        {"prompt": PAIR[:1], "completion": PAIR[1:]},
        {"instruction": "Q", "input": "", "output": "A"},
        {"instruction": "Q", "output": "A"},
        {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
        {"conversations": PAIR},
        {"messages": json.dumps(PAIR), "id": "7"},
    ],
)
def test_every_known_shape_is_the_same_conversation(row):
    assert to_conversation(row) == {"messages": PAIR}


def test_the_input_of_an_instruction_follows_it():
    row = to_conversation({"instruction": "Add", "input": "1 and 2", "output": "3", "system": "Be exact."})
    assert [message["content"] for message in row["messages"]] == ["Be exact.", "Add\n\n1 and 2", "3"]


def test_text_stays_text():
    assert to_conversation({"text": "Once upon a time"}) == {"text": "Once upon a time"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"frage": "Q", "antwort": "A"}, "found the keys frage, antwort"),
        ({}, "found the keys none"),
        ({"prompt": "Q", "completion": ""}, "completion is empty"),
        ({"prompt": None, "completion": "A"}, "prompt is a NoneType, not text"),
        ({"messages": []}, "empty"),
        ({"messages": "[1"}, "not JSON"),
        ({"messages": [{"role": "user"}]}, "turn 1 lacks"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "unknown role 'robot'"),
        ({"messages": PAIR[:1]}, "ends with the user's turn"),
        ({"messages": [*PAIR, {"role": "system", "content": "s"}]}, "turn 3 is a system message"),
        ({"conversations": [{"from": "tool", "value": "x"}]}, "unknown role 'tool'"),
        ({"text": 5}, "text is a int"),
    ],
)
def test_a_bad_row_says_what_was_found(row, words):
    with pytest.raises(UserError, match=words):
        to_conversation(row)


def test_bad_rows_are_named_by_number_and_stop_the_start(tmp_path, tinyllama_tokenizer):
    rows = [{"prompt": "Q", "completion": "A"}, {"x": 1}, {"prompt": "Q", "completion": ""}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = TrainConfig(data=str(tmp_path / "rows.jsonl"))
    with pytest.raises(UserError, match=r"2 of 3 rows cannot be used\. row 2: .* row 3: .*skip_bad_rows"):
        load_data(config, tmp_path, tinyllama_tokenizer)
    data = load_data(replace(config, skip_bad_rows=True), tmp_path, tinyllama_tokenizer)
    assert len(data.train.rows) == 1 and [note[:15] for note in data.notes] == ["Left out: row 2", "Left out: row 3"]


def test_leaving_out_every_row_is_refused(tmp_path, tinyllama_tokenizer):
    (tmp_path / "rows.jsonl").write_text('{"x": 1}')
    with pytest.raises(UserError, match="1 of 1 rows"):
        load_data(TrainConfig(data=str(tmp_path / "rows.jsonl"), skip_bad_rows=True), tmp_path, tinyllama_tokenizer)


@pytest.mark.parametrize("name", ["data.jsonl", "data.json", "data.csv", "data.parquet"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path, name):
    rows = [{"prompt": '한국어 🙂, "x"\n2', "completion": "NA"}, {"prompt": "b", "completion": "1"}]
    file = tmp_path / name
    if name.endswith("jsonl"):
        file.write_text("\ufeff" + "\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    elif name.endswith("json"):
        file.write_text(json.dumps({"version": 1, "rows": rows}), encoding="utf-8")
    elif name.endswith("csv"):
        pandas.DataFrame(rows).to_csv(file, index=False)
    else:
        pandas.DataFrame(rows).to_parquet(file)
    assert read_rows(str(file)) == rows


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "line 2 of 'a.jsonl' is not JSON"),
        ("a.jsonl", b"[1, 2]", "not an object"),
        ("a.jsonl", b"", "holds no rows"),
        ("a.jsonl", b"\xff\xfe\x00", "not utf-16 text"),
        ("a.json", b"{", "Is it JSON lines"),
        ("a.json", b"[1]", "not a list of objects"),
        ("a.csv", b"", "holds no rows"),
        ("a.csv", b"a,b\n1,2,3,4\n1\n1,2,3,4,5,6\n", "not a table"),
        ("a.parquet", b"PAR1 no", "not a Parquet file"),
        ("a.xlsx", b"PK", "not a kind of file"),
    ],
)
def test_a_broken_file_gets_a_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_rows(str(tmp_path / name))


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="There is no file"):
        read_rows(str(tmp_path / "none.jsonl"))


def test_a_data_set_that_the_hub_does_not_give_is_told():
    with pytest.raises(UserError, match=r"neither a file here nor a data set .* the Hub cannot be reached"):
        read_rows("nobody/nothing")


def test_a_row_longer_than_max_length_is_reported_and_not_cut(tinyllama_tokenizer, template):
    rows = [{"messages": PAIR}, to_conversation({"prompt": "Q", "completion": "word " * 100})]
    encoded = encode_all(rows, tinyllama_tokenizer, template, max_length=50)
    assert len(encoded.rows) == 1 and encoded.rows[0]["labels"][-2] == tinyllama_tokenizer.eos_token_id
    ((number, tokens),) = encoded.too_long.first
    assert number == 2 and tokens > 100
    assert f"row 2 ({tokens} tokens)" in encoded.report(50)


def test_a_long_text_becomes_several_rows_and_loses_nothing(tinyllama_tokenizer, template):
    pieces = encode({"text": "one two three " * 50}, tinyllama_tokenizer, template, max_length=40)
    joined = [token for piece in pieces for token in piece["input_ids"]]
    assert joined == [*tinyllama_tokenizer("one two three " * 50)["input_ids"], tinyllama_tokenizer.eos_token_id]
    assert len(pieces) > 1 and all(len(piece["input_ids"]) <= 40 for piece in pieces)


def test_the_preview_shows_what_the_trainer_gets(tinyllama_tokenizer, template):
    rows = [{"prompt": "Hi", "completion": "Hello."}]
    (shown,) = preview(rows, tinyllama_tokenizer, template, 100)
    (row,) = encode_all([to_conversation(rows[0])], tinyllama_tokenizer, template, 100).rows
    assert shown["ids"] == row["input_ids"]
    assert shown["trained"] == [label != IGNORED for label in row["labels"]]
    trained = [token for token, is_trained in zip(shown["tokens"], shown["trained"], strict=True) if is_trained]
    assert "".join(trained).replace("▁", " ").strip() == "Hello.</s>"


def test_the_example_data_is_what_the_readme_says():
    train, held_out = read_rows("example"), read_rows(str(EXAMPLE_HELD_OUT))
    assert len(train) >= 200 and len(held_out) >= 20
    several_turns = sum(len(row["messages"]) > 2 for row in train + held_out)
    assert several_turns >= (len(train) + len(held_out)) / 3
    questions = [message["content"] for row in train + held_out for message in row["messages"][:1]]
    assert len(set(questions)) == len(questions), "a held-out question is trained"
    assert all(to_conversation(row) for row in train + held_out)
