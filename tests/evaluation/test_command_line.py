"""`python -m evaluation`: what it starts, and what it prints."""

import json

import pytest

from common.language import _
from data.test_sets import list_test_sets
from evaluation import __main__ as command_line
from evaluation.__main__ import main
from evaluation.config import EvaluationConfig
from evaluation.run import Progress, list_evaluations
from evaluation.table import write_table
from tests.evaluation.test_run import make_adapter, make_evaluation
from tests.evaluation.test_table import make_whole


@pytest.fixture
def started(monkeypatch) -> list[EvaluationConfig]:
    """The settings of what would have been started; each is over at once."""
    made = []

    def start(config, token):
        made.append(config)
        evaluation = make_evaluation(f"made-{len(made)}", config=config)
        evaluation.write_progress(Progress("done"))
        return evaluation

    monkeypatch.setattr(command_line, "start", start)
    return made


def test_run_without_options_asks_the_newest_adapter_and_its_base(started):
    make_adapter("mine")
    assert main(["run"]) == 0
    assert started == [EvaluationConfig("mine", ["base", "adapter:mine"], ["questions", "general"])]


def test_run_takes_adapters_test_sets_files_scores_and_settings(started, tmp_path, capsys):
    make_adapter("mine")
    (tmp_path / "exam.jsonl").write_text(json.dumps({"prompt": "1 + 1?", "completion": "2"}))
    arguments = ["--adapter", "mine", "--test-set", "general", "--test-set", str(tmp_path / "exam.jsonl")]
    arguments += ["--few-shot", "5", "--score", "exact", "--max-new-tokens", "16", "--seed", "7", "--title", "Exam"]
    for _time in range(2):  # the same file is one test set
        assert main(["run", *arguments]) == 0
    wanted = EvaluationConfig(
        "Exam", ["base", "adapter:mine", "few-shot"], ["general", "exam"], ["exact"], 5, 16, seed=7
    )
    assert started == [wanted, wanted] and "exam" in [one.id for one in list_test_sets()]
    assert main(["run", "--base", "embedded"]) == 0
    assert started[-1] == EvaluationConfig("", ["base"], ["questions", "general"], base="embedded")


def test_what_cannot_be_done_is_a_sentence_and_an_exit_code(capsys):
    for arguments in (["run"], ["show", "gone"], ["compare", "gone", "too"], ["test-sets", "delete", "general"]):
        assert main(arguments) == 1
    assert "Traceback" not in (said := capsys.readouterr().err) and "There is no evaluation 'gone'" in said


def test_show_prints_a_table_with_intervals_verdicts_and_notes(capsys):
    evaluation = make_whole("one", {"base": range(1, 11), "adapter:a": range(1, 36)})
    write_table(evaluation)
    evaluation.write_progress(Progress("done", message=_("Stopped.")))
    assert main(["show", "one"]) == 0
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if "Exact match" in line and " a " in line]
    assert "87.5 (" in line and "Better by 62.5 points" in line
    (same,) = [line for line in said.splitlines() if "Ends by itself" in line and " a " in line]
    assert "Better" not in same and "Worse" not in same
    assert "Even or not" in said and "3 rows that are in the training data" in said
    assert main(["show", "one", "--rows", "exact", "--count", "1"]) == 0
    said = capsys.readouterr().out
    assert "Is 11 even?" in said and "Right: no" in said and "I do not know" in said and "a (100.0): no" in said


def test_a_name_or_an_answer_cannot_speak_to_the_terminal(capsys):
    evaluation = make_whole("one", {"base": range(0), "adapter:a": range(1, 36)}, asked=[EVIL])
    write_table(evaluation)
    assert main(["show", "one"]) == 0 and main(["show", "one", "--rows", "exact"]) == 0
    said = capsys.readouterr().out
    assert "inf" not in said, "of one row there is no interval"
    assert "\x1b" not in said and "?]0;owned" in said


EVIL = {"number": 1, "messages": [{"role": "user", "content": "\x1b]0;owned\x07"}], "answer": "\x1b[31mred"}


def test_lists_compare_stop_and_delete(capsys, started):
    make_whole("first", {"base": range(1, 11)})
    make_whole("second", {"base": range(1, 11), "adapter:b": range(1, 41)})
    assert main(["list"]) == 0 and main(["compare", "first", "second"]) == 0
    said = capsys.readouterr().out
    assert "first" in said and "interrupted" in said and "second/adapter:b" in said and "Better by 75.0 points" in said
    assert main(["stop", "first"]) == 0 and list_evaluations()[-1].stop_file.exists()
    assert main(["delete", "first"]) == 0 and [one.id for one in list_evaluations()] == ["second"]
    assert main(["test-sets"]) == 0
    assert "general" in (said := capsys.readouterr().out) and "questions" in said


def test_a_test_set_is_added_and_deleted(tmp_path, capsys):
    file = tmp_path / "exam.jsonl"
    file.write_text(json.dumps({"prompt": "1 + 1?", "completion": "2"}))
    assert main(["test-sets", "add", str(file), "--title", "My exam"]) == 0
    assert "my-exam" in capsys.readouterr().out
    assert main(["test-sets", "delete", "my-exam"]) == 0 and main(["test-sets", "delete", "my-exam"]) == 1
