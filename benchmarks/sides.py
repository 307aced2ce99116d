"""A side of a comparison in a process of its own, as it runs where it is used.

Two that compute in one process slow each other down even while one of them rests: libgomp counts the threads of both, finds
more than there are cores, and puts waiting threads to sleep at once. One token then takes 23 ms instead of 12.

    with Side(make_run, folder, "8bit") as run:
        seconds = run(32)      make_run(folder, "8bit") gave a function in that process; this calls it there
"""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection


class Side:
    """`make(*arguments)` in a new process; calling the side calls what it returned. All must be what pickle can send by name."""

    def __init__(self, make: Callable[..., Callable], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make, arguments), daemon=True)
        self._process.start()
        other.close()

    def __call__(self, *arguments: object):
        """What the function in the process returns. Raises RuntimeError for what it raises, and when the process is gone."""
        try:
            self._pipe.send(arguments)
            is_well, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join(10)
            raise RuntimeError(f"a side ended with {self._process.exitcode}: out of memory?") from error
        if not is_well:
            raise RuntimeError(value)
        return value

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *details: object) -> None:
        self._pipe.close()
        self._process.join(10)
        self._process.terminate()


def _serve(pipe: Connection, make: Callable[..., Callable], arguments: tuple) -> None:
    """The process: make once, then call until nobody asks any more."""
    run = None
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        try:
            run = run or make(*arguments)
            pipe.send((True, run(*asked)))
        except Exception as error:  # the edge of the process: raised again on the other side
            pipe.send((False, f"{type(error).__name__}: {error}"))
