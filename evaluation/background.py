"""What is computed in a folder by a process of its own: made, started, asked to stop, deleted, and how many may be at a time."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil

from common.errors import UserError
from common.files import sweep, write_json, write_text
from common.language import Sentence, _
from common.paths import GUEST_PREFIX, REPOSITORY, free_name, slug
from common.visitors import working_for
from evaluation.run import Background, read_progress
from models.hub.errors import child_environment
from runs.closing import check_open
from runs.limits import limits
from runs.processes import this_process
from runs.queue import lock
from runs.run import UNFINISHED

LAST_MOMENT_SECONDS = 20
B = TypeVar("B", bound=Background)


def make_and_start(
    kind: type[B],
    root: Path,
    title: str,
    settings: str,
    may_start: Callable[[], None],
    fill: Callable[[Path], None] = lambda folder: None,
    secret: str = "",
) -> B:
    """Make a folder in `root` that is named by `title`, with settings and whatever `fill` puts into it, and start its process.

    `may_start` is called under the lock; what it raises leaves nothing. The `secret` is in no file: see `start_process`.
    """
    root.mkdir(parents=True, exist_ok=True)
    sweep(*root.glob(f"*{UNFINISHED}"))
    with lock():
        made = kind(root / free_name(slug(title), root))
        partial = kind(root / f"{made.id}{UNFINISHED}")
        partial.folder.mkdir()
        try:
            write_text(partial.config_file, settings)
            fill(partial.folder)
            may_start()
            partial.folder.rename(made.folder)
            start_process(made, secret)
        except BaseException:
            shutil.rmtree(partial.folder, ignore_errors=True)
            shutil.rmtree(made.folder, ignore_errors=True)
            raise
    return made


def start_process(work: Background, secret: str = "") -> None:
    """Start the process that computes, in its own session, with its output in a file and no token in its environment.

    A `secret`, as short as a token is, reaches it through its standard input alone.
    """
    work.stop_file.unlink(missing_ok=True)
    work.progress_file.unlink(missing_ok=True)
    write_json(work.process_file, {"starter": this_process(os.getpid())})  # so that it counts as alive meanwhile
    try:
        with open(work.log_file, "ab") as log, working_for(work.owner):
            process = subprocess.Popen(
                [sys.executable, "-m", work.module, f"--{work.kind}", str(work.folder)],
                cwd=REPOSITORY,
                env=child_environment(),
                stdin=subprocess.PIPE if secret else subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    except OSError:
        work.process_file.unlink()
        raise
    write_json(work.process_file, {"process": this_process(process.pid)})
    if secret and process.stdin:
        with suppress(BrokenPipeError), process.stdin:  # it has ended already
            process.stdin.write(secret.encode())
    threading.Thread(target=process.wait, daemon=True).start()  # reaps it; nothing else depends on this thread


def request_stop(work: Background) -> None:
    """Ask the process to end and keep the results that are there; it can be resumed."""
    work.stop_file.touch()


def delete_work(work: Background) -> None:
    """Delete an evaluation, or what else is computed in a folder, for good. Raises UserError while it is running."""
    with lock():
        if not has_ended(work):
            raise UserError(_("'{name}' is still running.", name=work.id), _("Stop it first."))
        gone = work.folder.with_name(f"{work.id}{UNFINISHED}")
        work.folder.rename(gone)  # what is deleted in part is in no list
        shutil.rmtree(gone, ignore_errors=True)


def has_ended(work: Background) -> bool:
    """Return whether its process is gone; one that has said its last word gets a moment to end."""
    deadline = time.monotonic() + LAST_MOMENT_SECONDS
    while work.is_alive():
        if read_progress(work).is_running or time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def check_turn(
    owner: str,
    everyone: Callable[[], Sequence[Background]],
    kind: type[Background],
    most: int,
    full: Callable[[int], Sentence],
    busy: Callable[[int], Sentence],
    other_guest: Sentence | None = None,
) -> None:
    """Raise UserError when no more of a kind may start now; `everyone` returns what there is of it on this machine.

    That is when everybody together has as many under way as runs may wait (STUDIO_MAX_QUEUE): one that waits is a process, too.
    `full` says so of that many. And when `owner`, or all guests together, have `most`, 0 for no limit; `busy` says so of that
    many, and to a guest `other_guest`, where that is another sentence.
    """
    check_open()
    allowed, under_way = limits().queue, processes_of(kind.module)
    if allowed and under_way >= allowed:
        raise UserError(full(under_way), _("Try again later."))
    is_guest = owner.startswith(GUEST_PREFIX)
    if not most:
        return
    mine = [one for one in everyone() if one.owner == owner or (is_guest and one.owner.startswith(GUEST_PREFIX))]
    if sum(read_progress(one).is_running for one in mine) >= most:
        words = other_guest if is_guest and other_guest else busy(most)
        raise UserError(words, _("Wait for its end, then try again."))


def processes_of(module: str) -> int:
    """Count the processes of a module on this machine, of everyone."""
    return sum(module in (process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
