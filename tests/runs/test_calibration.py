"""The measurement: a real process on a small shape, remembered, stopped, refused."""

import os
import time

import psutil
import pytest

from common.errors import UserError
from common.files import read_json, write_json
from common.paths import home, runs_folder
from models.family import ModelShape
from models.hardware import Hardware
from runs.config import TrainConfig
from runs.forecast.speed import FILE, from_earlier_runs, known, measure
from runs.processes import this_process
from runs.run import EventLog, Run

SMALL = ModelShape(64, 128, 2, 4, 2, 16, 500, False, 256)
FACTS = {"train_rows": 50, "held_out_rows": 5, "tokens": 1600, "trained_tokens": 800}
FACTS |= {"longest": 64, "mean_length": 32.0}
CPU = Hardware((), 2, 16 * 2**30, "no GPU, 2 CPU cores")


def write_run(metrics: dict | None = None, **settings) -> Run:
    run = Run(runs_folder() / "earlier")
    run.folder.mkdir(parents=True)
    run.config_file.write_text(TrainConfig(**settings).to_yaml())
    if metrics:
        EventLog(run).write("done", metrics=metrics)
    return run


@pytest.mark.slow
def test_a_measurement_is_made_once_and_remembered():
    config, told = TrainConfig(), []
    assert known(config, SMALL, FACTS, CPU) is None
    found = measure(config, SMALL, FACTS, CPU, progress=lambda what, fraction: told.append(what))
    assert 0 < found.seconds_per_token < 1 and "this machine" in found.source and told
    assert found.framework_bytes > 2 * 10**8
    began = time.monotonic()
    assert measure(config, SMALL, FACTS, CPU) == found and time.monotonic() - began < 2, "no second process"
    assert known(TrainConfig(gradient_checkpointing="on"), SMALL, FACTS, CPU) is None
    assert known(TrainConfig(lora_r=64), SMALL, FACTS, CPU) is None
    assert known(TrainConfig(learning_rate=1e-3, name="other"), SMALL, FACTS, CPU) == found, (
        "speed does not depend on it"
    )
    assert len(read_json(home() / FILE)) == 1


def test_a_damaged_file_of_measurements_is_as_good_as_none():
    home().mkdir(parents=True, exist_ok=True)
    for content in ("[1]", '"text"', "{"):
        (home() / FILE).write_text(content)
        assert known(TrainConfig(), SMALL, FACTS, CPU) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "8bit", "per_device_train_batch_size": 2},
        {"last_layers": 1},
        {"last_layers": 1, "method": "last-n"},
    ],
    ids=str,
)
def test_a_quantised_base_and_the_last_layers_can_be_measured(settings, warm_starts):
    assert measure(TrainConfig(**settings), SMALL, FACTS, CPU).seconds_per_token > 0


@pytest.mark.slow
def test_a_stop_ends_the_process_and_remembers_nothing():
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    assert measure(TrainConfig(), SMALL, FACTS, CPU, stop=lambda: True) is None
    after = {child.pid for child in psutil.Process().children(recursive=True)}
    assert after <= before and not (home() / FILE).exists()


def test_nothing_is_measured_while_a_run_trains():
    run = write_run()
    write_json(run.process_file, {"trainer": this_process(os.getpid())})
    with pytest.raises(UserError, match="run is training"):
        measure(TrainConfig(), SMALL, FACTS, CPU)


@pytest.mark.slow
def test_a_process_that_fails_says_its_last_words(warm_starts):
    impossible = ModelShape(64, 128, 2, 3, 2, 16, 500, False, 256)  # three heads cannot share two keys
    with pytest.raises(UserError, match="could not be measured"):
        measure(TrainConfig(), impossible, FACTS, CPU)


def test_an_earlier_run_with_these_settings_tells_the_speed():
    metrics = {"tokens_per_second": 50.0, "base": "a/b", "hardware": "CPU, 2 threads"}
    write_run(metrics, lora_r=8)
    assert from_earlier_runs(TrainConfig(lora_r=8, name="new"), "a/b", CPU).seconds_per_token == 0.02
    assert from_earlier_runs(TrainConfig(lora_r=64), "a/b", CPU) is None
    assert from_earlier_runs(TrainConfig(lora_r=8), "c/d", CPU) is None
    assert from_earlier_runs(TrainConfig(lora_r=8), "a/b", CPU, owner="somebody") is None
