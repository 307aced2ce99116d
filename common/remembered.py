"""What was made of files, kept while they are as they were: a list of ten thousand folders is not read anew for every look.

    sizes = Remembered(most=30_000)
    size = sizes.get(folder, stamps(folder, "a.json", "b.json"), lambda: ...)

The files stay the only truth: whoever asks looks at each of them (its time, size and number on the disk), and what changed is
read again. A file of this very moment is not believed to be done: clocks of file systems tick slower than programs write.
"""

import os
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

SETTLED_NS = 2_000_000_000

Value = TypeVar("Value")
Stamp = tuple[int, int, int] | None


def stamps(folder: str, *names: str) -> tuple[Stamp, ...]:
    """(time of its last change, size, number on the disk) of each file in `folder`, None of one that is not there.

    Without names that of the folder itself, which changes with every file that comes, goes or is replaced.
    """
    found: list[Stamp] = []
    for path in [f"{folder}/{name}" for name in names] or [folder]:
        try:
            stat = os.stat(path)
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
        except OSError:
            found.append(None)
    return tuple(found)


class Remembered:
    """At most `most` values, each with the stamps it was made at; those that were kept first go first."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: dict[Hashable, tuple[tuple[Stamp, ...], Any]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, now: tuple[Stamp, ...], make: Callable[[], Value]) -> Value:
        """What was kept for `key` at these stamps, else what `make` returns; it is called after the stamps were taken."""
        kept = self._kept.get(key)
        if kept is not None and kept[0] == now:
            return kept[1]
        value = make()
        if all(stamp is None or stamp[0] < time.time_ns() - SETTLED_NS for stamp in now):
            with self._lock:
                self._kept.pop(key, None)
                self._kept[key] = (now, value)
                while len(self._kept) > self.most:
                    del self._kept[next(iter(self._kept))]
        return value

    def __len__(self) -> int:
        return len(self._kept)
