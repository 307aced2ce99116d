"""What a list says of a run is what the run says of itself, and a change is seen at once."""

import os
import time

import pytest

from benchmarks.inputs import make_library
from common.files import parse_event, write_json, write_text
from common.paths import runs_folder
from trainer import glance, history
from trainer import state as state_module
from trainer.config import TrainConfig
from trainer.glance import losses_of, status_of, words_of
from trainer.run import EventLog, Run, list_runs, read_state, this_process
from ui import history_view


def make_run(name: str = "run", *events: dict, owner: str = "alice", **settings) -> Run:
    run = Run(runs_folder(owner) / name)
    run.folder.mkdir(parents=True)
    write_text(run.config_file, TrainConfig(name=name, **settings).to_yaml())
    for event in events:
        EventLog(run).write(**event)
    age(run)
    return run


def age(run: Run) -> None:
    """As if all of it had been written an hour ago, so that it is remembered."""
    for file in [*run.folder.iterdir(), run.folder]:
        os.utime(file, (time.time() - 3600, time.time() - 3600))


def step(number: int, **values) -> dict:
    return {"event": "step", "step": number, "loss": 1.0 / (number + 1), **values}


QUEUED, TRAINING, DONE = {"event": "queued"}, {"event": "training"}, {"event": "done", "metrics": {"loss_after": 1.0}}
LOOK, ANSWERS = {"event": "eval", "step": 0, "loss": 3.0}, {"event": "samples", "step": 0, "answers": []}
HISTORIES = {
    "nothing": [],
    "queued": [QUEUED],
    "training": [QUEUED, TRAINING, *map(step, range(3))],
    "done": [QUEUED, TRAINING, step(1), LOOK, DONE],
    "done, then words": [QUEUED, TRAINING, step(1), DONE, {"event": "note", "message": '"event":"failed"'}],
    "failed": [QUEUED, TRAINING, step(1), {"event": "failed", "message": "x" * 9000}],
    "resumed": [TRAINING, step(1), step(2), LOOK, QUEUED, {"event": "resumed", "step": 1}, step(2), ANSWERS],
    "begun anew": [TRAINING, step(1), step(2), {"event": "eval", "step": 2, "loss": 1.0}, TRAINING, step(1)],
    "begun anew and far": [
        *[TRAINING, *map(step, range(1, 6)), {"event": "eval", "step": 5, "loss": 1.0}, *map(step, range(6, 11))],
        *[TRAINING, *map(step, range(1, 8))],
    ],
    "two stages": [{"event": "stage", "stage": 1}, step(1), LOOK, {"event": "stage", "stage": 2, "name": "b"}, step(1)],
    "long": [TRAINING, LOOK, *map(step, range(300))],
    "long and done": [TRAINING, *map(step, range(300)), DONE, *map(step, range(300, 400))],
}


@pytest.mark.parametrize("process", ["none", "alive", "gone", "waits", "job"])
@pytest.mark.parametrize("events", HISTORIES.values(), ids=HISTORIES)
def test_status_and_losses_are_those_of_the_state(events, process):
    run = make_run("run", *events)
    if process in ("alive", "gone"):
        started = this_process(os.getpid())["started"] if process == "alive" else 1.0
        write_json(run.process_file, {"trainer": {"pid": os.getpid(), "started": started}})
    elif process == "waits":
        write_json(run.queued_file, {"time": 1.0})
    elif process == "job":
        write_json(run.job_file, {"kind": "slurm"})
    for _ in range(2):  # read, and remembered
        state, losses = read_state(run), losses_of(run)
        assert status_of(run) == state.status
        assert losses.training == (state.losses[-1][1] if state.losses else None)
        assert losses.held_out == (state.eval_losses[-1][1] if state.eval_losses else None)


def test_a_finished_run_whose_last_line_was_cut_off_is_still_finished():
    run = make_run("run", TRAINING, step(1))
    with open(run.events_file, "a") as file:
        file.write('{"time":1.0,"event":"done","metr')
    age(run)
    write_json(run.process_file, {"trainer": {"pid": 2**22 + 1, "started": 1.0}})
    assert status_of(run) == read_state(run).status == "done"
    EventLog(run).write("note", message="ended the line")
    assert status_of(run) == read_state(run).status == "interrupted"


def test_a_new_event_a_new_title_and_other_settings_are_seen_at_once():
    run = make_run("run", TRAINING, step(1), DONE, base="embedded")
    assert (status_of(run), losses_of(run).training) == ("done", 0.5) and "embedded" in words_of(run)
    EventLog(run).write("failed", message="No.")
    EventLog(run).write(**step(2))
    history.rename(run, "Mein Titel", "A NOTE")
    assert (status_of(run), losses_of(run).training) == ("failed", 1 / 3)
    assert "mein titel" in words_of(run) and "a note" in words_of(run)
    age(run)
    assert "mein titel" in words_of(run)
    history.rename(run, "Another")
    run.config_file.write_text(TrainConfig(name="run", base="a/b", data="it's mine.csv").to_yaml())
    assert "another" in words_of(run) and "a/b" in words_of(run) and "it's mine.csv" in words_of(run)


def test_a_search_finds_each_state_and_nothing_of_somebody_else():
    done = make_run("first", TRAINING, DONE)
    gone = make_run("second", TRAINING)
    write_json(gone.process_file, {"trainer": {"pid": 2**22 + 1, "started": 1.0}})
    hers = make_run("first", TRAINING, DONE, owner="bob")
    for _ in range(2):
        assert history.search("alice", "done") == [done] and history.search("alice", "inter") == [gone]
        assert history.search("bob", "first done") == [hers] and history.search("bob", "second") == []
    history.delete(done)
    assert history.search("alice", "done") == [] and history.search("bob", "done") == [hers]
    back = history.undo_delete("alice", "first")
    assert history.search("alice", "done") == [back]


def test_a_search_for_words_opens_no_events(monkeypatch):
    for number in range(5):
        make_run(f"run-{number}", TRAINING)
    monkeypatch.setattr(glance, "_read_ending", lambda run: pytest.fail("the events were read"))
    assert [run.id for run in history.search("alice", "run-3")] == ["run-3"]
    assert history.search("alice", "nowhere") == []


def test_a_list_parses_of_a_long_run_only_the_ends_of_its_steps(monkeypatch):
    run, parsed = make_run("long", QUEUED, TRAINING, *map(step, range(2000)), DONE), []
    monkeypatch.setattr(state_module, "parse_event", lambda line: parsed.append(line) or parse_event(line))
    assert (status_of(run), losses_of(run).training) == ("done", 1 / 2000) and len(parsed) <= 6


def test_a_thousand_runs_are_listed_in_a_moment():
    make_library(1000, "alice")
    began = time.perf_counter()
    history_view.listed("alice", "", [])
    history_view.listed("alice", "done", [])
    assert time.perf_counter() - began < 5, "0.3 s on an idle machine"


def test_a_run_is_the_newer_the_later_its_settings_were_written():
    for name, written in (("b", 2.0), ("a", 1.0), ("c", 3.0)):
        os.utime(make_run(name).config_file, (written, written))
    assert [run.id for run in list_runs("alice")] == ["c", "b", "a"]
