"""Rows that a teacher made say so from the file to the report and to test sets, and nothing that is trained changes."""

import json

import pytest

from common.made_by import MAX_KINDS, MadeBy, describe_made, read_made_by
from data.conversations import Conversations
from data.examine import build_report
from data.findings import CheckedBase
from data.intake import load_data, prepare
from data.made import made_by, origin_of
from data.test_set_intake import make_test_set
from data.test_sets import items_of
from tests.origins import ORIGIN

BY_QWEN = MadeBy(teacher="qwen", recipe="question-answer", version="1", licence="apache-2.0", rows=1, edited=0)


def pair(number: int, **more) -> dict:
    return {"prompt": f"What is {number}?", "completion": f"It is the number {number}.", **more}


@pytest.fixture
def mixed(data_settings):
    """Settings for 10 rows of which 6 are made, one of these edited."""
    made = [pair(number, made=ORIGIN) for number in range(5)] + [pair(5, made={**ORIGIN, "edited": True})]
    return data_settings([*made, *(pair(number) for number in range(6, 10))])


def test_rows_are_counted_by_teacher_recipe_and_licence_and_those_that_a_person_changed_with_them():
    found = made_by([ORIGIN, None, {**ORIGIN, "edited": True}, {**ORIGIN, "teacher": "local"}])
    assert found == [{**BY_QWEN, "rows": 2, "edited": 1}, {**BY_QWEN, "teacher": "local"}]
    words = "3 of 10 rows were made by qwen, local. A person changed 1 of them."
    assert describe_made(found, 10) == words


@pytest.mark.parametrize("value", [None, "qwen", 7, [], {}, {"teacher": ""}, {"teacher": ["a"]}, {"teacher": " \n"}])
def test_what_is_no_origin_was_not_made(value):
    assert origin_of({"made": value}) is None and read_made_by(value) == []
    assert describe_made([], 10) is None


def test_a_strangers_origins_are_bounded_in_number_length_and_type():
    strange = {"recipe": {"a": []}, "start": "x", "end": -1, "time": float("nan"), "more": ["x"] * 1000}
    rows = [{"made": {**strange, "teacher": f"{number}\n# " + "x" * 10_000}} for number in range(1000)]
    found = made_by(map(origin_of, rows))
    assert sum(one["rows"] for one in found) == 1000 and len(found) <= MAX_KINDS
    assert max(len(one["teacher"]) for one in found) <= 200 and "\n" not in json.dumps(found)
    assert len(describe_made(found, 1000)) < 1000
    assert origin_of(rows[0])["time"] == 0 and len(json.dumps(origin_of(rows[0]))) < 500


@pytest.mark.parametrize("change", [{"rows": -1}, {"rows": "3"}, {"edited": 2}, {"teacher": 3}, {"rows": True}])
def test_counts_in_a_strangers_file_that_cannot_be_are_none(change):
    assert read_made_by([BY_QWEN, {**BY_QWEN, **change}, "x"]) == [BY_QWEN]


def test_the_report_says_how_many_rows_were_made_and_by_whom(mixed, tmp_path, tinyllama_tokenizer):
    report = build_report(mixed, tmp_path, tinyllama_tokenizer, CheckedBase("a/b", "", 2048), 3, lambda words: None)
    assert report["made"] == [{**BY_QWEN, "rows": 6, "edited": 1}]
    told = {one["code"]: one["message"] for one in report["findings"]}
    assert told["made"] == "6 of 10 rows were made by qwen. A person changed 1 of them."
    assert not {"unused", "made_held_out"} & {*told}


def test_an_origin_changes_nothing_of_what_is_trained(mixed, data_settings, tmp_path, tinyllama_tokenizer):
    made = load_data(mixed, tmp_path, tinyllama_tokenizer)
    plain = load_data(data_settings([pair(number) for number in range(10)]), tmp_path, tinyllama_tokenizer)
    assert list(made.train.rows) == list(plain.train.rows)
    assert made.made == [{**BY_QWEN, "rows": 6, "edited": 1}] and plain.made == []


def test_a_row_that_says_the_same_is_double_whoever_made_it(tmp_path):
    kept = Conversations(tmp_path)
    for row in ({"text": "a"}, {"text": "a", "made": ORIGIN}, {"text": "a", "made": {**ORIGIN, "teacher": "local"}}):
        kept.append(1, row)
    ((_, hashes),) = kept.hashes()
    assert len({*hashes}) == 1
    assert [row.get("made", {}).get("teacher") for row in kept.part()] == [None, "qwen", "local"]


def test_held_out_rows_that_were_made_are_said_and_keep_their_teacher(data_settings, tmp_path, tinyllama_tokenizer):
    settings = data_settings([pair(number, made=ORIGIN) for number in range(40)], eval_fraction=0.25)
    report = build_report(settings, tmp_path, tinyllama_tokenizer, CheckedBase("a/b", "", 2048), 3, lambda words: None)
    (words,) = [one["message"] for one in report["findings"] if one["code"] == "made_held_out"]
    assert str(words).startswith("Held out: 10 of 10 rows were made by qwen.")
    assert {item["teacher"] for item in items_of(prepare(settings, tmp_path).held_out)} == {"qwen"}


def test_a_test_set_says_which_of_its_questions_a_teacher_made(mixed, tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "home"))
    found = make_test_set(mixed, "Mine")
    assert found.notes == ("6 of 10 rows were made by qwen. A person changed 1 of them.",)
    assert [item.get("teacher") for item in found.items()] == ["qwen"] * 6 + [None] * 4


def test_a_column_that_is_called_made_and_is_no_origin_is_not_used(data_settings, tmp_path):
    noticed = prepare(data_settings([pair(1, made="in Korea")]), tmp_path).noticed
    assert noticed == {("unused", "made"): 1}


def test_a_strangers_teacher_turns_no_writing_round_and_writes_no_codes():
    name = "gpt\u202e5 fo swor 0\x1b[2J\0\ud800\u2066"
    found = origin_of({"made": {"teacher": name, "licence": name}})
    assert {found["teacher"], found["licence"]} == {"gpt 5 fo swor 0 [2J"}
    assert read_made_by(made_by([{**ORIGIN, "teacher": name}]))[0]["teacher"] == "gpt 5 fo swor 0 [2J"
