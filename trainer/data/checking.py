"""Asks for the check of the data before a start: starts `trainer.data.check_data`, listens, and ends it when it is not wanted.

Light: no torch. The process gets the training's environment: no token in it.

    report = check(config, rows=10, progress=print, stop=event)
"""

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
from pathlib import Path

from common.errors import UserError
from common.files import read_json, write_json
from common.paths import REPOSITORY
from trainer.config import TrainConfig
from trainer.launcher import environment

MOST_SECONDS = 600
POLL_SECONDS = 0.05
SMALLER = "Set max_rows to read its first rows, or give a smaller file."


def check(
    config: TrainConfig,
    rows: int = 10,
    progress: Callable[[str], None] = lambda sentence: None,
    stop: threading.Event | None = None,
) -> dict:
    """The report on the data of `config`, with a preview of `rows` rows. Sentences on the way go to `progress`.

    Raises UserError when the data cannot be read, when `stop` is set, and when it takes too long or too much memory.
    """
    config.check()
    with tempfile.TemporaryDirectory(prefix="studio-check-") as folder:
        request, result, log = (Path(folder) / name for name in ("request.json", "result.json", "log.txt"))
        write_json(request, {"config": config.to_dict(), "rows": rows})
        with open(log, "wb") as stderr:
            code = _run([str(request), str(result)], stderr, progress, stop or threading.Event())
        answer = read_json(result)
        if not isinstance(answer, dict):
            raise _crash(code, log.read_text(encoding="utf-8", errors="replace"))
    if "error" in answer:
        raise UserError(answer["error"]["message"], answer["error"]["hint"])
    return answer


def _run(arguments: list[str], stderr, progress: Callable, stop: threading.Event) -> int:
    """Run the check to its end; returns its exit code. Raises UserError when it was stopped or took too long."""
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer.data.check_data", *arguments],
        cwd=REPOSITORY,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        start_new_session=True,
    )
    said: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_listen, args=(process.stdout, said), daemon=True).start()
    deadline = time.monotonic() + MOST_SECONDS
    try:
        while process.poll() is None:
            _pass_on(said, progress)
            if stop.is_set():
                raise UserError("The check was stopped.")
            if time.monotonic() > deadline:
                raise UserError(f"The check took longer than {MOST_SECONDS // 60} minutes.", SMALLER)
            time.sleep(POLL_SECONDS)
        _pass_on(said, progress)
        return process.returncode
    finally:
        _end(process)


def _listen(stdout, said: queue.Queue) -> None:
    with stdout:
        for line in stdout:
            said.put(line)


def _pass_on(said: queue.Queue, progress: Callable) -> None:
    while not said.empty():
        try:
            progress(json.loads(said.get())["progress"])
        except (ValueError, KeyError, TypeError):
            continue  # a library's word, not ours


def _end(process: subprocess.Popen) -> None:
    """Kill the check and what it started, when it still runs."""
    if process.poll() is None:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _crash(code: int, log: str) -> UserError:
    """What a check that left no result died of, in words."""
    if code in (-signal.SIGTERM, -9, -signal.SIGSEGV, -signal.SIGABRT) or "MemoryError" in log or "bad_alloc" in log:
        return UserError("The data needs more memory than a check may take.", SMALLER)
    last = (log.strip().splitlines() or ["no reason given"])[-1][:300]
    return UserError(f"The check failed: {last}", "Please report it, with the file if you can.")
