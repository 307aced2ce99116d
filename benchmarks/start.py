"""How long does one wait from `python app.py` to the page?

    python -m benchmarks.start [--full]

The rival is an empty `gr.Blocks`.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks.inputs import home_of_its_own
from benchmarks.rows import Row, main, smaller, take_turns
from common.paths import REPOSITORY

PAGE_AIM = 1 / 1.25  # at most a quarter longer than an empty page
WAIT_SECONDS = 600
EMPTY_PAGE = "import gradio as gr\nwith gr.Blocks() as page:\n    gr.Markdown('empty')\npage.launch(ssr_mode=False, quiet=True)\n"


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


def rows(quick: bool) -> list[Row]:
    """The app against an empty page, until it answers."""
    commands = {"app": [sys.executable, "app.py"], "empty": [sys.executable, "-c", EMPTY_PAGE]}
    waits = {name: partial(seconds_to_page, command) for name, command in commands.items()}
    seconds = take_turns(waits, 1 if quick else 7)
    words = "app start: until the page answers (an empty page)"
    return [smaller(words, seconds["app"], seconds["empty"], "s", PAGE_AIM)]


if __name__ == "__main__":
    main(rows, __doc__)
