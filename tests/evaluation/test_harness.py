"""lm-eval's harness asks base and adapter; what it measured stands with the adapter, paired, as lm-eval has it."""

import json
import re
import sys
import threading
from types import SimpleNamespace

import pytest
import yaml

from adapters.evaluated import read_evaluated
from adapters.library import find_adapter
from chat.resident import Model, Resident
from common.errors import UserError
from evaluation import harness
from evaluation.__main__ import main
from evaluation.harness import Asked, lines_of, measure
from evaluation.harness_process import evaluated_of, measure_tasks, top_tasks
from evaluation.likelihood import choice_losses
from tests.adapters.making import make_adapter, put
from tests.evaluation.test_run import make_adapter as make_light_adapter

CHOICES = ["Yes", "No", "아니요"]
ROWS = [
    {"question": f"Is {number} {'very ' * (number % 4)}large?", "right": number * 7 % 3, "choices": CHOICES}
    for number in range(12)
]
TASK = {
    "output_type": "multiple_choice",
    "dataset_path": "json",
    "test_split": "test",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "{{right}}",
    "target_delimiter": "",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 3.0},
}


def found_by(right: list[int], **more: list) -> dict:
    """What lm-eval returns of a group of two tasks, ten questions each: acc of each, and other metrics."""
    halves = {"one": slice(0, 10), "two": slice(10, 20)}
    metrics = {"acc": [float(value) for value in right], **more}
    samples = {
        task: [
            {"doc_id": place, "doc_hash": f"{task}{place}", "target_hash": "t", "filter": "none", "metrics": [*metrics]}
            | {name: values[half][place] for name, values in metrics.items()}
            for place in range(10)
        ]
        for task, half in halves.items()
    }
    mean = {f"{name},none": sum(map(float, values)) / 20 for name, values in metrics.items()}
    return {
        "results": {task: {"alias": task} for task in halves} | {"both": {"alias": "both", **mean}},
        "group_subtasks": {"both": ["one", "two"]},
        "versions": {"one": 1.0, "two": 1.0, "both": 2.0},
        "n-shot": {"one": 5, "two": 5, "both": 5},
        "higher_is_better": {"both": {"acc": True, "brier": False}},
        "samples": samples,
        "lm_eval_version": "0.4.13",
    }


def test_a_group_is_one_test_set_and_base_and_adapter_are_paired_question_by_question():
    found = {"base": found_by([0] * 12 + [1] * 8), "adapter": found_by([1] * 20)}
    assert top_tasks(found["base"]) == ["both"]
    one = evaluated_of("both", found, Asked(["both"]))
    (score,) = one.scores
    assert (score.name, score.base.value, score.adapter.value, score.adapter.n) == ("acc", 0.4, 1.0, 20)
    assert score.difference.value == pytest.approx(0.6) and score.verdict == "better" and score.difference.low > 0.3
    assert (one.kind, one.name, one.title) == ("lm-eval", "lm-eval:both", "both (lm-eval, 5-shot)")
    assert one.versions["lm-eval"] == "0.4.13" and one.versions["both"] == "2.0" and len(one.fingerprint) == 64
    asked = Asked(["both"], is_chat=True, task_folder="mine")
    mine = evaluated_of("both", found, asked)
    assert (mine.kind, mine.title) == ("own", "both (lm-eval, 5-shot, chat template)")


@pytest.mark.parametrize("values", [[1.5] * 20, ["0.5"] * 20, [-0.1] * 20], ids=["above 1", "no number", "below 0"])
def test_what_is_no_share_of_each_question_is_no_score(values):
    found = found_by([1] * 20, brier=values)
    assert [score.name for score in evaluated_of("both", {"base": found, "adapter": found}, Asked([])).scores] == [
        "acc"
    ]


def test_a_number_of_lm_eval_that_is_no_mean_of_its_questions_is_no_score_and_lower_may_be_better():
    base, own = (found_by([1] * 20, brier=[value] * 20) for value in (0.25, 0.125))
    (_acc, brier) = evaluated_of("both", {"base": base, "adapter": own}, Asked([])).scores
    assert brier.verdict == "better" and brier.difference.value == -0.125
    own["results"]["both"]["brier,none"] = 0.3
    assert len(evaluated_of("both", {"base": base, "adapter": own}, Asked([])).scores) == 1


def test_without_lm_eval_one_sentence_says_how_to_install_it(monkeypatch, capsys):
    make_light_adapter("mine")
    monkeypatch.setattr(harness, "PACKAGE", "no_such_package")
    assert main(["lm-eval", "--adapter", "mine", "--tasks", "hellaswag"]) == 1
    assert "pip install lm-eval" in capsys.readouterr().err
    assert main(["lm-eval", "--adapter", "mine"]) == 0
    assert "measured nothing of 'mine'" in capsys.readouterr().out


@pytest.fixture
def adapter(tiny_base, tmp_path):
    from safetensors.torch import load_file, save_file

    made = make_adapter(tmp_path / "made", tiny_base, base=str(tiny_base))
    weights = load_file(made / "adapter_model.safetensors")
    save_file({name: 4 * value for name, value in weights.items()}, made / "adapter_model.safetensors")
    put("one", made)
    return find_adapter("one")


def test_base_and_adapter_are_asked_in_turn_and_no_text_is_kept(adapter, monkeypatch):
    """With what stands in lm-eval's place: it keeps how it is called."""
    calls, models = [], []

    def simple_evaluate(harness, **how):
        calls.append(how)
        found = found_by([1] * 20 if hasattr(harness["pretrained"], "peft_config") else [0] * 20)
        for one in found["samples"]["one"]:
            one |= {"doc": "a secret text", "resps": ["another"]}
        return found | {"pretty_env_info": "/home/me"}

    for name, parts in (
        ("lm_eval", {"simple_evaluate": simple_evaluate}),
        ("lm_eval.models.huggingface", {"HFLM": lambda **how: models.append(how) or how}),
        ("lm_eval.tasks", {"TaskManager": lambda include_path: SimpleNamespace(match_tasks=lambda names: names)}),
        ("lm_eval.utils", {"handle_non_serializable": str}),
    ):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**parts))
    measure_tasks(adapter, Asked(["both"], limit=20), lambda what, part: None)
    assert [call["confirm_run_unsafe_code"] for call in calls] == [False, False] and calls[0]["limit"] == 20
    assert all(model["pretrained"].dtype.itemsize == 4 for model in models)
    (one,) = read_evaluated(adapter.folder)
    assert (one.scores[0].base.value, one.scores[0].adapter.value, one.scores[0].verdict) == (0, 1, "better")
    assert "better than the base" in lines_of(adapter)[1]
    kept = (adapter.folder / "lm-eval.json").read_text()
    assert '"acc": 1.0' in kept and not {"secret", "another", "/home/me"} & {*re.findall(r"[\w/]+", kept)}


@pytest.fixture
def tasks(tmp_path):
    """A folder with two tasks: 'large', and 'runs', which says that it runs code."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: an extra, `pip install lm-eval`")
    folder = tmp_path / "tasks"
    folder.mkdir()
    (folder / "rows.json").write_text("\n".join(json.dumps(row) for row in ROWS))
    data = {"dataset_kwargs": {"data_files": {"test": str(folder / "rows.json")}}}
    for name, more in (("large", {}), ("runs", {"unsafe_code": True})):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **TASK, **data, **more}))
    return folder


def test_lm_eval_finds_the_choices_that_the_evaluation_finds_of_base_and_adapter(adapter, tiny_base, tasks):
    measure_tasks(adapter, Asked(["large"], is_chat=True, task_folder=str(tasks)), lambda what, part: None)
    kept = json.loads((adapter.folder / "lm-eval.json").read_text())["found"]
    items = [
        {"number": place, "messages": [{"role": "user", "content": row["question"]}], "choices": CHOICES}
        for place, row in enumerate(ROWS)
    ]
    resident = Resident()
    for candidate, folder in (("base", None), ("adapter", adapter.folder)):
        results = choice_losses(resident, Model(tiny_base, "fp32", folder), items, threading.Event())
        losses = {one["item"]: one["choice_losses"] for one in results}
        ours = [float(losses[place].index(min(losses[place])) == row["right"]) for place, row in enumerate(ROWS)]
        theirs = {one["doc_id"]: one["acc"] for one in kept[candidate]["samples"]["large"]}
        assert [theirs[place] for place in range(len(ROWS))] == ours
    assert kept["base"]["samples"] != kept["adapter"]["samples"]
    (one,) = read_evaluated(adapter.folder)
    (score,) = one.scores
    assert (one.title, one.versions["large"]) == ("large (lm-eval, 0-shot, chat template)", "3.0")
    assert (score.adapter.value, score.adapter.n) == (pytest.approx(sum(ours) / 12), 12) and score.base
    assert lines_of(adapter)[0] == one.title and "n 12" in lines_of(adapter)[1]


def test_tasks_that_run_code_and_tasks_that_are_none_are_refused_in_words(adapter, tasks):
    for name, said in (("runs", "marked as unsafe"), ("not-there", "no task 'not-there'")):
        with pytest.raises(UserError, match=said):
            measure_tasks(adapter, Asked([name], task_folder=str(tasks)), lambda what, part: None)
    assert read_evaluated(adapter.folder) == [] and not (adapter.folder / "lm-eval.json").exists()
    for asked, said in ((Asked([], limit=-1), "0 or more"), (Asked([], task_folder="not/there"), "There is no folder")):
        with pytest.raises(UserError, match=said):
            measure(adapter, asked)
