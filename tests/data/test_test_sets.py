"""Test sets: what becomes an item, what is said of the rest, whose they are, and what no file can break."""

import json
from pathlib import Path

import pytest

from common.errors import UserError
from common.paths import REPOSITORY, home
from data import test_set_intake, test_sets
from data.settings import DataSettings
from data.test_set_intake import make_test_set
from data.test_sets import (
    BUNDLED,
    delete_test_set,
    find_test_set,
    fingerprint,
    items_of,
    keep_test_set,
    list_test_sets,
    write_test_set,
)

PAIR = {"prompt": "Hi", "completion": "Hello"}


@pytest.fixture(autouse=True)
def studio(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "home"))


@pytest.fixture
def made(tmp_path):
    """A test set of these rows."""

    def make(rows: list[dict], title: str = "Mine", owner: str = "local", **settings):
        file = tmp_path / "rows.jsonl"
        file.write_text("\n".join(json.dumps(row) for row in rows))
        return make_test_set(DataSettings(data=str(file), **settings), title, owner)

    return make


def said(role: str, content: str, **more) -> dict:
    return {"role": role, "content": content, **more}


def test_a_conversation_is_asked_for_its_last_answer(made):
    talk = [said("system", "S"), said("user", "a"), said("assistant", "b"), said("user", "c"), said("assistant", "d")]
    (item,) = made([{"messages": [*talk, said("user", "unanswered")]}]).items()
    assert item == {"number": 1, "messages": talk[:-1], "answer": "d"}


def test_an_answer_that_is_not_trained_is_not_asked_for():
    talk = [said("user", "a"), said("assistant", "b"), said("user", "c"), said("assistant", "d", trained=False)]
    assert list(items_of([{"messages": talk}])) == [{"number": 1, "messages": talk[:1], "answer": "b"}]


def test_what_answers_no_question_is_no_item_and_takes_no_number():
    bare, text = {"messages": [said("assistant", "b")]}, {"text": "Once."}
    assert list(items_of([bare, text])) == [{"number": 1, "text": "Once."}]


def test_the_items_are_those_of_the_conversations_that_a_training_reads(made):
    rows = [
        PAIR,
        {"instruction": "Add", "input": "1, 2", "output": "3"},
        {"frage": "Q"},
        {"messages": [said("user", "q")]},
    ]
    one = made(rows)
    assert [item["answer"] for item in one.items()] == ["Hello", "3"]
    assert one.notes[0].startswith("2 of 4 rows cannot be used. Row 3: None of the known shapes fits its keys: frage.")
    mapped = made([{"frage": "Q", "antwort": "A"}], columns='{"prompt": "frage", "completion": "antwort"}')
    assert [item["answer"] for item in mapped.items()] == ["A"]
    choice = {"question": "Which?", "choices": ["x", "y"], "answer": "B", "why": "So."}
    explained = made([choice], columns='{"prompt": "question", "completion": "why"}')
    assert [item["answer"] for item in explained.items()] == ["So."]


def test_rows_stay_in_their_order_whatever_their_kind(made):
    choice = {"question": "Which?", "choices": ["x", "y"], "answer": "B"}
    one = made([PAIR, choice, {"text": "plain"}, PAIR, choice])
    assert [item["answer"] for item in one.items()] == ["Hello", "y", "Hello", "y"]
    assert [item["number"] for item in one.items()] == [1, 2, 3, 4] and one.rows == 4
    assert one.notes == ("1 row is not a question with an answer and is left out.",)


def test_plain_text_alone_is_a_set_of_texts(made, tmp_path):
    file = tmp_path / "book.txt"
    file.write_text("Once upon a time.\n")
    one = make_test_set(DataSettings(data=str(file)), "")
    assert (one.kind, one.title, list(one.items())) == (
        "text",
        "book.txt",
        [{"number": 1, "text": "Once upon a time."}],
    )


@pytest.mark.parametrize(
    ("answers", "labels"),
    [
        (["yes", "no"] * 4, ("no", "yes")),
        (["yes", "no", "yes", "no", "yes", "yes", "yes", "maybe"], ()),  # three labels need twelve rows
        ([" yes", "no "] * 4, ("no", "yes")),
        (["yes"] * 8, ()),
        (["x" * 41, "no"] * 4, ()),
        ([f"label {number}" for number in range(20)] * 4, tuple(sorted(f"label {number}" for number in range(20)))),
        ([f"label {number}" for number in range(21)] * 4, ()),
    ],
)
def test_few_short_repeated_answers_are_labels(made, answers, labels):
    assert made([{"prompt": str(number), "completion": one} for number, one in enumerate(answers)]).labels == labels


def test_the_fingerprint_tells_sets_apart_by_their_items_alone(made):
    first, again, other = made([PAIR], "One"), made([PAIR], "Two"), made([{**PAIR, "completion": "Bye"}])
    assert first.fingerprint == again.fingerprint == fingerprint(first.items()) != other.fingerprint


def test_the_same_title_again_is_another_test_set_and_a_bundled_name_is_never_taken(made):
    assert [made([PAIR], "Questions").id for _ in range(2)] == ["questions-2", "questions-3"]
    assert made([PAIR], "우리 시험").id == "uri-siheom"


def test_nobody_has_anothers_test_set(made):
    mine = made([PAIR], owner="alice")
    assert mine.id not in [one.id for one in list_test_sets("bob")]
    for wanted in (mine.id, f"../alice/{mine.id}", str(mine.folder), "..", "", "a\0b"):
        with pytest.raises(UserError):
            find_test_set(wanted, "bob")
        with pytest.raises(UserError):
            delete_test_set(wanted, "bob")
    assert find_test_set(mine.id, "alice") == mine


def test_deleting_takes_the_whole_folder_and_never_a_bundled_one(made):
    one = made([PAIR])
    delete_test_set(one.id)
    assert [found.id for found in list_test_sets()] == list(BUNDLED)
    with pytest.raises(UserError, match="no test set"):
        delete_test_set(one.id)
    with pytest.raises(UserError, match="comes with the program"):
        delete_test_set("general")


@pytest.mark.parametrize(
    "about",
    [
        "",
        "[]",
        "{",
        '{"rows": "many", "title": 3, "labels": 7, "notes": {}, "kind": []}',
        '{"rows": 1, "title": "t", "labels": [1], "kind": "text"}',
        '{"rows": 1, "title": "t", "labels": [], "kind": "other"}',
        "[" * 100_000,
    ],
)
def test_a_damaged_test_set_is_a_line_without_rows_and_hides_no_other(made, about):
    good, bad = made([PAIR], "Good"), made([PAIR], "Bad")
    (bad.folder / "about.json").write_text(about)
    found = {one.id: one for one in list_test_sets()}
    assert found["good"] == good and (found["bad"].rows, found["bad"].notes) == (0, ("It is damaged.",))
    with pytest.raises(UserError, match="damaged"):
        find_test_set("bad")
    delete_test_set("bad")


def test_damaged_lines_are_left_out_and_the_others_keep_their_numbers(made):
    one = made([PAIR, {**PAIR, "completion": "Bye"}])
    lines = (one.folder / "items.jsonl").read_text().splitlines()
    (one.folder / "items.jsonl").write_text(
        f'{lines[0]}\n[1]\n{{"answer": \n{{"text": 3}}\n{{}}\n{"[" * 100_000}\n{lines[1]}\n'
    )
    assert [(item["number"], item["answer"]) for item in one.items()] == [(1, "Hello"), (7, "Bye")]


def test_an_owner_keeps_so_many_and_so_much(made, monkeypatch):
    monkeypatch.setattr(test_set_intake, "MAX_TEST_SETS", 1)
    made([PAIR])
    with pytest.raises(UserError, match="1 test set, the limit"):
        made([PAIR])
    monkeypatch.setattr(test_set_intake, "MAX_TEST_SETS", 2)
    monkeypatch.setattr(test_set_intake, "MAX_BYTES", 10_000)
    with pytest.raises(UserError, match="the limit"):
        made([PAIR])
    monkeypatch.setattr(test_sets, "MAX_BYTES", 100)
    with pytest.raises(UserError, match="the limit"):
        made([PAIR] * 10)
    assert [path.name for path in (home() / "testsets" / "local").glob("*") if path.is_dir()] == ["mine"]


def test_of_more_rows_than_a_test_set_takes_a_sample_is_kept_and_said(made, monkeypatch):
    monkeypatch.setattr(test_set_intake, "MAX_ROWS", 3)
    one = made([{"prompt": str(number), "completion": "a"} for number in range(9)])
    assert one.rows == 3 and "3 of 9 rows of rows.jsonl are read, picked at random" in one.notes[0]


def test_nothing_of_a_failed_one_stays(made):
    with pytest.raises(UserError, match="no question with an answer, and no text"):
        made([{"x": 1}])
    with pytest.raises(UserError, match="one file"):
        make_test_set(DataSettings(data="a.jsonl, b.jsonl"), "Two")
    assert list((home() / "testsets").rglob(".new-*")) == [] and len(list_test_sets()) == len(BUNDLED)


def test_a_test_set_says_where_it_is_from_without_a_path(made):
    one = made([PAIR])
    assert one.source == "rows.jsonl" and str(Path(home()).parent) not in (one.folder / "about.json").read_text()


def test_a_process_of_its_own_makes_the_same(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(PAIR))
    one = keep_test_set(DataSettings(data=str(file)), "Mine", "alice")
    assert one == find_test_set("mine", "alice") and [item["answer"] for item in one.items()] == ["Hello"]
    with pytest.raises(UserError, match=r"There is no file 'missing\.jsonl'"):
        keep_test_set(DataSettings(data="missing.jsonl"), "Mine", "alice")


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_set_is_what_its_fingerprint_says(name, tmp_path):
    one = find_test_set(name)
    items = list(one.items())
    again = write_test_set(tmp_path / name, items, "", "")
    assert (again.fingerprint, again.rows, again.kind) == (one.fingerprint, one.rows, one.kind)
    said = [json.dumps({**item, "number": 0}) for item in items]
    assert len(set(said)) == len(said)


def test_the_general_text_begins_in_both_languages_and_repeats_nothing():
    texts = [item["text"] for item in find_test_set("general").items()]
    korean = [any("가" <= letter <= "힣" for letter in text) for text in texts]
    assert 190_000 < sum(len(text.encode()) for text in texts) < 230_000
    assert 0.25 < sum(korean) / len(korean) < 0.5 and 4 <= sum(korean[:17]) <= 9
    assert all(150 <= len(text) <= 1500 and text == text.strip() for text in texts)


def test_no_bundled_question_is_in_the_example():
    examples = "".join(file.read_text().casefold() for file in (REPOSITORY / "examples").glob("*.jsonl"))
    items = list(find_test_set("questions").items())
    assert len(items) == 50 and all(item["messages"][-1]["content"].casefold() not in examples for item in items)
    assert all(0 < len(item["answer"]) <= 60 for item in items)
