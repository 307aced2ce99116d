"""The items that another thread makes, one after the other; None at times while there is none."""

import queue
from collections.abc import Generator

from chat.preparation import HEARTBEAT_SECONDS


def items_from(came: queue.SimpleQueue) -> Generator:
    """Yield what a thread puts into the queue as (item, None); None after HEARTBEAT_SECONDS without anything.

    (None, StopIteration()) ends it; any other error in that place is raised.
    """
    while True:
        try:
            item, error = came.get(timeout=HEARTBEAT_SECONDS)
        except queue.Empty:
            item, error = None, None
        if isinstance(error, StopIteration):
            return
        if error:
            raise error
        yield item
