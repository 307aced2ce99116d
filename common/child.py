"""Runs a module of this app in a process of its own, listens to it, and ends it with what it started."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from common.errors import UserError, as_user_error
from common.files import read_json, write_json
from common.language import _, packed, unpacked
from common.paths import REPOSITORY
from common.words import duration

POLL_SECONDS = 0.1
LAST_LINES_SECONDS = 5.0
MAX_LINES = 10_000
MAX_LINE_BYTES = 2**20

Tell = Callable[[str, float | None], None]  # (what is done, fraction from 0 to 1 or None)


class ProcessEnded(UserError):
    """The error for a process that ended without an answer; a negative `code` is minus the number of the signal that ended it."""

    def __init__(self, code: int, reason: str) -> None:
        words = _("The process ended with the code {code}: {reason}", code=code, reason=reason)
        super().__init__(words, _("It may have had too little memory. Close other programs, then try again."))
        self.code = code


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


def ask_child(
    module: str,
    request: object,
    variables: dict[str, str],
    tell: Tell,
    stop: threading.Event | None = None,
    max_minutes: float = 0,
) -> Any:
    """Run `module`, whose `main` calls `answer_parent`, on `request` (a JSON value) and return its answer.

    Its sentences go to `tell`; setting `stop` kills it, and so do `max_minutes` (0: no limit). Raises UserError: what the module
    raised, for a stop, and ProcessEnded for a process that ended without an answer.
    """
    end = time.monotonic() + 60 * max_minutes if max_minutes else float("inf")

    def watch(lines: list[str]) -> None:
        if stop and stop.is_set():
            raise UserError(_("Stopped."), _("Nothing was kept."))
        if time.monotonic() > end:
            raise UserError(_("Its limit of {minutes:,} minutes is over.", minutes=max_minutes), _("Nothing was kept."))
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):  # a library's word, not ours
                tell(*unpacked(json.loads(line)["tells"]))

    with tempfile.TemporaryDirectory(prefix="studio-child-") as folder:
        asked, answered, log = (Path(folder) / name for name in ("request.json", "answer.json", "log.txt"))
        write_json(asked, request)
        with open(log, "wb") as stderr:
            code = run_child([module, str(asked), str(answered)], variables, stderr, watch)
        answer = unpacked(read_json(answered))
        if not isinstance(answer, dict):
            last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [_("no reason given")])[
                -1
            ]
            raise ProcessEnded(code, last[:300])
    if "error" in answer:
        raise UserError(**answer["error"])
    return answer["answer"]


def answer_parent(arguments: list[str], work: Callable[[Any, Tell], object]) -> int:
    """Write what `work(request, tell)` returns, or the UserError that it raises, for `ask_child`; return the exit code 0."""
    asked, answered = map(Path, arguments)

    def tell(what: str, fraction: float | None = None) -> None:
        print(json.dumps({"tells": packed([what, fraction])}), flush=True)

    try:
        answer: dict[str, object] = {"answer": work(read_json(asked), tell)}
    except Exception as error:
        known = as_user_error(error, with_paths=False)
        if known is None:
            raise
        answer = {"error": {"message": known.message, "hint": known.hint}}
    write_json(answered, packed(answer))
    return 0


def with_time_left(tell: Tell) -> Tell:
    """Return `tell` with about how long the rest takes behind each sentence, by the pace from now on."""
    began = time.monotonic()

    def told(what: str, fraction: float | None = None) -> None:
        seconds = (time.monotonic() - began) * (1 / fraction - 1) if fraction else 0
        tell(_("{what}, about {time} left", what=what, time=duration(seconds)) if seconds >= 1 else what, fraction)

    return told


def bound_memory(more: int | None) -> None:
    """Limit the address space of this process to `more` bytes above what it takes now; None: lift the limit.

    A hostile file then ends this process and not the machine. Elsewhere than on Linux there is no limit.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return
    highest = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = highest if more is None else pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, highest))


def bound_time(seconds: int) -> None:
    """Limit the processor time that this process takes from now on; it is killed after that, also when its parent is gone."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
