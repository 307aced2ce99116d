"""How long does one wait: from Start to the first loss, and from `python app.py` to the page.

    python -m benchmarks.start [--full]

From Start to the first loss is taken apart by the run's own events. "The trainer's own" is all of it but loading the weights
and computing the first step: the queue, `accelerate launch`, imports, reading and tokenising the data, building the trainer.
The evaluation at step 0 comes after the first loss and is not in it. The rival is TRL's script on the same base and rows, from
its start to its first loss; the page's is an empty `gr.Blocks`.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.inputs import home_of_its_own
from benchmarks.rows import Row, main, smaller, take_turns, within
from benchmarks.train_speed import JOBS, train_trl, wait
from common.files import read_json
from common.paths import LOCAL_OWNER, REPOSITORY
from runs.config import TrainConfig
from runs.events import read_events
from runs.queue import launch
from runs.run import Run, read_state
from runs.warm import prepare

OWN_SECONDS = 6.0
PAGE_AIM = 1 / 1.25  # at most a quarter longer than an empty page
WAIT_SECONDS = 600
IMPORT_SECONDS = 10  # until a process that was started for a touch has done its imports
EMPTY_PAGE = "import gradio as gr\nwith gr.Blocks() as page:\n    gr.Markdown('empty')\npage.launch(ssr_mode=False, quiet=True)\n"


def parts_of(run: Run, began: float) -> dict[str, float]:
    """Return the seconds of each part of the way from `began` to the first loss of a run of one step, in order."""
    events = read_events(run.events_file)
    prepared = {event["message"].split(" ")[0]: event["time"] for event in events if event["event"] == "preparing"}
    first_loss = next(event["time"] for event in events if event["event"] == "step")
    step = read_state(run).metrics["train_seconds"]
    launcher = read_json(run.process_file)["trainer"]["started"]
    return {
        "queue and accelerate launch": launcher - began,
        "imports": prepared["Looking"] - launcher,
        "data": prepared["Loading"] - prepared["Looking"],
        "weights": prepared["Setting"] - prepared["Loading"],
        "building the trainer": first_loss - step - prepared["Setting"],
        "first step": step,
    }


def train_one_step() -> dict[str, float]:
    """Train one step; return the seconds of each part of the way to the first loss."""
    began = time.time()
    run = launch(TrainConfig.from_dict({"name": "bench-start", "base": "embedded", "max_steps": 1}))
    wait(run)
    parts = parts_of(run, began)
    while run.is_alive():  # it holds the memory that the next one is measured with
        time.sleep(0.1)
    shutil.rmtree(run.folder)
    return parts


def start_after_a_touch() -> float:
    """Return the seconds to the first loss where the form of the Train tab was touched before."""
    prepare(LOCAL_OWNER)
    time.sleep(IMPORT_SECONDS)
    return sum(train_one_step().values())


def training_rows(times: int) -> list[Row]:
    starts, touched, rivals = [], [], []
    for _ in range(times):
        starts.append(train_one_step())
        touched.append(start_after_a_touch())
        with tempfile.TemporaryDirectory() as folder:
            rivals.append(train_trl(replace(JOBS[0], steps=1), Path(folder)).first_loss_seconds)
    own = median(sum(start.values()) - start["weights"] - start["first step"] for start in starts)
    words = ", ".join(f"{name} {median(start[name] for start in starts):.1f}" for name in starts[0])
    total = median(sum(start.values()) for start in starts)
    return [
        within("start: the trainer's own, all but weights and step 1", own, OWN_SECONDS, "s", words),
        smaller("start: from Start to the first loss (TRL: from its start)", total, median(rivals), "s", 1.0),
        smaller("the same, the form touched before", median(touched), median(rivals), "s", 2.0),
    ]


@contextmanager
def served(command: list[str], **variables: str) -> Iterator[str]:
    """Run `command` as a Gradio server; gives its address as soon as it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port, began = probe.getsockname()[1], time.monotonic()
    variables |= {"GRADIO_SERVER_PORT": str(port)}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **variables}, **quiet)
    try:
        while not _answers(f"http://127.0.0.1:{port}/"):
            if process.poll() is not None or time.monotonic() - began > WAIT_SECONDS:
                raise RuntimeError(f"{' '.join(command[1:3])[:60]} ended before it answered")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _answers(address: str) -> bool:
    try:
        return urllib.request.urlopen(address, timeout=60).status == 200
    except (urllib.error.URLError, OSError):
        return False


def seconds_to_page(command: list[str]) -> float:
    """Measure from starting `command` to its first answer."""
    with home_of_its_own():
        began = time.perf_counter()
        with served(command):
            return time.perf_counter() - began


def page_row(times: int) -> Row:
    """The app against an empty page, until it answers."""
    commands = {"app": [sys.executable, "app.py"], "empty": [sys.executable, "-c", EMPTY_PAGE]}
    seconds = take_turns({name: partial(seconds_to_page, command) for name, command in commands.items()}, times)
    words = "app start: until the page answers (an empty page)"
    return smaller(words, seconds["app"], seconds["empty"], "s", PAGE_AIM)


def rows(quick: bool) -> Iterator[Row]:
    """The way to the first loss, and the way to the page."""
    yield from training_rows(1 if quick else 5)
    yield page_row(1 if quick else 7)


if __name__ == "__main__":
    main(rows, __doc__)
