"""How long people wait: from Start to the first loss, and from `python app.py` to the page.

    python -m benchmarks.start [--full]

From Start to the first loss is taken apart by the run's own events. "The trainer's own" is all of it but loading the weights
and computing the first step: the queue, `accelerate launch`, imports, reading and tokenising the data, building the trainer.
The look at step 0 (held-out loss, sample answers) comes after the first loss and is not in it. The rival is TRL's script on
the same base and rows, from its start to its first loss; the page's is an empty `gr.Blocks`.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.rows import Row, smaller, table, within
from benchmarks.train_speed import JOBS, train_trl, wait, write_rows
from common.files import read_json, read_json_lines
from common.paths import REPOSITORY, home
from trainer.config import TrainConfig
from trainer.queue import launch
from trainer.run import Run, read_state

OWN_SECONDS = 6.0
PAGE_AIM = 1 / 1.25  # at most a quarter longer than an empty page
WAIT_SECONDS = 600
EMPTY_PAGE = (
    "import gradio as gr\nwith gr.Blocks() as page:\n    gr.Markdown('empty')\n"
    "page.launch(server_port={port}, ssr_mode=False)\n"
)


def parts_of(run: Run, began: float) -> dict[str, float]:
    """Seconds of each part of the way from `began` to the first loss of a run of one step, in order."""
    events = read_json_lines(run.events_file)
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


def start_ours(config: TrainConfig) -> dict[str, float]:
    """The parts of one start. Raises RuntimeError with the log when the run fails."""
    began = time.time()
    run = launch(config)
    wait(run)
    parts = parts_of(run, began)
    shutil.rmtree(run.folder)
    return parts


def start_trl() -> float:
    """Seconds from the start of TRL's script to its first loss."""
    with tempfile.TemporaryDirectory() as folder:
        job = replace(JOBS[0], steps=1)
        write_rows(job, Path(folder))
        return train_trl(job, Path(folder)).first_loss_seconds


def training_rows(times: int) -> list[Row]:
    config = TrainConfig.from_dict({"name": "bench-start", "base": "embedded", "max_steps": 1})
    starts = [start_ours(config) for _ in range(times)]
    parts = {name: median(start[name] for start in starts) for name in starts[0]}
    total = median(sum(start.values()) for start in starts)
    own = median(sum(start.values()) - start["weights"] - start["first step"] for start in starts)
    words = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items())
    rival = median(start_trl() for _ in range(times))
    return [
        within("start: the trainer's own, all but weights and step 1", own, OWN_SECONDS, "s", words),
        smaller("start: from Start to the first loss (TRL: from its start)", total, rival, "s", 1.0),
    ]


def seconds_to_page(command: list[str], port: int, folder: str) -> float:
    """From starting `command` to the first answer on `port`."""
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "STUDIO_HOME": folder}
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL)
    try:
        while not page_answers(port):
            if process.poll() is not None or time.perf_counter() - began > WAIT_SECONDS:
                raise RuntimeError(f"{command[-1][:40]} ended before it answered")
            time.sleep(0.02)
        return time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


def page_answers(port: int) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).status == 200
    except (urllib.error.URLError, OSError):
        return False


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def seconds_to_run(code: str) -> float:
    """From starting Python to the last line of `code`, without Python's tidying up."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"{code}; import os; os._exit(0)"], cwd=REPOSITORY, check=True)
    return time.perf_counter() - began


def page_rows(times: int) -> list[Row]:
    """The app against an empty page: until it answers, and until it is built."""
    pages, empty, built, imported = [], [], [], []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            port, other = free_port(), free_port()
            empty.append(seconds_to_page([sys.executable, "-c", EMPTY_PAGE.format(port=other)], other, folder))
            pages.append(seconds_to_page([sys.executable, "app.py"], port, folder))
        imported.append(seconds_to_run("import gradio; gradio.Blocks()"))
        built.append(seconds_to_run("import app; app.build()"))
    return [
        smaller("app start: until the page answers (an empty page)", median(pages), median(empty), "s", PAGE_AIM),
        smaller("app import: until the page is built (an empty page)", median(built), median(imported), "s", PAGE_AIM),
    ]


def rows(quick: bool) -> list[Row]:
    return [*training_rows(1 if quick else 5), *page_rows(3 if quick else 7)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="medians of 5 and 7")
    home().mkdir(parents=True, exist_ok=True)
    print(table(rows(not parser.parse_args().full)))


if __name__ == "__main__":
    main()
