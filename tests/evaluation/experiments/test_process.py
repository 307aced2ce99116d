"""A whole experiment in its own process, on a two-layer model: killed while it trains and while it asks, it finds the same."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from common.files import read_json_lines, read_object, tail
from common.paths import adapters_folder
from evaluation.experiments.cells import read_cells
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.start import resume, start
from evaluation.run import Background, read_progress
from runs.run import active_run, list_runs
from tests.evaluation.experiments.experiments import write_rows
from tests.queueing import end

pytestmark = pytest.mark.usefixtures("warm_starts")
SECONDS = 300


@pytest.fixture
def config(tiny_base, tmp_path) -> ExperimentConfig:
    settings = {"base": str(tiny_base), "data": str(write_rows(tmp_path / "rows.jsonl", 30)), "precision": "fp32"}
    settings |= {"max_steps": 3, "save_steps": 1, "lora_r": 4, "per_device_train_batch_size": 2, "max_length": 128}
    return ExperimentConfig(
        "Killed",
        settings,
        {"method": ["none", "lora"]},
        seeds=[1],
        test_sets=["held-out", "general"],
        max_items=6,
        max_new_tokens=4,
    )


def wait(experiment: Experiment, until: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not until():
        progress = read_progress(experiment)
        assert time.monotonic() < deadline and progress.is_running, f"{progress}\n{tail(experiment.log_file)}"
        time.sleep(0.02)


def finish(experiment: Experiment) -> list:
    """Wait for its end; return what was measured of each cell."""
    wait(experiment, lambda: not read_progress(experiment).is_running)
    assert read_progress(experiment).status == "done", f"{read_progress(experiment)}\n{tail(experiment.log_file)}"
    cells = read_cells(experiment)
    assert {cell.status for cell in cells} == {"done"} and not [*adapters_folder().glob("*")]
    files = [file for cell in cells for file in sorted(cell.evaluation.results_folder.rglob("*.jsonl"))]
    return [sorted(read_json_lines(file), key=lambda line: (line["item"], line["needs"])) for file in files]


def kill(work: Background) -> None:
    os.kill(read_object(work.process_file)["process"]["pid"], signal.SIGKILL)
    while work.is_alive():
        time.sleep(0.02)


def test_an_experiment_that_is_killed_while_it_trains_and_while_it_asks_finds_what_one_in_one_go_finds(config):
    whole = finish(start(config))
    assert len(whole) == 4 and all(whole)
    assert whole[:2] != whole[2:], "the adapter learned something"
    broken = start(config)
    wait(broken, lambda: (run := active_run()) and [*Path(run.checkpoints_folder).glob("checkpoint-*/complete")])
    run = active_run()
    kill(broken)
    if run:
        end(run)
    resume(broken)
    evaluation = broken.evaluation("lora.1")
    wait(broken, lambda: [*evaluation.results_folder.rglob("*.jsonl")])
    kill(broken)
    kill(evaluation)
    resume(broken)
    assert finish(broken) == whole
    assert len(list_runs()) == 2, "no run was made twice"
