"""Runs a training in the test's own process, as the launcher would in another."""

import json
import signal
import sys
from pathlib import Path

from common.files import read_json_lines
from trainer.run import Run


def run_main(run: Run) -> int:
    """`trainer.train` as the launcher calls it, less the launcher: the exit code."""
    from trainer.train import main

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    arguments = sys.argv
    sys.argv = ["train", "--run", str(run.folder)]
    try:
        return main()
    finally:
        sys.argv = arguments
        for number, handler in handlers.items():
            signal.signal(number, handler)


def events(run: Run, kind: str) -> list[dict]:
    return [event for event in read_json_lines(run.events_file) if event["event"] == kind]


def losses(run: Run) -> list[float]:
    return [event["loss"] for event in events(run, "step")]


def write_rows(file: Path, rows: list[dict]) -> str:
    file.write_text("\n".join(map(json.dumps, rows)))
    return str(file)
