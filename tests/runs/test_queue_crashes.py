"""Programs that are killed between any two steps lose no run and start none twice; the dispatcher goes on by itself."""

import os
import subprocess
import sys
import time
from itertools import pairwise

from common.files import read_json, write_json, write_text
from common.paths import REPOSITORY
from runs import queue
from runs.queue import advance
from runs.run import EventLog, read_state
from tests.queueing import FAKE, fake_command, queued, wait_for


def test_a_run_that_cannot_be_started_fails_and_the_next_one_starts(trainer):
    broken, good = queued("broken", at=1), queued("good", at=2)
    write_text(broken.config_file, "no: config\n")
    assert advance() == good
    assert read_state(broken).status == "failed" and "Unknown settings" in read_state(broken).message


def test_a_program_that_died_before_it_started_the_process_loses_nothing(trainer):
    run = queued("run")
    write_json(run.queued_file, {"time": 1.0, "starting": time.time()})
    assert read_state(run).status == "queued"
    assert advance() == run


def test_a_program_that_died_after_it_started_the_process_starts_no_second_one(trainer):
    run, other = queued("run", at=1), queued("other", at=2)
    write_json(run.queued_file, {"time": 1.0, "starting": time.time()})
    process = subprocess.Popen(fake_command(60)(run, None, ()), cwd=REPOSITORY)
    try:
        wait_for(lambda: (run.folder / "began").exists())
        assert advance() is None and run.is_alive() and not run.is_queued()
        assert read_state(other).status == "queued" and (run.folder / "began").read_text() == "x"
    finally:
        process.kill()
        process.wait()


def test_a_program_that_died_before_it_cleaned_up_starts_nothing_twice(trainer):
    run = queued("run")
    write_json(run.queued_file, {"time": 1.0, "starting": time.time()})
    write_json(run.process_file, {"launcher": {"pid": os.getpid(), "started": 1.0}})  # it has trained, and is gone
    EventLog(run).write("done")
    assert advance() is None and read_state(run).status == "done"


CRASHING = """import os, random, sys
from runs import launcher, queue

def crashing(work):
    def call(*arguments, **named):
        if random.random() < 0.12:
            os.kill(os.getpid(), 9)
        result = work(*arguments, **named)
        if random.random() < 0.12:
            os.kill(os.getpid(), 9)
        return result
    return call

launcher.command = lambda run, config, gpus: [sys.executable, "-c", {fake!r}, "-m", "trainer.train", "--run", str(run.folder)]
queue.write_json, launcher.write_json = crashing(queue.write_json), crashing(launcher.write_json)
launcher.subprocess.Popen, queue._take_turn = crashing(launcher.subprocess.Popen), crashing(queue._take_turn)
launcher.EventLog.write = crashing(launcher.EventLog.write)
while True:
    queue.advance()
"""


def test_two_programs_that_are_killed_between_any_two_steps_start_every_run_once(tmp_path):
    """Real processes, SIGKILL before or after a write, a start or an event, until all runs have trained, one at a time."""
    runs = [queued(f"run-{number}", f"owner-{number % 3}", at=number) for number in range(10)]
    code = CRASHING.format(fake=FAKE.format(seconds=0.3))
    workers, crashes, deadline = [spawn(code), spawn(code)], 0, time.monotonic() + 120
    try:
        while not all(run.process_file.exists() and not run.is_alive() for run in runs) or queue._training_processes():
            assert time.monotonic() < deadline, [read_state(run).status for run in runs]
            for place, worker in enumerate(workers):
                if worker.poll() is not None:
                    workers[place], crashes = spawn(code), crashes + 1
            time.sleep(0.02)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert [(run.folder / "began").read_text() for run in runs] == ["x"] * 10
    starts = sorted(max(each["started"] for each in read_json(run.process_file).values()) for run in runs)
    assert all(later - earlier >= 0.28 for earlier, later in pairwise(starts)), "two at once"
    assert crashes > 0 and all(read_state(run).status != "queued" for run in runs)


def spawn(code: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY)


def test_the_dispatcher_goes_on_by_itself_and_is_one(trainer):
    """In a process of its own: the thread lives as long as its process."""
    code = (
        "import sys, time; from runs import launcher, queue\n"
        f"launcher.command = lambda run, config, gpus: [sys.executable, '-c', {FAKE.format(seconds=60)!r}, '-m', "
        "'trainer.train', '--run', str(run.folder)]\n"
        "assert queue.start_dispatcher() is queue.start_dispatcher(); time.sleep(60)"
    )
    process = spawn(code)
    try:
        wait_for(queued("run").is_alive)
    finally:
        process.kill()
        process.wait()
