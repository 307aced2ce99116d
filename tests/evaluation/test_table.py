"""Results become scores beside the first candidate's; the rows that differ most; two evaluations on the rows that both asked."""

import pytest

from common.errors import UserError
from common.files import append_json_line, write_json
from common.paths import adapters_folder
from data.test_sets import fingerprint
from evaluation.config import EvaluationConfig
from evaluation.run import Evaluation
from evaluation.table import compare, read_results, read_table, rows_that_differ, write_table
from tests.evaluation.test_run import make_evaluation

LABELS = ["no", "yes"]
ITEMS = [
    {
        "number": number,
        "messages": [{"role": "user", "content": f"Is {number} even?"}],
        "answer": LABELS[number % 2 == 0],
    }
    for number in range(1, 41)
]


def make_whole(name: str, right: dict[str, range], labels=(), asked=ITEMS, **known) -> Evaluation:
    """An evaluation of which everything is there: each candidate is right on the items in its range."""
    evaluation = make_evaluation(name, config=EvaluationConfig(name, list(right), ["mine"], scores=[]))
    for item in asked:
        evaluation.items_folder.mkdir(exist_ok=True)
        append_json_line(evaluation.items_file("mine"), item)
    for candidate, numbers in right.items():
        file = evaluation.results_file("mine", candidate)
        file.parent.mkdir(parents=True, exist_ok=True)
        for item in asked:
            number, is_right = item["number"], item["number"] in numbers
            answer = item["answer"] if is_right else "I do not know"
            losses = [1.0, 2.0] if (item["answer"] == "no") == is_right else [2.0, 1.0]
            append_json_line(
                file, {"needs": "answer", "item": number, "answer": answer, "ended": True, "new_tokens": 4}
            )
            append_json_line(file, {"needs": "choices", "item": number, "choice_losses": losses})
            append_json_line(file, {"needs": "loss", "item": number, "loss": 1.0 if is_right else 3.0, "tokens": 2})
    test_set = {
        "title": "Even or not",
        "kind": "conversations",
        "labels": list(labels),
        "fingerprint": fingerprint(ITEMS),
        "dataset": "",
        "revision": "",
        "rows": 43,
        "asked": len(asked),
        "exact": 2,
        "near": 1,
        "shots": [],
    }
    made = {"base": "embedded", "base_revision": "", "adapters": {}, "packages": {}, "seed": 0, "unknown_data": []}
    write_json(evaluation.versions_file, {**made, **known, "test_sets": {"mine": test_set}})
    return evaluation


def test_a_candidate_that_is_right_more_often_is_better_than_the_first_and_notes_say_what_was_left_out():
    evaluation = make_whole("one", {"base": range(1, 11), "adapter:a": range(1, 36)}, unknown_data=["a"])
    assert read_table(evaluation) == []
    write_table(evaluation)
    lines = {(line.score, line.candidate): line for line in read_table(evaluation)}
    first, second = lines["exact", "base"], lines["exact", "adapter:a"]
    assert (first.estimate.value, first.estimate.n, first.difference) == (0.25, 40, None)
    assert second.difference and second.difference.value == 0.625 and second.difference.verdict == "better"
    assert second.difference.low < 0.625 < second.difference.high
    loss = lines["loss", "adapter:a"].difference
    assert loss and loss.value == pytest.approx(-0.625) and loss.verdict == "better", "the lower the better"
    same = lines["stop_rate", "adapter:a"].difference
    assert same and same.verdict == "undecided"
    left_out, unknown = second.notes
    assert "3 rows" in left_out and "'a'" in unknown
    assert ("choice_accuracy", "base") not in lines, "there was nothing to choose from"


def test_questions_of_a_teacher_are_said_and_who_was_trained_on_rows_of_the_same_teacher():
    items = [{**item, "teacher": "qwen"} if item["number"] <= 30 else item for item in ITEMS]
    taught = {"made": [{"teacher": "qwen", "recipe": "", "version": "", "licence": "", "rows": 200, "edited": 0}]}
    (adapters_folder() / "a").mkdir(parents=True)
    write_json(adapters_folder() / "a" / "metrics.json", taught)
    write_json(adapters_folder() / "a" / "adapter_config.json", {"base_model_name_or_path": "embedded"})
    (adapters_folder() / "a" / "adapter_model.safetensors").touch()
    right = {"base": range(1, 11), "adapter:a": range(1, 36), "adapter:gone": range(1, 2)}
    evaluation = make_whole("one", right, asked=items)
    write_table(evaluation)
    notes = {line.candidate: line.notes for line in read_table(evaluation)}
    written = "30 of 40 questions were written by qwen."
    assert written in notes["base"] and written in notes["adapter:gone"]
    same = {name for name, told in notes.items() if any(note.startswith("qwen also wrote rows") for note in told)}
    assert same == {"adapter:a"}


def test_labels_are_chosen_by_likelihood():
    evaluation = make_whole("one", {"base": range(1, 11), "adapter:a": range(1, 36)}, labels=LABELS)
    write_table(evaluation)
    lines = {(line.score, line.candidate): line.estimate.value for line in read_table(evaluation)}
    assert lines["label_accuracy", "base"] == 0.25 and lines["label_accuracy", "adapter:a"] == 0.875
    (row, *_others) = rows_that_differ(evaluation, "mine", "adapter:a", "label_accuracy", 99)
    assert (row.expected, row.reference_answer, row.candidate_answer) == ("no", "yes", "no")
    assert len([row, *_others]) == 25


def test_the_rows_that_differ_most_come_first_with_both_answers():
    evaluation = make_whole("one", {"base": range(1, 11), "adapter:a": range(1, 36)})
    assert rows_that_differ(evaluation, "mine", "adapter:a", "exact") == [], "nothing was computed yet"
    write_table(evaluation)
    (row,) = rows_that_differ(evaluation, "mine", "adapter:a", "exact", 1)
    assert (row.item, row.prompt, row.expected) == (11, "Is 11 even?", "no")
    assert (row.reference_answer, row.reference_value) == ("I do not know", 0)
    assert (row.candidate_answer, row.candidate_value) == ("no", 1)
    assert rows_that_differ(evaluation, "gone", "adapter:a", "exact") == []
    assert rows_that_differ(evaluation, "mine", "base", "exact") == [], "it is the reference"


def test_a_line_that_a_kill_cut_off_counts_for_nothing():
    evaluation = make_whole("one", {"base": range(1, 11)})
    file = evaluation.results_file("mine", "base")
    before = read_results(evaluation, "mine", "base")
    with open(file, "ab") as lines:
        lines.write(b'{"needs":"answer","item":1,"answer":"yes, bec')
    append_json_line(file, {"needs": "answer", "item": 2, "answer": "later"})
    after = read_results(evaluation, "mine", "base")
    assert after[1] == before[1] and after[2]["answer"] == "later" and after[2]["loss"] == before[2]["loss"]


def test_two_evaluations_are_compared_on_the_rows_that_both_asked():
    first = make_whole("first", {"base": range(1, 11)})
    second = make_whole("second", {"base": range(1, 11), "adapter:b": range(1, 41)}, asked=ITEMS[:30])
    lines = {line.candidate: line for line in compare(first, second) if line.score == "exact"}
    assert list(lines) == ["first/base", "second/base", "second/adapter:b"]
    same, better = lines["second/base"].difference, lines["second/adapter:b"].difference
    assert same and (same.value, same.n, same.verdict) == (0, 30, "undecided")
    assert better and better.verdict == "better" and lines["first/base"].estimate.n == 30
    other = make_whole("other", {"base": range(1, 11)})
    known = other.known()
    known["test_sets"]["mine"]["fingerprint"] = "another"
    write_json(other.versions_file, known)
    with pytest.raises(UserError, match="nothing that is the same"):
        compare(first, other)
