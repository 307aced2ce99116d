"""A run's events stay few whatever the number of steps, and the last step is known at every moment."""

import json
import os
from itertools import pairwise

import pytest

from common.language import _
from common.paths import runs_folder
from runs import run as module
from runs.processes import this_process
from runs.run import EventLog, Run, read_state
from runs.state import state_of
from trainer.report_failure import report_failure

MAX_POINTS = 12_000
TOTAL_STEPS = 1_000_000


class Clock:
    """Ten milliseconds pass at each look at the time; `monotonic` moves by hand."""

    def __init__(self) -> None:
        self.now, self.passed = 1.7e9, 100.0

    def time(self) -> float:
        self.now += 0.01
        return self.now

    def monotonic(self) -> float:
        return self.passed


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    return found


@pytest.fixture
def run() -> Run:
    """One that trains, in this process."""
    found = Run(runs_folder() / "run")
    found.folder.mkdir(parents=True)
    found.config_file.write_text("name: run\n")
    found.process_file.write_text(json.dumps({"trainer": this_process(os.getpid())}))
    return found


def train(events: EventLog, first: int, last: int) -> None:
    for step in range(first, last + 1):
        events.write_step(step, total_steps=TOTAL_STEPS, loss=float(step), tokens_per_second=9.0, eta_seconds=1.0)


def steps_in(run: Run) -> list[int]:
    return [step for step, _ in state_of(run.events_file).losses]


def test_a_million_steps_are_some_thousand_points_and_the_last_one_is_exact(run, monkeypatch):
    lines = []
    monkeypatch.setattr(module, "append_event", lambda path, event: lines.append(event))
    events = EventLog(run)
    train(events, 1, TOTAL_STEPS - 1)
    events.write("done")
    steps = [event["step"] for event in lines if event["event"] == "step"]
    assert steps[:2000] == list(range(1, 2001)) and steps[-1] == TOTAL_STEPS - 1
    assert len(steps) < MAX_POINTS and steps == sorted(set(steps))
    for end in (10_000, 100_000, 999_999):
        second_half = [step for step in steps if end / 2 < step <= end]
        assert 700 < len(second_half) < 1100, "as many as a screen shows"


def test_the_step_before_an_evaluation_a_checkpoint_and_the_end_is_written(run):
    events = EventLog(run)
    events.write("training")
    train(events, 9_001, 9_005)
    events.write("eval", step=9_005, loss=1.0)
    train(events, 9_006, 9_011)
    events.write("checkpoint", step=9_011)
    train(events, 9_012, 9_013)
    report_failure(RuntimeError("no"), run, events, 0)
    assert steps_in(run) == [9_005, 9_008, 9_011, 9_013]
    kinds = [json.loads(line)["event"] for line in run.events_file.read_text().splitlines()]
    assert kinds == ["training", *("step", "eval"), *("step", "step", "checkpoint"), "step", "failed"]


def test_a_step_that_is_left_out_is_shown_while_it_trains_at_most_once_a_second(run, clock):
    events = EventLog(run)
    events.write("training")
    train(events, 9_001, 9_003)
    state = read_state(run)
    assert (state.step, state.losses[-1], state.eta_seconds) == (9_001, (9_001, 9_001.0), 1.0)
    clock.passed += 1.0
    train(events, 9_004, 9_005)
    assert read_state(run).step == 9_004 and steps_in(run) == []


def test_what_happens_between_two_events_is_shown_and_a_stop_is_heard_at_once(run, clock):
    events = EventLog(run)
    events.write("evaluating")
    assert (read_state(run).activity, read_state(run).activity_part) == ("Evaluating on held-out examples", None)
    for done in (9, 10):
        words = _("Evaluating on {count} held-out examples, {done} done", count=20, done=done)
        events.write_activity(words, done / 20, eta_seconds=5.0)
    state = read_state(run)
    assert (state.activity, state.activity_part, state.eta_seconds) == (words.replace("10", "9"), 0.45, 5.0)
    assert "activity" not in run.events_file.read_text()
    run.request_stop()
    assert read_state(run).activity == "Stopping: ending the evaluation, then saving"
    for status, activity in {"training": "Stopping: finishing the step, then saving", "saving": "Saving"}.items():
        events.write(status)
        assert (read_state(run).activity, read_state(run).activity_part) == (activity, None)
    events.write("stopped", message="Stopped at step 3.")
    assert read_state(run).activity == ""


def test_a_run_that_is_killed_shows_its_last_second_and_a_later_event_makes_it_old(run):
    events = EventLog(run)
    events.write("training")
    train(events, 9_001, 9_001)
    run.process_file.write_text(json.dumps({"trainer": {"pid": 2**22 + 1, "started": 1.0}}))
    assert (read_state(run).status, read_state(run).step) == ("interrupted", 9_001)
    again = EventLog(run)
    again.write("queued")
    again.write("resumed", step=8_000, stage=1)
    assert read_state(run).losses == []
    train(again, 8_001, 8_008)
    assert read_state(run).step == 8_008 and steps_in(run) == [8_008]


def test_steps_that_are_trained_again_replace_the_earlier_ones(run):
    events = EventLog(run)
    train(events, 1, 5_000)
    events.write("checkpoint", step=5_000)
    train(events, 5_001, 6_000)
    again = EventLog(run)
    again.write("resumed", step=5_000, stage=1)
    for step in range(5_001, 6_001):
        again.write_step(step, loss=0.5)
    again.write("done")
    steps = steps_in(run)
    assert steps == sorted(set(steps)) and steps[-1] == 6_000 and max(b - a for a, b in pairwise(steps)) <= 4
    assert {loss for step, loss in state_of(run.events_file).losses if step > 5_000} == {0.5}


@pytest.mark.parametrize("moment", ["while it writes", "before the rename"])
def test_a_kill_while_the_newest_step_is_replaced_leaves_the_older_one(run, monkeypatch, moment):
    events = EventLog(run)
    events.write("training")
    train(events, 9_001, 9_001)

    def killed(*_) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module.os, "replace", killed)
        train(EventLog(run), 9_002, 9_002)
    if moment == "while it writes":
        run.progress_file.with_suffix(".partial").write_text('{"time": 1')
    assert read_state(run).step == 9_001
    train(EventLog(run), 9_003, 9_003)
    assert read_state(run).step == 9_003


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"event":"done"}', '{"event":"step","step":-1,"loss":[]}', "\0" * 99]
)
def test_a_damaged_newest_step_is_none(run, text):
    EventLog(run).write("training")
    run.progress_file.write_text(text)
    assert (read_state(run).status, read_state(run).step) == ("training", 0)


def test_processes_that_do_not_write_leave_no_file(run):
    events = EventLog(run, writes=False)
    train(events, 9_001, 9_100)
    events.write("done")
    assert not run.events_file.exists() and not run.progress_file.exists()
