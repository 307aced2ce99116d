"""Slices of a run: whoever ends them, it says so, nothing is trained twice, and its owner can go on."""

import signal
import subprocess
import sys

import pytest

from common.errors import UserError
from common.files import read_object, write_json
from runs import queue
from runs.config import TrainConfig
from runs.history import discard
from runs.processes import this_process
from runs.queue import launch
from runs.run import EventLog, Run, read_state
from runs.slices import slices_words, train_in_slices


@pytest.fixture
def run(monkeypatch) -> Run:
    """A run as a start on ZeroGPU leaves it: it waits for its page."""
    monkeypatch.setattr(queue, "on_zero_gpu", lambda: True)
    return launch(TrainConfig(name="sliced", base="embedded"))


def slices(run: Run, *ends: str):
    """The function that trains a slice: each writes a step, and the last event of `ends` that is its turn."""
    left = list(ends)

    def train(same: Run, used_seconds: float) -> None:
        assert (
            same == run
            and (used_seconds > 0) == (len(left) < len(ends))
            and run.is_alive()
            and read_state(run).is_running
        )
        EventLog(run).write_step(len(ends) - len(left) + 1, loss=1.0)
        if end := left.pop(0):
            EventLog(run).write(end)

    return train


def is_waited_for() -> bool:
    return False


def test_a_start_on_zero_gpu_queues_nothing_and_waits_for_its_page(run):
    assert not run.is_queued() and queue.advance() is None
    assert (read_state(run).status, read_state(run).message) == ("stopped", "It was not started.")


def test_slices_follow_until_the_run_has_ended(run):
    train_in_slices(run, slices(run, "", "", "done"), is_waited_for)
    state = read_state(run)
    assert (state.status, state.step) == ("done", 3) and not run.is_alive()


def test_a_page_that_is_closed_between_two_slices_leaves_an_interrupted_run_to_resume(run):
    train_in_slices(run, slices(run, "", ""), is_left=lambda: read_state(run).step == 1)
    state = read_state(run)
    assert (state.status, state.message) == ("interrupted", "The page was closed between two slices.")
    queue.enqueue(run)
    train_in_slices(run, slices(run, "done"), is_waited_for)
    assert read_state(run).status == "done"


def test_an_exhausted_quota_ends_it_with_its_sentence_until_it_is_resumed(run):
    def refused(_run: Run, _used: float) -> None:
        raise UserError("Your quota is used up.", "Try again in 3 h.")

    with pytest.raises(UserError, match="used up"):
        train_in_slices(run, refused, is_waited_for)
    state = read_state(run)
    assert (state.status, state.message) == ("stopped", "Your quota is used up.")
    assert state.hint.startswith("Try again in 3 h. There is no checkpoint yet") and not run.is_alive()


def test_a_stop_between_two_slices_asks_for_no_gpu(run):
    queue.stop(run)
    train_in_slices(run, slices(run), is_waited_for)
    assert read_state(run).message == "Stopped between two slices."


def test_two_pages_do_not_train_one_run(run):
    def meanwhile(same: Run, _used: float) -> None:
        with pytest.raises(UserError, match="is not waiting"):
            train_in_slices(same, slices(run), is_waited_for)
        with pytest.raises(UserError, match="already training"):
            queue.enqueue(same)
        EventLog(same).write("done")

    train_in_slices(run, meanwhile, is_waited_for)


def test_a_run_that_nobody_let_in_is_not_trained(run):
    train_in_slices(run, slices(run, "done"), is_waited_for)
    with pytest.raises(UserError, match="is not waiting"):
        train_in_slices(run, slices(run), is_waited_for)


def test_who_deletes_a_run_in_a_slice_ends_its_fork_and_not_the_page_of_everybody(run):
    signals = []
    signal.signal(signal.SIGTERM, lambda *_more: signals.append("the page"))
    fork = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    def deleted(same: Run, _used: float) -> None:
        write_json(same.process_file, {**read_object(same.process_file), "trainer": this_process(fork.pid)})
        discard(same)
        raise UserError("ZeroGPU ended the task before it was done.")

    train_in_slices(run, deleted, is_waited_for)
    assert fork.poll() is not None and not signals and not run.folder.exists()


def test_the_plan_counts_slices_and_the_quota_that_they_take():
    assert "about 1 slice of up to 60 s (50 s of your quota)" in slices_words(30)
    assert "about 5 slices of up to 60 s (5 min of your quota)" in slices_words(200)
    assert "slices of up to 60 s" in slices_words(None)
