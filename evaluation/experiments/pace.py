"""Writes the progress of an experiment: what it does now, how many of its trainings and cells are done, and the time left."""

import threading
import time
from contextlib import suppress

from common.errors import UserError
from common.language import english, joined
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.plan import plan_left
from evaluation.run import Progress, Status


class Pace:
    """Counts what is done, forecasts the rest, and writes progress, for all threads of one process."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self.done = 0
        self.total: int | None = None
        self._end: float | None = None  # by the forecast, on the clock of time.monotonic
        self._activities: dict[str, str] = {}
        self._lock = threading.Lock()

    def tell(self, part: str, activity: str) -> None:
        """Say what is done now for a part of the work, "" when nothing is any more; the same again changes nothing."""
        with self._lock:
            if activity != self._activities.get(part):
                print(english(activity), end="\n" if activity else "", flush=True)
                self._activities[part] = activity
                self._write()

    def plan(self, total: int) -> None:
        """Set how many trainings of the search and cells there are."""
        with self._lock:
            self.total = total
            self._forecast()
            self._write()

    def add(self) -> None:
        """Count one that is done."""
        with self._lock:
            self.done += 1
            self._forecast()
            self._write()

    def end(self, status: Status, message: str, hint: str = "") -> None:
        """Write the last word."""
        print(english(message), english(hint), flush=True)
        self.experiment.write_progress(Progress(status, "", self.done, self.total, None, message, hint))

    def _write(self) -> None:
        activity = joined(self._activities.values(), " · ")
        left = max(0.0, self._end - time.monotonic()) if self._end else None
        self.experiment.write_progress(Progress("running", activity, self.done, self.total, left))

    def _forecast(self) -> None:
        """Forecast when all is done; one that cannot be made stops nothing."""
        with suppress(UserError):
            seconds = plan_left(self.experiment).seconds
            self._end = time.monotonic() + seconds if seconds else None
