"""What a run measures at its evaluations is drawn once, bounded, and lies in the run."""

import json

import pytest

from common import paths
from common.errors import UserError
from data.test_sets import write_test_set
from runs.config import TrainConfig
from runs.test_sets import MAX_CHARACTERS, MAX_ITEMS, draw, keep_test_sets, read_sample


def make(name: str, items: list, owner: str = "alice") -> None:
    write_test_set(paths.contained(paths.test_sets_folder(owner), name), items, name, f"{name}.jsonl", owner)


def test_a_run_keeps_the_sample_that_every_other_run_has_whatever_becomes_of_the_test_set(tmp_path):
    make("exam", [{"text": f"Text {number}."} for number in range(1000)])
    config = TrainConfig(test_sets="exam, general, exam")
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        keep_test_sets(config, "alice", folder)
    kept = read_sample(tmp_path / "a", "exam")
    assert kept == read_sample(tmp_path / "b", "exam") == draw("exam", "alice") and len(kept) == MAX_ITEMS
    assert [one["number"] for one in kept] != sorted(one["number"] for one in kept), "not the first ones"
    assert sorted(file.name for file in (tmp_path / "a").iterdir()) == ["test-exam.jsonl", "test-general.jsonl"]
    assert read_sample(tmp_path / "a", "other") == [], "a run from before test sets"


def test_of_the_sample_of_a_run_that_came_back_odd_lines_and_those_beyond_the_most_are_left_out(tmp_path):
    good = [{"text": "a"}, {"messages": [{"role": "user", "content": "b"}], "answer": "c"}]
    odd = [{"text": 5}, {"answer": "b"}, {"messages": "b", "answer": "c"}, {"messages": [], "answer": []}, {}, [], 5]
    lines = [json.dumps(line) for line in (*odd, *good)]
    (tmp_path / "test-exam.jsonl").write_text("\n".join([*lines, "{"] + lines[-1:] * 10_000))
    found = read_sample(tmp_path, "exam")
    assert found[:2] == good and len(found) == MAX_ITEMS - 5


def test_the_general_text_of_a_run_is_english_and_korean():
    texts = [item["text"] for item in draw("general", "alice")]
    are_korean = [sum("가" <= letter <= "힣" for letter in text) > len(text) / 4 for text in texts]
    assert 0.2 < sum(are_korean) / len(texts) < 0.8 and sum(map(len, texts)) > 0.8 * MAX_CHARACTERS


@pytest.mark.parametrize(
    ("items", "count"),
    [
        ([{"text": "a" * 1_000_000}], 1),
        ([{"text": "a" * 1_000_000}] * 30, 10),
        ([{"messages": [{"role": "user", "content": "a" * 90_000}], "answer": "b"}, {"text": "c"}], 1),
    ],
    ids=["one text", "long texts", "a question that is too long"],
)
def test_a_sample_is_small_however_large_the_test_set(items, count):
    make("large", items)
    found = draw("large", "alice")
    assert len(found) == count and sum(len(str(item)) for item in found) < 1.1 * MAX_CHARACTERS


@pytest.mark.parametrize("name", ["exam", "../alice/exam", "/etc/passwd", "Exam"])
def test_anothers_test_set_is_out_of_reach_of_a_run_by_any_name(tmp_path, name):
    make("exam", [{"text": "hers"}])
    with pytest.raises(UserError):
        keep_test_sets(TrainConfig(test_sets=name), "bob", tmp_path)
    assert not list(tmp_path.iterdir())


def test_names_that_are_none_and_too_many_are_said_before_the_start():
    wrong = {name: TrainConfig(test_sets=name).problems() for name in ("", "general", "../x", "a,b,c,d,e,f")}
    assert [len(found) for found in wrong.values()] == [0, 0, 1, 1]
    assert {problem.field for found in wrong.values() for problem in found} == {"test_sets"}
