"""The limits of the owner of a Space or of a shared server, from the environment.

    STUDIO_MAX_RUNS_PER_USER   queued and running runs of one user     3 on a Space
    STUDIO_MAX_QUEUE           runs that wait, of all users            20 on a Space (half of it for guests)
    STUDIO_MAX_MINUTES         minutes a run may train                 120 on a Space
    STUDIO_MAX_ROWS            rows of the data that a run reads       100000 on a Space
    STUDIO_MAX_KEPT_RUNS       runs that one user keeps                20 on a Space
    STUDIO_MAX_KEPT_BYTES      bytes of all that one user keeps        5000000000 on a Space

0 is no limit; so is a variable that is not set, except on a Space. Who asks for more is refused with the limit; who asks
for nothing gets the limit: a run then ends after so many minutes with what it learned, and reads so many rows.
"""

from dataclasses import dataclass

from common.errors import UserError
from common.language import _, n_
from common.limits import limit

ON_A_SPACE = {
    "RUNS_PER_USER": 3,
    "QUEUE": 20,
    "MINUTES": 120,
    "ROWS": 100_000,
    "KEPT_RUNS": 20,
    "KEPT_BYTES": 5 * 10**9,
}


@dataclass(frozen=True)
class Limits:
    """The most of each; 0 is no limit."""

    runs_per_user: int
    queue: int
    minutes: int
    rows: int
    kept_runs: int = 0
    kept_bytes: int = 0


class NoRoom(UserError):
    """As many wait or train as may at a time: another one may later."""


def limits() -> Limits:
    """Read the limits from the environment. Raises UserError for a variable that is no whole number."""
    return Limits(*(limit(f"STUDIO_MAX_{name}", most) for name, most in ON_A_SPACE.items()))


def check_room(mine: int, waiting: int, of_guests: int = 0) -> None:
    """Raise NoRoom when one more run may not join: `mine` of this user wait or train, `waiting` of all users wait.

    `of_guests`: how many wait of all guests together, for one of them. They share half of the queue.
    """
    allowed = limits()
    if allowed.runs_per_user and mine >= allowed.runs_per_user:
        words = n_(
            "{count} of your runs is waiting or training; at most {limit} may at a time here.",
            "{count} of your runs are waiting or training; at most {limit} may at a time here.",
            mine,
            limit=allowed.runs_per_user,
        )
        raise NoRoom(words, _("Wait for one of them, or stop one."))
    if allowed.queue and waiting >= allowed.queue:
        words = n_(
            "The queue is full: {count} run is waiting.", "The queue is full: {count} runs are waiting.", waiting
        )
        raise NoRoom(words, _("Try again later."))
    if allowed.queue and of_guests >= max(1, allowed.queue // 2):
        words = n_(
            "The queue is full for guests: {count} of their runs is waiting.",
            "The queue is full for guests: {count} of their runs are waiting.",
            of_guests,
        )
        raise NoRoom(words, _("Sign in, or try again later."))
