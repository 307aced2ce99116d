"""While the app is being stopped nothing new starts, and nothing that waits is lost."""

import subprocess
import sys

import pytest

from common.files import read_object, write_json
from common.paths import home
from evaluation import start as evaluations
from evaluation.experiments import start as experiments
from making import start as making
from runs import closing, queue
from runs.closing import close, is_closing
from runs.config import TrainConfig
from runs.limits import NoRoom
from runs.processes import this_process
from tests.queueing import make_run, queued


def test_what_starts_is_refused_in_a_sentence():
    run = make_run()
    close()
    starts = {
        "a training": lambda: queue.launch(TrainConfig()),
        "a resume": lambda: queue.enqueue(run),
        "an evaluation": lambda: evaluations.make_and_start(
            evaluations.Evaluation,
            home() / "evaluations" / "local",
            "x",
            "{}",
            lambda: evaluations._check_turn("local"),
        ),
        "an experiment": lambda: experiments.check_turn("local"),
        "a made set": lambda: making._check_turn("local"),
    }
    for what, start in starts.items():
        with pytest.raises(NoRoom, match="being stopped"):
            start()
        assert not [*home().glob("evaluations/local/*")] and not run.is_queued(), what


def test_a_run_that_waits_keeps_its_place(monkeypatch):
    run = queued("waits")
    monkeypatch.setattr(queue, "_start", lambda *_: pytest.fail("it was started"))
    close()
    assert queue.advance() is None and run.is_queued() and queue.position(run) == (1, 1)


def test_an_app_that_was_killed_while_it_stopped_holds_up_nothing():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    write_json(home() / closing.MARK, this_process(process.pid))
    assert is_closing()
    process.kill()
    process.wait()
    assert not is_closing() and read_object(home() / closing.MARK)
