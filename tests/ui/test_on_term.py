"""SIGTERM at the real app, as `docker stop` sends it: a real training stops with a checkpoint, and goes on after the restart."""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from contextlib import suppress
from functools import partial

import psutil
import pytest
from filelock import FileLock

from common.errors import UserError
from common.files import write_json
from common.paths import adapters_folder, home
from evaluation.experiments.experiment import Experiment
from evaluation.run import Evaluation
from making.made import MadeSet
from runs import queue
from runs.checkpoints import COMPLETE
from runs.closing import is_closing
from runs.config import TrainConfig
from runs.labels import set_labels
from runs.launcher import create_run
from runs.limits import NoRoom
from runs.processes import this_process
from tests.browser.driving import free_port, start_app
from tests.chat.openai_server import openai_server
from tests.queueing import make_run, wait_for
from tests.running import events, wait
from ui import on_term
from ui.on_term import ask_all_to_stop, obey_term

SECONDS = 300


@pytest.fixture
def app(isolated_home):
    """`app()` starts the real app, as the image does, and gives its process and address; all is ended after the test."""
    processes = []

    def start() -> tuple[subprocess.Popen, str]:
        port = free_port()
        with open(home() / "app.log", "ab") as log:
            processes.append(start_app({**os.environ, "STUDIO_ON_TERM": "stop"}, port, log))
        return processes[-1], f"http://127.0.0.1:{port}"

    yield start
    for process in [*processes, *psutil.process_iter(["cmdline"])]:
        words = process.info["cmdline"] if isinstance(process, psutil.Process) else [str(isolated_home)]
        if any(str(isolated_home) in word for word in words or []):
            with suppress(psutil.NoSuchProcess, ProcessLookupError):
                process.kill()


def health(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{address}/healthz", timeout=SECONDS) as answer:
            return answer.status, json.load(answer)["status"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["status"]


def test_a_training_stops_with_a_checkpoint_and_goes_on_after_the_restart(app, settings, monkeypatch):
    run = create_run(TrainConfig(name="run", **settings | {"max_steps": 100_000, "save_steps": 50_000}))
    write_json(run.queued_file, {"time": 1.0})
    process, address = app()
    assert health(address) == (200, "ok")
    wait(run, lambda state: state.step >= 3)
    process.send_signal(signal.SIGTERM)
    wait_for(lambda: health(address) == (503, "stopping"), SECONDS)
    with pytest.raises(NoRoom, match="being stopped"):
        queue.launch(TrainConfig(name="other", **settings))
    assert process.wait(SECONDS) == 0
    state = wait(run)
    assert state.status == "stopped" and not run.is_alive() and state.adapter == "run"
    (checkpoint,) = run.checkpoints_folder.glob("checkpoint-*")
    step = int(checkpoint.name.rpartition("-")[2])
    assert (checkpoint / COMPLETE).exists() and step >= 3

    with openai_server() as (server, url):
        server.root = settings["base"]
        monkeypatch.setenv("CHAT_SERVER_URL", url)
        monkeypatch.setenv("CHAT_SERVER_ADAPTERS", str(adapters_folder().parent))
        again, _address = app()
        queue.enqueue(run)  # as Resume does
        wait(run, lambda state: state.step >= step + 2)
        wait_for(lambda: [*server.adapters] == ["studio:local:run"], SECONDS)
    assert [event["step"] for event in events(run, "step")].count(step) == 1, "it went on behind the checkpoint"
    again.send_signal(signal.SIGTERM)
    again.send_signal(signal.SIGTERM)
    assert again.wait(SECONDS) in (0, 1), "a second one ends it at once"


def test_all_that_computes_is_asked_and_an_experiment_stops_its_own_runs():
    alone, of_it = make_run("alone"), make_run("of-it")
    set_labels(of_it, experiment="study/a-1")
    works = [
        kind(home() / name / "local" / "study")
        for kind, name in ((Experiment, "experiments"), (Evaluation, "evaluations"), (MadeSet, "making"))
    ]
    for work in works:
        work.folder.mkdir(parents=True)
        work.config_file.touch()
    for one in (alone, of_it, *works):
        write_json(one.process_file, {"process": this_process(os.getpid())})
    assert {one.folder for one in ask_all_to_stop()} == {one.folder for one in (alone, of_it, *works)}
    assert all(one.stop_file.exists() for one in (alone, *works)) and not of_it.stop_file.exists()
    works[0].process_file.unlink()
    ask_all_to_stop()
    assert of_it.stop_file.exists(), "its experiment is gone: nobody else would stop it"


class Left(BaseException):
    """The process would be gone."""


@pytest.fixture
def leaving(monkeypatch):
    """`os._exit` ends what runs instead; SIGTERM is put back."""

    def leave(code):
        raise Left(code)

    monkeypatch.setattr(os, "_exit", leave)
    before = signal.getsignal(signal.SIGTERM)
    yield before
    signal.signal(signal.SIGTERM, before)


def test_without_the_setting_the_last_step_is_done_and_an_unknown_one_is_a_sentence(monkeypatch, leaving):
    done = []
    for wish in ("continue", ""):
        monkeypatch.setenv("STUDIO_ON_TERM", wish)
        obey_term(partial(done.append, wish))
        with pytest.raises(Left, match="0"):
            os.kill(os.getpid(), signal.SIGTERM)
    assert done == ["continue", ""]
    monkeypatch.setenv("STUDIO_ON_TERM", "maybe")
    with pytest.raises(UserError, match=r"Choose among these: continue, stop\."):
        obey_term()
    monkeypatch.setenv("STUDIO_ON_TERM", "")
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    signal.signal(signal.SIGTERM, leaving)
    obey_term()
    assert signal.getsignal(signal.SIGTERM) is not leaving, "a Space ends with all of its processes"


def test_it_ends_and_asks_the_others_whatever_fails(monkeypatch, leaving):
    gone, other, run = (
        Evaluation(home() / "evaluations/local/gone"),
        MadeSet(home() / "making/local/set"),
        make_run("r"),
    )
    other.folder.mkdir(parents=True)
    for one in (other, run):
        write_json(one.process_file, {"process": this_process(os.getpid())})
    monkeypatch.setattr(gone.__class__, "is_alive", lambda self: True)
    monkeypatch.setattr(on_term, "all_evaluations", lambda: [gone])
    monkeypatch.setattr(on_term, "all_made", lambda: [other])
    monkeypatch.setattr(queue, "LOCK_SECONDS", 0.1)

    def fails():
        raise NotADirectoryError("the home is a file now")

    with FileLock(home() / "start.lock"), pytest.raises(Left, match="0"):  # somebody never gives it back
        on_term._end(0, fails)
    assert other.stop_file.exists() and run.stop_file.exists() and is_closing()
