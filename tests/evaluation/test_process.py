"""A whole evaluation in its own process, on a two-layer model: stopped, killed, resumed, it finds what it would have found."""

import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace

import pytest

from adapters.evaluated import read_evaluated
from common.files import read_json_lines, tail
from common.paths import adapters_folder, runs_folder
from data.intake import prepare
from evaluation import process
from evaluation.background import delete_work, request_stop
from evaluation.config import EvaluationConfig
from evaluation.run import Evaluation, Progress, find_evaluation, read_progress
from evaluation.start import keep_file, resume, start
from evaluation.table import compare, read_table, rows_that_differ
from runs.config import TrainConfig
from runs.run import find_run
from tests.chat.conftest import make_adapter
from tests.running import write_rows

pytestmark = pytest.mark.usefixtures("warm_starts")
SECONDS = 300
LABELS = ("good", "bad", "so so")
WORDS = [
    "red",
    "hill",
    "llama",
    "tree",
    "snow",
    "river",
    "seven",
    "cloud",
    "door",
    "happy",
    "stone",
    "bread",
    "night",
    "green",
]


def some_words(count: int, seed: str) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=count))


CLASSES = [{"prompt": f"Is this good? {some_words(12, f'c{n}')}", "completion": LABELS[n % 3]} for n in range(30)]
PAIRS = [{"prompt": some_words(12, f"p{n}"), "completion": some_words(12, f"a{n}")} for n in range(60)]
TEXTS = [{"text": some_words(40, f"t{n}")} for n in range(8)]


def wait(evaluation: Evaluation, until=lambda progress: not progress.is_running) -> Progress:
    """The progress of `evaluation` once `until` holds."""
    deadline = time.monotonic() + SECONDS
    while not until(progress := read_progress(evaluation)):
        assert time.monotonic() < deadline and progress.is_running, f"{progress}\n{tail(evaluation.log_file)}"
        time.sleep(0.02)
    return progress


def results(evaluation: Evaluation) -> list[tuple]:
    """What was measured: (file, item, measurement), sorted."""
    return sorted(
        (str(file.relative_to(evaluation.folder)), line["item"], line["needs"])
        for file in evaluation.results_folder.rglob("*.jsonl")
        for line in read_json_lines(file)
    )


@pytest.fixture
def config(tiny_base, tmp_path) -> EvaluationConfig:
    """The base, the base with examples and an adapter of a run, on three test sets and the rows that the run held out."""
    adapter = make_adapter(tiny_base, adapters_folder() / "mine", 1, 0.05, target_modules="all-linear")
    run = runs_folder() / "mine"
    (run / "data").mkdir(parents=True)
    write_rows(run / "data" / "data.jsonl", PAIRS)
    settings = TrainConfig(name="mine", base=str(tiny_base), data="data/data.jsonl", eval_fraction=0.5)
    (run / "config.yaml").write_text(settings.to_yaml())
    shutil.copy(run / "config.yaml", adapter / "training_config.yaml")
    files = {"classes": CLASSES, "texts": TEXTS, "leaked": [*PAIRS[:20], *CLASSES[:1]]}
    test_sets = [keep_file(write_rows(tmp_path / f"{name}.jsonl", rows)) for name, rows in files.items()]
    names = ["base", "few-shot", "adapter:mine"]
    return EvaluationConfig("One", names, [*test_sets, "run:mine"], shots=2, max_new_tokens=32, precision="fp32")


def test_an_evaluation_that_was_stopped_killed_and_resumed_finds_what_one_in_one_go_finds(config):
    whole = start(config)
    assert wait(whole).status == "done", tail(whole.log_file)
    table, measured = read_table(whole), results(whole)
    assert len(measured) == len(set(measured)) == read_progress(whole).total
    _check_what_was_asked(whole)
    kept = {one.name: one for one in read_evaluated(adapters_folder() / "mine")}
    assert {*kept} == {*config.test_sets} and kept["run:mine"].kind == "held-out", "its adapter has the scores"
    assert all(score.base and score.difference for one in kept.values() for score in one.scores)

    broken = start(config)
    assert broken.id == "one-2"
    wait(broken, lambda progress: len(results(broken)) > 5)
    request_stop(broken)
    assert wait(broken).status == "stopped" and read_table(broken), "what is there is a table"
    stopped_at = len(results(broken))
    resume(broken)
    wait(broken, lambda progress: len(results(broken)) > stopped_at + 5)
    os.kill(json.loads(broken.process_file.read_text())["process"]["pid"], signal.SIGKILL)
    killed = wait(broken)
    assert killed.status == "interrupted" and stopped_at < len(results(broken)) < len(measured)
    with open(max(broken.results_folder.rglob("*.jsonl"), key=os.path.getmtime), "ab") as lines:
        lines.write(b'{"needs":"loss","item":1,"los')  # a kill between two bytes
    resume(broken)
    assert wait(broken).status == "done", tail(broken.log_file)

    assert results(broken) == measured, "something was asked twice, or never"
    for line, other in zip(table, read_table(broken), strict=True):
        assert replace(line, estimate=None, difference=None) == replace(other, estimate=None, difference=None)
        assert other.estimate.value == pytest.approx(line.estimate.value, rel=1e-4)
    both = compare(whole, broken)
    again = [line for line in both if line.candidate.startswith("one-2/base")]
    assert again and all(line.difference and line.difference.verdict == "undecided" for line in again)

    (adapters_folder() / "mine" / "adapter_model.safetensors").write_bytes(b"another")
    assert process.main(["--evaluation", str(broken.folder)]) == 1
    refused = read_progress(broken)
    assert refused.status == "failed" and "has changed since" in refused.message
    broken.process_file.unlink()  # it named the process of the tests
    delete_work(broken)
    assert not broken.folder.exists() and find_evaluation("one").folder == whole.folder


def _check_what_was_asked(evaluation: Evaluation) -> None:
    """Check that labels are chosen, texts read, answers written, and that no row of the training was asked."""
    run = find_run("mine")
    trained = {row["messages"][0]["content"] for row in prepare(run.config().data_settings(), run.folder).train}
    known = evaluation.known()["test_sets"]
    assert known["leaked"]["exact"] == sum(row["prompt"] in trained for row in PAIRS[:20]) > 0
    assert known["run:mine"]["exact"] == 0
    asked = {item["messages"][0]["content"] for item in read_json_lines(evaluation.items_file("leaked"))}
    assert not asked & trained
    scores = {name: {line.score for line in read_table(evaluation) if line.test_set == name} for name in known}
    assert scores["texts"] == {"loss"} and scores["classes"] == {"loss", "label_accuracy", "macro_f1"}
    assert {"loss", "exact", "chrf", "stop_rate"} <= scores["run:mine"]
    lines = {(line.test_set, line.candidate, line.score): line for line in read_table(evaluation)}
    assert ("texts", "few-shot", "loss") not in lines, "a text has no examples"
    assert "left out" in lines["leaked", "base", "loss"].notes[0]
    assert "2 examples" in str(lines["run:mine", "few-shot", "exact"].notes)
    losses = [lines["run:mine", candidate, "loss"].estimate for candidate in ("base", "adapter:mine")]
    assert losses[0].n == losses[1].n == 30 - 2 and losses[0].value != losses[1].value
    assert rows_that_differ(evaluation, "run:mine", "adapter:mine", "loss", 3)
