"""Run work that takes seconds in a thread: a handler yields its progress, and closing the handler stops it."""

import contextvars
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any


def with_progress(work: Callable, heartbeat: float | None = None) -> Iterator[tuple[str, Any]]:
    """Run `work(progress, stop)` in a thread; yield ("says", sentence) as it goes and ("is", result) at its end.

    What `work` raises is raised here. Closing the generator sets `stop`. After `heartbeat` seconds without a sentence the last
    one is yielded again, so that the generator can be closed.
    """
    said: queue.Queue = queue.Queue()
    stop = threading.Event()

    def run() -> None:
        try:
            said.put(("is", work(lambda sentence, fraction=None: said.put(("says", sentence)), stop)))
        except BaseException as error:  # handed to the thread that waits; nobody sees it otherwise
            said.put(("raised", error))

    # in the caller's context: it has the visitor's language
    threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True).start()
    try:
        last: Any = ("says", "")
        while True:
            try:
                kind, value = last = said.get(timeout=heartbeat)
            except queue.Empty:
                kind, value = last
            if kind == "raised":
                raise value
            yield kind, value
            if kind == "is":
                return
    finally:
        stop.set()
