"""The command line does with runs what the page does, prints a sentence for what a person can fix, and exits non-zero."""

import threading
import time
from pathlib import Path

import pytest

from common.files import write_json
from common.paths import runs_folder
from runs import follow as module
from runs.follow import watch
from runs.run import EventLog, Run, find_run, read_state
from tests import queueing
from trainer.__main__ import main


def make_run(name: str, owner: str = "local", **settings) -> Run:
    run = queueing.make_run(name, owner, **settings)
    events = EventLog(run)
    events.write("step", step=3, loss=1.25, total_steps=9)
    events.write("done", metrics={"loss_after": 1.5})
    return run


@pytest.fixture
def job(capsys):
    """Runs one job; returns (exit code, what it printed, what it complained)."""

    def do(*arguments: str) -> tuple[int, str, str]:
        code = main([*arguments])
        return code, *capsys.readouterr()

    return do


def test_runs_are_listed_found_and_shown_under_their_titles(job):
    make_run("first")
    make_run("second", base="embedded")
    make_run("hers", owner="alice")
    assert job("rename", "first", "Poems of May") == (0, "", "")
    code, printed, _ = job("list")
    assert code == 0 and "Poems of May" in printed and "second" in printed and "hers" not in printed
    assert job("list", "poems")[1].split()[:5] == ["first", "done", "step", "3/9", "loss"]
    assert "status: done" in job("show", "second")[1]


def test_a_run_of_whole_weights_says_where_its_model_is(job):
    run = make_run("whole", method="full")
    assert "the model was not kept" in job("show", "whole")[1]
    run.model_folder.mkdir()
    printed = job("show", "whole")[1]
    assert f"the whole model is in {run.model_folder}" in printed and f"--base {run.model_folder}" in printed
    assert "there is no adapter" not in job("show", make_run("other").id)[1]


def test_runs_are_labelled_filtered_and_put_in_order(job):
    make_run("first")
    make_run("second")
    assert job("label", "first", "--add", "poems, Korean", "--note", "small batches", "--star")[:2] == (
        0,
        "★ #poems #Korean\n",
    )
    assert job("label", "first", "--remove", "KOREAN", "--no-star")[1] == "#poems\n"
    assert job("label", "second", "--star")[1] == "★\n"
    assert job("list", "--starred")[1].split()[0] == "second" and "first" not in job("list", "--starred")[1]
    assert job("list", "--tag", "Poems")[1].split()[-1] == "#poems" and job("list", "--tag", "poe")[1] == ""
    make_run("third")
    assert job("list", "--sort", "starred")[1].startswith("second") and job("list")[1].startswith("third")
    assert job("show", "first")[1].startswith("#poems\nsmall batches\n")
    code, _, complaint = job("label", "first", "--add", "x" * 50)
    assert code == 1 and "40 characters" in complaint


def test_deleted_runs_come_back(job):
    run = make_run("run")
    assert "trainer undo run" in job("delete", "run")[1] and not run.folder.exists()
    assert job("undo", "run")[:2] == (0, "Brought back: run\n") and run.folder.exists()
    assert job("delete", "run", "--discard")[0] == 0 and not run.folder.exists()


def test_compare_prints_only_what_differs(job):
    make_run("slow", learning_rate=1e-4)
    make_run("fast", learning_rate=1e-3)
    printed = job("compare", "slow", "fast")[1]
    assert "learning_rate" in printed and "0.0001" in printed and "loss_after" in printed and "lora_r" not in printed


def test_a_bundle_is_written_where_one_is(job, tmp_path, monkeypatch):
    make_run("run")
    monkeypatch.chdir(tmp_path)
    assert job("bundle", "run")[0] == 0 and Path("run.zip").is_file()


def test_the_queue_shows_places_and_no_names_of_others(job):
    for name, owner, at in (("mine", "local", 2.0), ("secret", "alice", 1.0)):
        write_json(make_run(name, owner).queued_file, {"time": at})
    printed = job("queue")[1]
    assert printed.split() == ["mine", "place", "2", "of", "2"]
    assert job("stop", "mine")[0] == 0 and read_state(find_run("mine")).status == "stopped"
    assert job("queue")[1] == "None of your runs is waiting; 1 of others is.\n"


@pytest.mark.parametrize(("kind", "command"), [("hf", "python -m jobs stop far"), ("skypilot", "sky jobs cancel")])
def test_a_run_that_nothing_here_reaches_is_stopped_where_it_trains(job, kind, command):
    run = make_run("far")
    write_json(run.job_file, {"kind": kind})
    code, _, complaint = job("stop", "far")
    assert code == 1 and command in complaint and not run.stop_file.exists()
    write_json(run.job_file, {"kind": "slurm"})  # on a disk that its nodes see
    assert job("stop", "far")[0] == 0 and run.stop_file.exists()


@pytest.mark.parametrize("name", ["nobody", "../local/run", "..", "", "a\x00b"])
@pytest.mark.parametrize("work", ["show", "stop", "resume", "delete", "undo", "bundle", "compare"])
def test_a_name_that_is_none_is_one_sentence(job, work, name):
    code, printed, complaint = job(work, name)
    assert code == 1 and not printed and complaint and "Traceback" not in complaint


def test_a_run_that_is_deleted_while_somebody_watches_ends_the_watching(monkeypatch):
    run = make_run("run")
    write_json(run.queued_file, {"time": 1.0})
    monkeypatch.setattr(module, "advance_if_possible", lambda: None)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    threading.Timer(0.1, lambda: run.folder.rename(runs_folder().parent / "elsewhere")).start()
    began = time.monotonic()
    assert watch(run).message == "It was deleted." and time.monotonic() - began < 5


def test_a_check_fails_where_a_start_would_be_refused(tiny_base, tmp_path, capsys):
    file = tmp_path / "rows.jsonl"
    flags = ["--base", str(tiny_base), "--max-length", "128"]
    file.write_text('{"apples": "one", "pears": "two"}\n' * 3)
    assert main(["check", str(file), *flags]) == 1
    file.write_text("\n".join(f'{{"prompt": "Say {n}", "completion": "{n}!"}}' for n in range(12)))
    assert main(["check", str(file), *flags]) == 0
    file.write_text("\n".join(f'{{"text": "### Human: Say {n}### Assistant: {n}!"}}' for n in range(12)))
    assert main(["check", str(file), *flags]) == 0
    assert "Fix: --markup=turns | --markup=strip | --markup=keep" in capsys.readouterr().out
