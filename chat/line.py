"""Who may ask for an answer, and who is answered next. Plain lists without threads: the scheduler calls it under its lock.

People are answered in rotation: next is the person who has waited longest since they asked or since their last answer began, so
that somebody with thirty requests delays the others by one answer. A person is an owner; guests of one address are one person,
since anybody can make any number of guests.

One base is in memory. It stays for STAY_SECONDS for each person who waits for it or is answered by it, up to MAX_STAY_SECONDS,
and its requests go first meanwhile; after that the rotation alone decides, and when it comes to another base, no new request is
admitted until the answers in progress are done. So one person's requests for another base cost the others one change of the base
for each such stay, and nobody waits longer than a stay, a round of answers and a load. A base without requests is left at once.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any

from common.errors import UserError
from common.language import _
from common.paths import GUEST_PREFIX, LOCAL_OWNER

STAY_SECONDS, MAX_STAY_SECONDS = 10, 120


@dataclass(frozen=True)
class Caller:
    """The sender of a request: the owner's folder name, and the address of the machine or network ("" when it is unknown)."""

    owner: str = LOCAL_OWNER
    address: str = ""

    @property
    def is_guest(self) -> bool:
        """Return whether the owner is a browser that is not signed in."""
        return self.owner.startswith(GUEST_PREFIX)

    @property
    def person(self) -> str:
        """Return the name by which the rotation and the limits count: the owner, or all guests of one address."""
        return f"guests at {self.address}" if self.is_guest and self.address else self.owner


class Busy(UserError):
    """As many requests wait or are answered as may: another one may be later."""


LOCAL = Caller()  # the owner of a laptop, and programs without a page


@dataclass(frozen=True)
class Limit:
    """The most answers in progress: in all, for one owner, for one address; guests together get half of `total`.

    The owner of a laptop may use all of them.
    """

    total: int
    owner: int
    address: int

    def check(self, caller: Caller, held: list[Caller]) -> None:
        """Raise Busy when one more of `caller` beside `held` would be too many."""
        if len(held) >= self.total:
            raise Busy(_("{count} requests are already waiting.", count=self.total), _("Try again in a minute."))
        if caller.owner == LOCAL_OWNER:
            return
        if sum(other.owner == caller.owner for other in held) >= self.owner:
            words = _("{count} of your own requests are already waiting.", count=self.owner)
            raise Busy(words, _("Wait for one of them, or stop one."))
        if caller.address and sum(other.address == caller.address for other in held) >= self.address:
            words = _("{count} requests from your network are already waiting.", count=self.address)
            raise Busy(words, _("Try again in a minute."))
        if caller.is_guest and sum(other.is_guest for other in held) >= self.total // 2:
            words = _("Too many visitors without an account are already waiting.")
            raise Busy(words, _("Sign in, or try again in a minute."))

    def has_room(self, caller: Caller, held: list[Caller]) -> bool:
        """Return whether `check` would let one more of `caller` in."""
        try:
            self.check(caller, held)
        except UserError:
            return False
        return True


class Places:
    """The places of a limit, held while an answer is in progress; safe from any thread."""

    def __init__(self, limit: Limit) -> None:
        self.limit = limit
        self._held: list[Caller] = []
        self._lock = Lock()

    @contextmanager
    def taken_by(self, caller: Caller) -> Generator[None]:
        """Hold a place in a `with` block. Raises Busy when `caller` may not have one now."""
        with self._lock:
            self.limit.check(caller, self._held)
            self._held.append(caller)
        try:
            yield
        finally:
            with self._lock:
                self._held.remove(caller)


class Line:
    """The requests that wait. Each has a `caller`, a `base()`, and `is_prepared` once it can be answered."""

    def __init__(self, waiting: Limit, running: Limit) -> None:
        self._waiting_limit, self._running_limit = waiting, running
        self.requests: list = []  # in the order in which they came
        self._came: dict[int, float] = {}  # by the id of a request
        self._last_turn: dict[str, float] = {}  # of the people who wait
        self._base: tuple | None = None
        self._base_since = 0.0

    def add(self, request, is_limited: bool = True) -> None:
        """Put `request` into the line. Raises Busy when its caller may not have another one there."""
        if is_limited:
            self._waiting_limit.check(request.caller, [other.caller for other in self.requests])
        self.requests.append(request)
        self._came[id(request)] = time.monotonic()

    def remove(self, request) -> bool:
        """Take `request` out; False when it is not there."""
        if self._came.pop(id(request), None) is None:
            return False
        self.requests = [other for other in self.requests if other is not request]
        return True

    def next(self, active: list) -> Any:
        """Take out the request that is to be answered now beside `active`; None while nobody can be."""
        held = [request.caller for request in active]
        able = [one for one in self.requests if one.is_prepared and self._running_limit.has_room(one.caller, held)]
        able.sort(key=lambda one: max(self._came[id(one)], self._last_turn.get(one.caller.person, 0.0)))
        wanted_by = {one.caller.person for one in [*active, *self.requests] if one.base() == self._base}
        if time.monotonic() - self._base_since < min(STAY_SECONDS * len(wanted_by), MAX_STAY_SECONDS):
            able = [one for one in able if one.base() == self._base] or able
        if not able or (active and able[0].base() != active[0].base()):
            return None
        request, now = able[0], time.monotonic()
        self.remove(request)
        people = {other.caller.person for other in self.requests}
        self._last_turn[request.caller.person] = now
        self._last_turn = {person: at for person, at in self._last_turn.items() if person in people}
        if request.base() != self._base:
            self._base, self._base_since = request.base(), now
        return request
