"""Work that takes seconds, in a thread, with what it says on the way: a handler yields it, and closing the handler stops it."""

import queue
import threading
from collections.abc import Callable, Iterator


def with_progress(work: Callable) -> Iterator[tuple[str, object]]:
    """Run `work(progress, stop)` in a thread; yields ("says", sentence) as it goes and ("is", result) at its end.

    What `work` raises is raised here. Closing the generator sets `stop`.
    """
    said: queue.Queue = queue.Queue()
    stop = threading.Event()

    def run() -> None:
        try:
            said.put(("is", work(lambda sentence, fraction=None: said.put(("says", sentence)), stop)))
        except BaseException as error:  # handed to the thread that waits; nobody sees it otherwise
            said.put(("raised", error))

    threading.Thread(target=run, daemon=True).start()
    try:
        while True:
            kind, value = said.get()
            if kind == "raised":
                raise value
            yield kind, value
            if kind == "is":
                return
    finally:
        stop.set()
