"""Fits and tokenises the history before the model is needed: in a thread of the request's own, within a time limit.

Python cannot stop a thread that is inside a library, so a preparation that exceeds its time is abandoned: its request fails, all
others go on. A person with several abandoned threads is refused until one of them ends.
"""

import queue
import threading
import time
from collections.abc import Callable, Generator
from typing import TypeVar

from chat.line import Busy
from chat.warm_up import import_packages
from common.errors import UserError
from common.language import _

MAX_PREPARE_SECONDS = 30
MAX_LOST_THREADS = 8  # of one person: two comparisons of four models that were stopped at once are no offence
HEARTBEAT_SECONDS = 0.5

T = TypeVar("T")
U = TypeVar("U")


class TookTooLong(UserError):
    """A preparation exceeded its time and was abandoned."""

    def __init__(self) -> None:
        words = _("Your messages could not be prepared within {seconds} seconds.", seconds=MAX_PREPARE_SECONDS)
        super().__init__(words, _("Shorten the conversation, or pick another model."))


class Preparations:
    """Runs preparations, and counts the abandoned threads of each person."""

    def __init__(self) -> None:
        self._lost: list[tuple[str, threading.Thread]] = []
        self._lock = threading.Lock()

    def run(
        self, person: str, work: Callable[[], T], stop: threading.Event, meanwhile: U
    ) -> Generator[U, None, T | None]:
        """Run `work` in a thread and return its result, None when `stop` was set; yields `meanwhile` now and then.

        Raises what `work` raises, TookTooLong when it exceeds its time (importing packages does not count), and UserError for a
        person with too many abandoned threads. Setting `stop` or closing the generator abandons the thread, too.
        """
        with self._lock:
            self._lost = [(who, thread) for who, thread in self._lost if thread.is_alive()]
            count = sum(who == person for who, thread in self._lost)
        if count >= MAX_LOST_THREADS:
            words = _("{count} of your stopped conversations are still being prepared.", count=count)
            raise Busy(words, _("Try again in a few minutes, with shorter messages or another model."))
        done: queue.SimpleQueue = queue.SimpleQueue()
        began: list[float] = []
        is_left = threading.Event()

        def target() -> None:
            try:
                import_packages()
                if is_left.is_set():
                    return
                began.append(time.monotonic())
                done.put((work(), None))
            except BaseException as error:  # Rust's panics too; handed to the thread that waits
                done.put((None, error))

        thread, result = threading.Thread(target=target, daemon=True, name="chat preparation"), None
        thread.start()
        try:
            while result is None:
                try:
                    left = began[0] + MAX_PREPARE_SECONDS - time.monotonic() if began else HEARTBEAT_SECONDS
                    result = done.get(timeout=max(0, min(left, HEARTBEAT_SECONDS)))
                except queue.Empty:
                    if began and time.monotonic() - began[0] >= MAX_PREPARE_SECONDS:
                        raise TookTooLong from None
                    if stop.is_set():
                        return None
                    yield meanwhile
        finally:
            is_left.set()
            if result is None and began:
                with self._lock:
                    self._lost.append((person, thread))
        value, error = result
        if error is not None:
            raise as_exception(error)
        return value


def as_exception(error: BaseException) -> Exception:
    """Return `error` as an Exception: a full memory as UserError; panics of Rust, SystemExit and the like as RuntimeError."""
    if isinstance(error, MemoryError):
        return UserError(
            _("This machine is out of memory."), _("Try again, with a shorter answer if it happens again.")
        )
    if isinstance(error, Exception):
        return error
    failure = RuntimeError(f"{type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
