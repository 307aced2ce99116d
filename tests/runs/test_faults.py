"""Faults of the machine: disks that are full, read-only or gone, a clock that goes back, processes that are stopped for a while.

Each is a sentence at the page and at the command line, and nothing that was learned is lost.
"""

import os
import resource
import signal
import subprocess
import sys
import time

import psutil
import pytest

from common.files import read_json, write_json
from common.paths import REPOSITORY, adapters_folder, home, runs_folder
from runs import queue
from runs import run as run_module
from runs.checkpoints import last_checkpoint
from runs.config import TrainConfig
from runs.history import EVERY_RUN
from runs.launcher import create_run
from runs.processes import this_process
from runs.queue import advance, enqueue, order
from runs.run import EventLog, find_run, list_runs, read_state
from tests.faults import command, fill, is_a_sentence, mounted, page_says
from tests.queueing import end, make_run, queued, wait_for
from tests.running import events, run_main, small_settings
from trainer import train
from trainer.__main__ import main
from ui.train import history_view, run_view

# disks


def test_a_disk_that_is_full_at_the_first_checkpoint_keeps_none_and_says_so(small_disk, tiny_base, tmp_path):
    run = create_run(TrainConfig(name="full", **small_settings(tiny_base, tmp_path)))
    fill(small_disk, left=500_000)
    assert run_main(run) == 1
    (failed,) = events(run, "failed")
    assert failed["message"] == "The disk is full."
    assert failed["hint"] == "Free some space, then resume. There is no checkpoint yet: it starts over."
    assert not last_checkpoint(run.checkpoints_folder) and read_state(run).status == "failed"
    (small_disk / "filler").unlink()
    assert run_main(run) == 0 and read_state(run).status == "done"


def test_a_disk_that_is_full_while_the_adapter_is_published_leaves_no_half_of_it(
    small_disk, tiny_base, tmp_path, monkeypatch
):
    publish = train.publish_adapter

    def fill_and_publish(*given):
        fill(small_disk, left=200_000)
        return publish(*given)

    monkeypatch.setattr(train, "publish_adapter", fill_and_publish)
    run = create_run(TrainConfig(name="full", **{**small_settings(tiny_base, tmp_path), "max_steps": 4}))
    assert run_main(run) == 1
    (failed,) = events(run, "failed")
    assert failed["code"] == "disk_full" and "The checkpoint of step 4 is kept." in failed["hint"]
    assert list(adapters_folder().iterdir()) == []
    monkeypatch.undo()
    (small_disk / "filler").unlink()


def test_a_disk_with_no_room_for_a_last_word_is_told_by_who_looks(small_disk):
    run = make_run("full")
    EventLog(run).write("training")
    write_json(run.process_file, {"trainer": {"pid": 2**22 + 1, "started": 1.0}})
    before = run.events_file.read_bytes()
    fill(small_disk, left=0)
    with pytest.raises(OSError):
        EventLog(run).write("note", message="x" * 100_000)
    assert run.events_file.read_bytes() == before, "no half of a line is left"
    state = read_state(run)
    assert (state.status, state.message, state.code) == ("interrupted", "The disk is full.", "disk_full")


def test_a_full_disk_is_a_sentence_at_the_page_and_at_the_command_line(small_disk, tiny_base, tmp_path, capsys):
    config = TrainConfig(name="full", **small_settings(tiny_base, tmp_path))
    run = make_run("run")
    fill(small_disk, left=0)
    assert "The disk is full." in page_says(lambda: create_run(config))
    assert main(["rename", run.id, "x" * 100]) == 1
    assert capsys.readouterr().err == "The disk is full. Free some space, then try again.\n"
    assert [path.name for path in runs_folder().iterdir()] == ["run"]


def test_a_folder_that_can_only_be_read_is_listed_and_refuses_in_a_sentence(small_disk, tiny_base, tmp_path):
    run = make_run("run")
    EventLog(run).write("done")
    mounted(small_disk, "-o", "remount,ro")
    listed = command("trainer", "list")
    assert listed.returncode == 0 and " done " in listed.stdout
    words = "is on a read-only disk. Set STUDIO_HOME"
    for arguments in (
        ("rename", "run", "title"),
        ("delete", "run"),
        ("resume", "run"),
    ):
        assert is_a_sentence(command("trainer", *arguments), words)
    assert is_a_sentence(command("adapters", "import", str(tmp_path)), words)
    assert words in page_says(lambda: enqueue(run))
    config = TrainConfig(name="new", **small_settings(tiny_base, tmp_path))
    assert words in page_says(lambda: create_run(config))
    assert "Done" in history_view.label_of(run) and "Done" in run_view.render(run)[0]


def test_a_limit_on_the_size_of_files_is_a_sentence(tmp_path, tiny_base):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "Q", "completion": "A"}\n' * 4000)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    arguments = ("trainer", "train", "--data", str(data), "--base", str(tiny_base))
    assert is_a_sentence(command(*arguments, preexec_fn=limit), "larger than this system allows (`ulimit -f`)")
    assert list(runs_folder().iterdir()) == []


def test_a_limit_on_the_size_of_files_fails_a_training_in_a_sentence(tiny_base, tmp_path):
    run = create_run(TrainConfig(name="limited", **small_settings(tiny_base, tmp_path)))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        assert run_main(run) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (failed,) = events(run, "failed")
    assert failed["code"] == "file_too_large" and "There is no checkpoint yet" in failed["hint"]


@pytest.mark.parametrize("program", ["trainer", "adapters"])
def test_a_home_that_is_a_file_is_a_sentence(program, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "file"))
    assert is_a_sentence(command(program, "list"), "file' is a file, not a folder. Set STUDIO_HOME to a folder.")
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "file" / "below"))
    assert is_a_sentence(command(program, "import" if program == "adapters" else "show", "x"), "")


def test_a_home_that_is_taken_away_and_comes_back_is_as_it_was(trainer):
    run, waiting = queued("run", at=1), queued("waiting", at=2)
    assert advance() == run
    wait_for(lambda: "trainer" in read_json(run.process_file))
    EventLog(run).write("training")
    assert read_state(run).status == "training"
    away = home().with_name("away")
    home().rename(away)
    for _ in range(3):
        queue.advance_if_possible()
        assert list_runs() == [] and read_state(run).message == "It was deleted."
        run_view.render(run), run_view.signature(run), history_view.listed("local", EVERY_RUN, None)
        assert "no run" in page_says(lambda: find_run("run"))
    assert not home().exists(), "a look makes no folder in the place of the disk"
    away.rename(home())
    assert read_state(run).status == "training" and order() == [waiting]
    queue.advance_if_possible()
    assert order() == [waiting] and (run.folder / "began").read_text() == "x"
    end(run)


# the clock


@pytest.fixture
def clock(monkeypatch):
    """Sets every clock that can be set: `time.time`, and the boot time that processes' starts are counted from."""
    now, boot = time.time, psutil.boot_time()

    def move(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: now() + seconds)
        if sys.platform == "linux":
            monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot + seconds)
        monkeypatch.setattr(psutil, "boot_time", lambda: boot + seconds)

    return move


@pytest.mark.skipif(sys.platform != "linux", reason="starts are known in ticks on Linux")
@pytest.mark.parametrize("seconds", [-86400, 86400])
def test_a_training_lives_on_when_the_clock_is_set(clock, seconds):
    run = make_run("run")
    EventLog(run).write("training")
    write_json(run.process_file, {"trainer": this_process(os.getpid())})
    clock(seconds)
    assert read_state(run).status == "training" and run_module.active_run() == run
    EventLog(run).write("step", step=1, loss=1.0, eta_seconds=5.0)
    view = run_view.render(run)[0]
    assert "Training" in view and "-" not in view.split("left")[0].split("about")[1]
    write_json(run.process_file, {"trainer": {**this_process(os.getpid()), "ticks": 1}})
    assert not run.is_alive(), "another process has the number now"


def test_the_queue_keeps_its_order_when_the_clock_goes_back(clock, monkeypatch):
    monkeypatch.setattr(queue, "advance_if_possible", lambda: None)
    runs = [make_run(f"run-{number}") for number in range(4)]
    for run, seconds in zip(runs, (0, -3600, -86400, 5), strict=True):
        clock(seconds)
        enqueue(run)
    assert order() == runs


def test_nobody_waits_for_a_turn_that_lies_in_the_future(trainer, clock):
    first = queued("first", "alice", at=1)
    clock(10**7)
    assert advance() == first
    end(first)
    clock(0)
    queued("second", "bob", at=2)
    for number in (3, 4):
        queued(f"more-{number}", "alice", at=number)
    assert [run.owner for run in order()].count("alice") == 2
    started = advance()
    end(started)
    assert advance().owner != started.owner, "they take turns as ever"


# processes that are stopped for a while


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
def test_a_training_that_is_stopped_for_a_while_is_not_started_twice(trainer):
    run, waiting = queued("run", at=1), queued("waiting", at=2)
    assert advance() == run
    wait_for(lambda: "trainer" in read_json(run.process_file))
    pid = read_json(run.process_file)["trainer"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    for _ in range(5):
        assert advance() is None and run.is_alive() and read_state(run).status == "preparing"
        time.sleep(0.1)
    os.kill(pid, signal.SIGCONT)
    wait_for(lambda: psutil.Process(pid).status() != psutil.STATUS_STOPPED)
    assert run.is_alive() and order() == [waiting] and (run.folder / "began").read_text() == "x"
    end(run)


HANGING = """import sys, time
from pathlib import Path
from trainer.watchdog import HangWatch
HangWatch.LOOK_SECONDS, HangWatch.STALE_SECONDS = 0.1, 0.5
hung = []
watch = HangWatch(Path(sys.argv[1]), 3.0, hung.append)
watch.start()
print("ready", flush=True)
sys.stdin.readline()
time.sleep(0.4)
watch.beat()
time.sleep(0.4)
print("hung" if hung else "goes on", flush=True)
for _ in range(300):
    if not hung:
        time.sleep(0.1)
print("hung" if hung else "goes on", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
def test_time_in_which_a_process_was_stopped_is_not_counted_as_its_silence(tmp_path):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", HANGING, str(tmp_path)], cwd=REPOSITORY, **pipes)
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(4.5)
        process.send_signal(signal.SIGCONT)
        print("go", file=process.stdin, flush=True)
        assert process.stdout.readline() == "goes on\n"
        assert process.stdout.readline() == "hung\n", "a real silence is still noticed"
    finally:
        process.kill()
        process.wait()
