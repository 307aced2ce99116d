"""The progress of a background process: what it does now, the time that is left by the pace of each kind of work, and its stop.

Before the start `seconds_a_question` forecasts it from earlier ones.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from common.errors import UserError
from common.language import Sentence, english
from evaluation.run import PREPARING, Background, Evaluation, Progress, Status, read_progress
from models.base import DEFAULT_BASE, EMBEDDED
from models.hardware import find_gpus

WRITE_SECONDS = 1.0
STOP_SECONDS = 0.5
LATE_SECONDS = 600  # in which whatever is computed or read notices a stop
MIN_MEASURED = 8  # results
# of one model on two CPU cores: its loss, and an answer of 64 tokens
SECONDS_A_QUESTION = {EMBEDDED: 0.6, DEFAULT_BASE: 5.0}


class Work(NamedTuple):
    """A kind of work: results of one measurement on one test set take about as long for each candidate."""

    test_set: str
    needs: str


class Pace:
    """Counts results, forecasts the rest, and writes progress: counts at most once a second. One for each process."""

    def __init__(self, background: Background) -> None:
        self.background = background
        self.done = 0
        self.total: int | None = None
        self._activity: str = PREPARING
        self._status: Status = "running"
        self._left: Counter[Work] = Counter()
        self._measured: dict[Work, tuple[float, int]] = {}  # (seconds, results)
        self._at = time.monotonic()
        self._written_at = -WRITE_SECONDS

    def tell(self, activity: str, status: Status = "running") -> None:
        """Say what is done now; the same again changes nothing."""
        if (activity, status) != (self._activity, self._status):
            print(english(activity), flush=True)
            self._activity, self._status = activity, status
            self._write()

    def plan(self, left: Iterable[Work], done: int) -> None:
        """Set what is left to do, a kind of work for each result, and how many results are there from before."""
        self._left = Counter(left)
        self.done, self.total = done, done + self._left.total()

    def begin(self, activity: Sentence) -> None:
        """Begin to measure; the results that are added from now on took the time since then."""
        self.tell(activity)
        self._at = time.monotonic()

    def add(self, work: Work) -> None:
        """Count one result."""
        now = time.monotonic()
        seconds, count = self._measured.get(work, (0.0, 0))
        self._measured[work] = (seconds + now - self._at, count + 1)
        self._at = now
        self._left[work] -= 1
        self.done += 1
        if now - self._written_at >= WRITE_SECONDS:
            self._write()

    def eta_seconds(self) -> float | None:
        """Return the seconds of what is left; None before MIN_MEASURED results.

        Work with fewer takes as long as the same measurement on other test sets, where that has as many, else as the mean of all:
        the first results wait for a model to be loaded, or for a whole batch.
        """

        def pace(kinds: Iterable[Work]) -> float | None:
            measured = [self._measured[kind] for kind in kinds if kind in self._measured]
            count = sum(count for _seconds, count in measured)
            return sum(seconds for seconds, _count in measured) / count if count >= MIN_MEASURED else None

        mean = pace(self._measured)
        if mean is None:
            return None
        total = 0.0
        for work, count in self._left.items():
            alike = [kind for kind in self._measured if kind.needs == work.needs]
            total += count * (pace([work]) or pace(alike) or mean)
        return total

    def end(self, status: Status, message: str, hint: str = "") -> None:
        """Write the last word."""
        print(english(message), english(hint), flush=True)
        self.background.write_progress(Progress(status, "", self.done, self.total, None, message, hint))

    def _write(self) -> None:
        eta = self.eta_seconds() if self._status == "running" else None
        self.background.write_progress(Progress(self._status, self._activity, self.done, self.total, eta))
        self._written_at = time.monotonic()


def watch(background: Background, max_minutes: int, stop: threading.Event, ended: threading.Event) -> None:
    """Set `stop` when a person asks for it, when the time is up, or when the folder is gone: the target of a thread.

    End the process where that has no effect, and `ended` is not set: it may hold the accelerator, for which trainings wait.
    """
    end = time.monotonic() + 60 * max_minutes if max_minutes else float("inf")
    while background.folder.is_dir() and not background.stop_file.exists() and time.monotonic() < end:
        time.sleep(STOP_SECONDS)
    stop.set()
    if not ended.wait(LATE_SECONDS):
        os._exit(1)


def seconds_a_question(evaluations: Iterable[Evaluation], base: str) -> float | None:
    """Return how long one model took for a question in the first of these evaluations that has ended on the base of this choice.

    Without one a guess for a CPU, None on a GPU.
    """
    for evaluation in evaluations:
        versions = evaluation.versions()
        if not versions or versions["base"] != base or read_progress(evaluation).status != "done":
            continue
        with suppress(OSError, UserError):  # deleted meanwhile, or damaged
            asked = sum(one["asked"] for one in versions["test_sets"].values()) * len(evaluation.config().candidates)
            if asked:  # none, where all rows stand in the training data
                return (evaluation.table_file.stat().st_mtime - evaluation.config_file.stat().st_mtime) / asked
    return None if find_gpus() else SECONDS_A_QUESTION[EMBEDDED if base == EMBEDDED else DEFAULT_BASE]
