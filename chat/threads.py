"""How many threads generate a token on a CPU: the number that was fastest in recent trials.

Threads wait for each other at every layer. Two are up to 1.5 times as fast as one while nothing else runs, and half as fast as
one when a browser draws on the same cores, or when libgomp puts waiting threads to sleep because others of the process
compute too. This cannot be known beforehand, so each number is tried now and then. Prompts always use all threads: their matrix
products are large.
"""

from collections.abc import Generator
from contextlib import contextmanager
from itertools import cycle

TRIAL_SECONDS, TRIAL_TOKENS = 0.25, 4  # at least, of a trial: what disturbs comes in bursts, ten a second from the page
HOPELESS = 2.0  # times the quickest: a trial ends at once
SOON, LATEST = 4.0, 60.0  # seconds between trials: twice as many after each that changed nothing
BETTER = 0.93  # of the time that the present number takes: what is less better than that is chance
SLOWER = 1.3  # times what it took when it was chosen: then all others are tried at once
NEWEST = 0.05  # the weight of the newest token in what the present number takes


class Threads:
    """The choice for one kind of step: one network and number of conversations. Times are seconds a token."""

    def __init__(self, most: int) -> None:
        self.numbers = [most, *(number for number in (32, 16, 8, 4, 2, 1) if number < most)]
        self.best = most
        self._times: dict[int, float] = {}
        self._others = cycle(self.numbers)
        self._trials = self.numbers[:] if len(self.numbers) > 1 else []  # what is tried now, one after the other
        self._trial: list[float] = []
        self._tried: list[int] = []  # since the last decision
        self._chosen_for = 0.0  # what the best took when it was chosen
        self._since, self._gap = 0.0, SOON  # seconds of writing since the last trial, and until the next

    def number(self) -> int:
        """Return the number of threads for the next token."""
        return self._trials[0] if self._trials else self.best

    def took(self, seconds: float) -> None:
        """Note the seconds that a token took with `number()` threads."""
        if self._trials:
            self._try(seconds)
        elif len(self.numbers) > 1:
            self._times[self.best] += NEWEST * (seconds - self._times[self.best])
            self._since += seconds
            if self._times[self.best] > SLOWER * self._chosen_for and self._since > SOON / 2:
                self._trials = [number for number in self.numbers if number != self.best]
            elif self._since > self._gap:
                self._trials = [next(number for number in self._others if number != self.best)]

    def _try(self, seconds: float) -> None:
        """Add a time to the trial that is going on; after the last trial choose the fastest number."""
        self._trial.append(seconds)
        counted = self._trial[1:]  # on the first one threads are started or ended
        others = [time for number, time in self._times.items() if number != self._trials[0]]
        is_hopeless = counted and others and min(counted) > HOPELESS * min(others)
        if not is_hopeless and (len(counted) < TRIAL_TOKENS or sum(counted) < TRIAL_SECONDS):
            return
        self._tried.append(self._trials.pop(0))
        self._times[self._tried[-1]] = sum(counted) / len(counted)
        self._trial = []
        if self._trials:
            return
        # of those that were tried now: what others took once may be long ago
        before, quickest = self.best, min(self._tried, key=self._times.__getitem__)
        if self._times[quickest] < BETTER * self._times[self.best]:
            self.best = quickest
        self._chosen_for = self._times[self.best]
        self._gap = SOON if self.best != before else min(2 * self._gap, LATEST)
        self._since, self._tried = 0.0, []


@contextmanager
def threads(number: int | None) -> Generator[None]:
    """Let torch use `number` threads in this thread within a `with` block; None changes nothing."""
    import torch

    own = torch.get_num_threads()
    torch.set_num_threads(number or own)
    try:
        yield
    finally:
        torch.set_num_threads(own)
