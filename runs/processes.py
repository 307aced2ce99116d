"""A process as a run's files name it: its id and its start, for an id is given to other programs later. Light: no torch."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Required, TypedDict

import psutil

from common.paths import REPOSITORY


class ProcessMark(TypedDict, total=False):
    """What `process.json` keeps of a process: its id and when it started, in seconds since 1970 and in ticks.

    `card` is the one that a training has to itself, counted from 0; -1 where it has the machine. `slice` is the number of the
    slice for which the page's own process asks, which is not to be ended; 0 in `started` where it asks for no more.
    """

    pid: Required[int]
    started: Required[float]
    ticks: int | None
    card: int
    slice: int


def is_running(process: Mapping[str, Any]) -> bool:
    """Return whether the process of this mark runs. Its id alone may have been given to another program since."""
    try:
        found = psutil.Process(int(process["pid"]))
        if found.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.get("ticks") is not None:
            return _ticks(found.pid) == process["ticks"]
        return abs(found.create_time() - process["started"]) < 2
    except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):
        return False


def this_process(pid: int) -> ProcessMark:
    """Make the mark of the process `pid`."""
    try:
        return {"pid": pid, "started": psutil.Process(pid).create_time(), "ticks": _ticks(pid)}
    except psutil.NoSuchProcess:  # over already
        return {"pid": pid, "started": 0.0}


def _ticks(pid: int) -> int | None:
    """Return a process's start in clock ticks since the machine's, which no change of the clock moves; None but on Linux."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[19])  # proc_pid_stat(5): field 22, starttime
    except (OSError, ValueError, IndexError):
        return None


def start_process(words: list[str], environment: dict[str, str], log_file: Path, stdin: int) -> subprocess.Popen:
    """Start a process in a session of its own that writes to `log_file`; whoever started it may end."""
    with open(log_file, "ab") as log:
        return subprocess.Popen(
            words,
            cwd=REPOSITORY,
            env=environment,
            stdin=stdin,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
