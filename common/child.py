"""Runs a module of this app in a process of its own, listens to it, and ends it with what it started."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO

from common.paths import REPOSITORY

POLL_SECONDS = 0.1
LAST_LINES_SECONDS = 5.0


def run_child(
    arguments: list[str], variables: dict[str, str], log: IO[bytes], watch: Callable[[list[str]], None]
) -> int:
    """Run `python -m *arguments` to its end and return its exit code; its stderr goes to `log`.

    `watch` is called every POLL_SECONDS with the new lines of its stdout, and a last time after its end. When it raises, as
    for a stop or a time limit, the process and all that it started are killed first.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=REPOSITORY,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        start_new_session=True,
    )
    assert process.stdout
    lines: queue.Queue[str] = queue.Queue()
    listener = threading.Thread(target=_listen, args=(process.stdout, lines), daemon=True)
    listener.start()
    try:
        while process.poll() is None:
            watch(_taken(lines))
            time.sleep(POLL_SECONDS)
        listener.join(LAST_LINES_SECONDS)  # a process that it left behind may keep the pipe open
        watch(_taken(lines))
        return process.returncode
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
            process.wait()


def _listen(stdout: IO[bytes], lines: "queue.Queue[str]") -> None:
    """Put each line of `stdout` into `lines` until it ends: the target of a thread."""
    with stdout:
        for line in stdout:
            lines.put(line.decode("utf-8", "replace"))


def _taken(lines: "queue.Queue[str]") -> list[str]:
    """Return the lines that are there now, without waiting."""
    return [lines.get() for _ in range(lines.qsize())]
