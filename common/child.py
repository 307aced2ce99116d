"""Runs a module of this app in a process of its own, listens to it, and ends it with what it started."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from common.paths import REPOSITORY

POLL_SECONDS = 0.1
LAST_LINES_SECONDS = 5.0
MAX_LINES = 10_000
MAX_LINE_BYTES = 2**20


def run_child(
    arguments: list[str], variables: dict[str, str], log: IO[bytes], watch: Callable[[list[str]], None]
) -> int:
    """Run `python -m *arguments` to its end and return its exit code; its stderr goes to `log`.

    `watch` is called every POLL_SECONDS with the new lines of its stdout, and a last time after its end. When it raises, as
    for a stop or a time limit, the process is killed first; what it started is killed in any case. A line is cut after
    MAX_LINE_BYTES, and a process that says more than MAX_LINES between two calls waits.
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
    lines: queue.Queue[str] = queue.Queue(MAX_LINES)
    ended = threading.Event()
    listener = threading.Thread(target=_listen, args=(process.stdout, lines, ended), daemon=True)
    listener.start()
    try:
        while process.poll() is None:
            watch(_taken(lines))
            time.sleep(POLL_SECONDS)
        _kill(process)  # what it left behind would keep the pipe open
        end = time.monotonic() + LAST_LINES_SECONDS
        # a process in a session of its own may keep it all the same
        while listener.is_alive() and time.monotonic() < end:
            watch(_taken(lines))
            listener.join(POLL_SECONDS)
        watch(_taken(lines))
        return process.returncode
    finally:
        _kill(process)
        process.wait()
        ended.set()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and what it started; the number of its group is nobody else's while one of them lives."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()


def _listen(stdout: IO[bytes], lines: "queue.Queue[str]", ended: threading.Event) -> None:
    """Put the lines of `stdout` into `lines` as far as there is room, until it ends or `ended`: the target of a thread."""
    with stdout:
        while (line := stdout.readline(MAX_LINE_BYTES)) and not ended.is_set():
            while not ended.is_set():
                with suppress(queue.Full):
                    lines.put(line.decode("utf-8", "replace"), timeout=POLL_SECONDS)
                    break


def _taken(lines: "queue.Queue[str]") -> list[str]:
    """Return the lines that are there now, without waiting."""
    return [lines.get() for _ in range(lines.qsize())]
