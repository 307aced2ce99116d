"""Runs that wait, and processes that play at training: what the tests of the queue share."""

import sys
import time

import psutil

from common.files import write_json, write_text
from common.paths import runs_folder
from runs.config import TrainConfig
from runs.run import Run

FAKE = """import os, sys, time
from pathlib import Path
from common.files import read_json, write_json
from runs.processes import this_process
run = Path(sys.argv[-1])
with open(run / "began", "a") as began:
    began.write("x")
write_json(run / "process.json", {{**read_json(run / "process.json", {{}}), "trainer": this_process(os.getpid())}})
time.sleep({seconds})"""


def fake_command(seconds: float):
    """A training process that notes that it began and who it is, as the real one does, and sleeps."""
    return lambda run, config, gpus: [
        *(sys.executable, "-c", FAKE.format(seconds=seconds), "-m", "trainer.train"),
        *("--run", str(run.folder)),
    ]


def end(run: Run) -> None:
    """End the process of `run` as the system would: without a word."""
    for process in psutil.process_iter(["cmdline"]):
        if str(run.folder) in (process.info["cmdline"] or []):
            process.kill()
    deadline = time.monotonic() + 10
    while run.is_alive() and time.monotonic() < deadline:
        time.sleep(0.02)


def make_run(name: str = "run", owner: str = "local", **settings) -> Run:
    """A run's folder with its settings, without data."""
    run = Run(runs_folder(owner) / name)
    run.folder.mkdir(parents=True)
    write_text(run.config_file, TrainConfig(name=name, **settings).to_yaml())
    return run


def queued(name: str, owner: str = "local", at: float = 0.0) -> Run:
    """A run that waits, without anybody looking whether it can start."""
    run = make_run(name, owner)
    write_json(run.queued_file, {"time": at})
    return run


def wait_for(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
