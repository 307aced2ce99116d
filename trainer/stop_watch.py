"""The requests to stop that the training process obeys."""

import _thread
import os
import signal
import threading
import time

from common.language import _
from runs.failures import diagnose
from runs.run import Run
from trainer.ranks import has_lost_a_sibling, world_size

LISTEN_SECONDS = 0.5


class StopRequested(BaseException):
    """A stop that came before the first step: there is nothing to save. Libraries swallow every Exception while they load."""

    def __init__(self, message: str = _("Stopped before the first step.")) -> None:
        super().__init__(message)
        self.message = message


class StopWatch:
    """Says whether to stop: the run's stop file, SIGTERM, SIGINT, a launcher that is gone, or `max_minutes` that are over.

    The minutes count from when it was made, at the start of the process: preparing takes the machine too. With `slice_seconds`
    it also says when these are over; `used_seconds` were taken by the slices before. The process is another program's then,
    whose signals are left alone.
    """

    def __init__(self, run: Run, slice_seconds: float | None = None, used_seconds: float = 0) -> None:
        self.run = run
        self.began = time.monotonic() - used_seconds
        self.slice_ends = None if slice_seconds is None else time.monotonic() + slice_seconds
        self.max_minutes: float = 0  # 0: no limit
        self.is_training = False
        self.is_over = False
        self.was_signalled = False
        self.launcher = os.getppid()
        for number in (signal.SIGTERM, signal.SIGINT) if slice_seconds is None else ():
            signal.signal(number, self._on_signal)

    def _on_signal(self, number, frame) -> None:
        self.was_signalled = True
        if self.is_training or self.is_over:
            return  # heard at the end of the step, by all ranks together
        raise diagnose("process_lost") if has_lost_a_sibling() else StopRequested

    def listen_while_loading(self) -> None:
        """Let a stop file end what loads or converts a base, as a signal does; several ranks agree at their first step."""
        if world_size() == 1:
            threading.Thread(target=self._listen, name="stop-watch", daemon=True).start()

    def _listen(self) -> None:
        while not (self.is_training or self.is_over):
            if self.run.stop_file.exists():
                _interrupt_main_thread()
                time.sleep(LISTEN_SECONDS)  # an import that swallowed it is told again, one that unwinds is left alone
            time.sleep(LISTEN_SECONDS)

    def check(self) -> None:
        """Raise StopRequested before the training has begun. Several ranks agree at their first step instead."""
        if not self.is_training and os.environ.get("WORLD_SIZE", "1") == "1":
            self.end_before_training(self.is_requested(), self.is_late())

    def end_before_training(self, is_requested: bool, is_late: bool) -> None:
        """Raise StopRequested, with its reason, for either."""
        if is_requested:
            raise StopRequested
        if is_late:
            minutes = f"{self.max_minutes:g}"
            raise StopRequested(
                _("The time limit (max_minutes, {minutes} min) was over before the first step.", minutes=minutes)
            )

    def is_requested(self) -> bool:
        """Return whether this process was asked to stop, or its launcher is gone."""
        return self.was_signalled or self.run.stop_file.exists() or os.getppid() != self.launcher

    def is_slice_over(self, needed: float) -> bool:
        """Return whether the slice has no room for `needed` seconds more; False when the training is in one piece."""
        return self.slice_ends is not None and time.monotonic() + needed > self.slice_ends

    def is_late(self) -> bool:
        """Return whether `max_minutes` are over."""
        return self.max_minutes > 0 and time.monotonic() - self.began >= 60 * self.max_minutes


def _interrupt_main_thread() -> None:
    """Signal the main thread, so that a system call that waits there ends; without such signals it is heard after the call."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
    else:
        _thread.interrupt_main(signal.SIGTERM)
