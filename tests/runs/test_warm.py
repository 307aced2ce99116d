"""A process that has its imports done is taken by one run of its owner that would be started alike, and ends else."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from common.paths import REPOSITORY, runs_folder
from models.hardware import Gpu
from runs import launcher, warm
from runs.config import TrainConfig
from runs.launcher import create_run, environment
from runs.processes import this_process
from runs.queue import launch
from runs.run import UNFINISHED
from tests.running import losses, small_settings, wait

CPU = TrainConfig(base="embedded")
# in the place of a training: it says what it was told, or that nobody came
ECHO = "import sys; print('here', flush=True); print('told', sys.stdin.readline().strip() or 'nothing', flush=True)"


@pytest.fixture
def ended(monkeypatch):
    monkeypatch.delenv("STUDIO_WARM_START")
    yield
    warm.end()


@pytest.fixture
def echo(monkeypatch, ended):
    """What waits only says what it is told."""
    monkeypatch.setattr(warm, "launch_command", lambda config, file, gpus, run: [sys.executable, "-c", ECHO])


def waiting() -> subprocess.Popen:
    assert warm._waiting
    return warm._waiting.process


def start_of(config: TrainConfig, gpus: tuple = ()) -> warm.Start | None:
    return warm.start_of(config, gpus, environment(config, gpus))


def take(owner: str, config: TrainConfig = CPU) -> tuple[subprocess.Popen | None, str]:
    """Take for a new run; return the process and all that its log has in the end."""
    run = create_run(config, owner)
    process = warm.take(run, start_of(config))
    if process:
        warm.tell(process, run)
        process.wait(30)
    return process, run.log_file.read_text().replace(str(run.folder), "RUN") if run.log_file.exists() else ""


def is_gone(process: subprocess.Popen) -> bool:
    process.wait(30)
    deadline = time.monotonic() + 10
    while [*runs_folder().parent.glob(f"*/warm-*{UNFINISHED}")] and time.monotonic() < deadline:
        time.sleep(0.05)
    return not [*runs_folder().parent.glob(f"*/warm-*{UNFINISHED}")]


def test_a_run_takes_it_with_its_log_once(echo):
    warm.prepare("ann")
    process = waiting()
    warm.prepare("ann")
    assert waiting() is process, "one at a time"
    assert take("ann") == (process, "here\ntold RUN\n") and is_gone(process)
    assert take("ann") == (None, "")


def test_nobody_gets_what_waits_for_another(echo):
    warm.prepare("ann")
    process = waiting()
    warm.prepare("bob")
    assert waiting() is process and take("bob") == (None, "") and is_gone(process)


def test_one_that_dies_the_moment_it_is_taken_is_a_process_that_was_killed(echo):
    warm.prepare("ann")
    run = create_run(CPU, "ann")
    process = warm.take(run, start_of(CPU))
    process.kill()
    assert process.wait(30) == -signal.SIGKILL
    warm.tell(process, run)


def test_a_run_with_a_log_starts_as_ever(echo):
    """It is resumed: what was printed before stays."""
    warm.prepare("ann")
    process, run = waiting(), create_run(CPU, "ann")
    run.log_file.write_text("before\n")
    assert warm.take(run, start_of(CPU)) is None and is_gone(process) and run.log_file.read_text() == "before\n"


@pytest.mark.parametrize(
    "change", [{"num_processes": 2, "parallel": "ddp"}, {"accelerate_config": "mine.yaml"}], ids=str
)
def test_what_is_more_than_a_process_starts_as_ever(change):
    assert start_of(replace(CPU, **change)) is None


def test_another_card_precision_or_environment_starts_as_ever(monkeypatch):
    cards = (Gpu("T4", 15 * 2**30, 7.5), Gpu("T4", 15 * 2**30, 7.5))
    one = cards[:1]
    assert start_of(CPU) == start_of(replace(CPU, learning_rate=1e-3, max_steps=3, name="other"))
    assert len({start_of(CPU).yaml, start_of(CPU, one).yaml, start_of(replace(CPU, precision="fp32"), one).yaml}) == 3
    assert warm.start_of(CPU, one, {}, '"1"') != warm.start_of(CPU, one, {})
    before = start_of(CPU)
    monkeypatch.setenv("STUDIO_MAX_MINUTES", "7")
    assert start_of(CPU) != before


def test_unused_it_ends(echo, monkeypatch):
    monkeypatch.setattr(warm, "UNUSED_SECONDS", 0.2)
    warm.prepare("ann")
    assert is_gone(waiting() if warm._waiting else pytest.fail("ended too soon")) and warm._waiting is None


def test_its_owner_can_switch_it_off(echo, monkeypatch):
    monkeypatch.setenv("STUDIO_WARM_START", "0")
    warm.prepare("ann")
    assert warm._waiting is None


def test_none_waits_where_memory_is_short_or_somebody_trains(echo, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(warm, "available_memory", lambda: warm.BYTES_NEEDED - 1)
        warm.prepare("ann")
    run = create_run(CPU, "bob")
    launcher.write_json(run.process_file, {"trainer": this_process(os.getpid())})
    warm.prepare("ann")
    assert warm._waiting is None


def test_it_ends_with_a_program_that_is_killed(echo, tmp_path):
    code = f"""
import os, sys
from runs import warm
warm.launch_command = lambda *more: [sys.executable, "-c", {ECHO!r}]
warm.prepare("ann")
print(warm._waiting.process.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    died = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(died.stdout)).wait(30)


@pytest.mark.slow
def test_it_trains_like_any_other_holds_no_token_and_tells_who_killed_it(tiny_base, tmp_path, monkeypatch, ended):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    settings = small_settings(tiny_base, tmp_path, max_steps=3)
    usual = launch(TrainConfig(name="usual", **settings))
    assert wait(usual).status == "done"
    while usual.is_alive():
        time.sleep(0.1)
    warm.prepare("local")
    process = waiting()
    while not (children := psutil.Process(process.pid).children()):
        time.sleep(0.1)
    texts = [Path(f"/proc/{pid}/environ").read_text() for pid in (process.pid, children[0].pid)]
    assert not any("hf_secret" in text for text in texts)
    run = launch(TrainConfig(name="taken", **settings))
    assert run.processes()[0]["pid"] == process.pid
    assert wait(run).status == "done" and losses(run) == losses(usual)
    assert process.wait(60) == 0 and not run.is_alive()
    warm.prepare("local")
    killed = launch(TrainConfig(name="killed", **{**settings, "max_steps": 3000}))
    wait(killed, lambda state: state.status == "training")
    os.kill(killed.processes()[1]["pid"], signal.SIGKILL)
    while killed.is_alive():
        time.sleep(0.1)
    assert "SIGKILL" in killed.log_tail(15), "accelerate's launcher lives on to tell it"
