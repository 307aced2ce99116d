"""For whom the app works now: the owner of this machine, or a visitor, who is served and not trusted.

On a Space everybody is a visitor. Elsewhere it is who came in with a guest key of a shared app (ui/door.py): each of their calls
is answered in a context of its own; a process that works for a guest alone has that in its environment. Threads and processes
that work for all of them know only whether there may be guests.
"""

import os
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from common.hosted import on_space
from common.paths import GUEST_PREFIX

GUESTS = "STUDIO_GUESTS"  # the variable that tells child processes that guests use this machine
FOR_GUEST = "STUDIO_FOR_GUEST"  # the variable of a child process that works for a guest, in all of its threads
_IS_GUEST: ContextVar[bool] = ContextVar("guest", default=bool(os.environ.get(FOR_GUEST)))


def is_guest() -> bool:
    """Return whether what runs now was asked for by somebody with a guest key."""
    return _IS_GUEST.get()


def is_visitor() -> bool:
    """Return whether what runs now was asked for by anybody but the owner of this machine."""
    return is_guest() or on_space()


def has_visitors() -> bool:
    """Return whether anybody but its owner may name what this machine reads: on a Space, and once a guest came in."""
    return is_visitor() or bool(os.environ.get(GUESTS))


def expect_guests() -> None:
    """Treat what is read on this machine as anybody's from now on, in this process and its children."""
    os.environ[GUESTS] = "1"


@contextmanager
def as_guest(is_one: bool) -> Generator[None]:
    """Work for a guest inside, or for who would be there without this."""
    token = _IS_GUEST.set(is_one)
    try:
        yield
    finally:
        _IS_GUEST.reset(token)


def working_for(owner: str) -> AbstractContextManager[None]:
    """Work for `owner` inside, whoever is there without this: what one person does may start what another waits for."""
    return as_guest(owner.startswith(GUEST_PREFIX) and not on_space())
