"""What SIGTERM does, which `docker stop`, a Space that restarts and every service manager send.

    STUDIO_ON_TERM=continue   the app ends at once; trainings have sessions of their own and go on
    STUDIO_ON_TERM=stop       whatever computes is asked to stop and keep what it has learned, to be resumed; then the app ends,
                              at the latest after STUDIO_TERM_SECONDS (100)

In a container every process ends with the first one: its image sets `stop`, and on a Space that is what holds.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from common.errors import UserError
from common.hosted import on_space
from common.language import _, n_
from common.limits import limit
from evaluation.background import request_stop
from evaluation.experiments.experiment import all_experiments
from evaluation.run import Background, all_evaluations
from making.made import all_made
from runs.closing import close
from runs.labels import labels_of
from runs.queue import lock
from runs.run import Run, runs_with

log = logging.getLogger(__name__)

CONTINUE, STOP = "continue", "stop"
TERM_SECONDS = 100
POLL_SECONDS = 0.2


def obey_term(at_end: Callable[[], None] = lambda: None) -> None:
    """Set what SIGTERM does to the app, and what it does last; to be called in its main thread.

    Raises UserError for an unknown STUDIO_ON_TERM.
    """
    wish = os.environ.get("STUDIO_ON_TERM", "").strip() or (STOP if on_space() else CONTINUE)
    if wish not in (CONTINUE, STOP):
        raise UserError(
            _("{variable} is set to '{value}' on this machine.", variable="STUDIO_ON_TERM", value=wish[:40]),
            _("Choose among these: {names}.", names=f"{CONTINUE}, {STOP}"),
        )
    seconds = limit("STUDIO_TERM_SECONDS", TERM_SECONDS) or TERM_SECONDS
    is_asked = threading.Event()

    def on_term(number, frame) -> None:
        if wish == CONTINUE or is_asked.is_set():  # or asked again: at once
            _leave(at_end, 0 if wish == CONTINUE else 1)
        is_asked.set()
        threading.Thread(target=_end, args=(seconds, at_end), name="end").start()

    signal.signal(signal.SIGTERM, on_term)


def _end(seconds: float, at_end: Callable[[], None]) -> None:
    """Stop what computes, wait for it at most so long, and end the process."""
    try:
        close()
        with suppress(UserError), lock():  # what is being started now has its mark then
            pass
        working = ask_all_to_stop()
        words = n_(
            "Stopping: {count} process saves what it has, within {seconds} s.",
            "Stopping: {count} processes save what they have, within {seconds} s.",
            len(working),
            seconds=seconds,
        )
        print(words, flush=True)
        deadline = time.monotonic() + seconds
        while any(one.is_alive() for one in working) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    except Exception:  # a full disk, or a lock that nobody gives back: it ends all the same
        log.exception("Not everything could be stopped")
    finally:
        _leave(at_end, 0)


def _leave(at_end: Callable[[], None], code: int) -> None:
    """Do what is done last and end the process, whatever becomes of that."""
    try:
        at_end()
    except Exception:
        log.exception("The last step failed")
    finally:
        os._exit(code)  # threads that stream to browsers would hold up any other end


def ask_all_to_stop() -> Sequence[Run | Background]:
    """Ask all that computes on this machine to stop, and return it. An experiment stops its own runs: else they had failed."""
    experiments = [one for one in all_experiments() if one.is_alive()]
    works = [*experiments, *(one for one in (*all_evaluations(), *all_made()) if one.is_alive())]
    for work in works:
        with suppress(OSError):  # it was deleted: the others are asked all the same
            request_stop(work)
    runs = [run for run in runs_with("process.json") if run.is_alive()]
    known = {(one.owner, one.id) for one in experiments}
    for run in runs:
        if (run.owner, labels_of(run).experiment.partition("/")[0]) not in known:
            with suppress(OSError):
                run.request_stop()
    return [*works, *runs]
