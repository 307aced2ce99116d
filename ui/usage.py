"""Counts what each client of a shared server uses: sessions, requests, uploads and downloads. Without HTTP.

A client is an owner, which is the cookie of a browser ("" without one), at an address. Anybody can have any number of cookies, so
addresses have limits, too. When there is no more room, the oldest entry of the client, or of the address with the most, is
removed. On a laptop there is one owner, and the disk is the only limit.
"""

import asyncio
import shutil
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

from common.body import Refused
from common.language import _
from common.paths import remove_old_files, temporary_folder
from ui.routes import Kind

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None

MAX_OPEN_FILES = 65_536
MAX_SESSIONS = 1000
MAX_SESSIONS_PER_ADDRESS = 100
MAX_SESSIONS_PER_OWNER = 20
MAX_SESSION_IDLE_SECONDS = 3600
MAX_PENDING_PER_ADDRESS = 64  # calls that were not answered, or whose answer was not fetched
MAX_PENDING_PER_OWNER = 32
MAX_REQUESTS = {  # at once, of one address
    Kind.ASSET: 200,
    Kind.PAGE: 32,
    Kind.CALL: 32,
    Kind.NOTE: 32,
    Kind.STREAM: 150,
    Kind.UPLOAD: 4,
    Kind.FILE: 16,
    Kind.SIGN_IN: 8,
}
MAX_PAGES_IN_WORK = 1  # of one address; its others wait: each takes a processor for 0.1 s
MAX_UPLOADS_PER_MINUTE = 30
GB = 1024**3
MAX_UPLOAD_BYTES = 2 * GB
MAX_FORM_BYTES = 1_000_000  # of an upload, around its files
MAX_FILE_BYTES = 20 * GB  # uploads and downloads of all
MAX_FILE_BYTES_PER_OWNER = 5 * GB
MIN_FILE_BYTES = 2_000_000  # that any file counts for, so that there are not too many of them
MIN_FREE_BYTES = GB
SWEEP_SECONDS = 60


@dataclass(frozen=True)
class Client:
    """The sender of a request: the owner ("" for a browser without a cookie) and the address ("" when it is unknown)."""

    owner: str
    address: str


@dataclass
class Session:
    """A session of Gradio, of a page or a program."""

    client: Client
    used: float
    streams: int = 0


@dataclass
class File:
    """An upload or a download. Gradio names files by their content, so that two owners may share one."""

    size: int
    made: float
    clients: set[Client] = field(default_factory=set)


def raise_open_files_limit() -> None:
    """Raise the limit of open files towards the system's: each connection is one, and many shells allow 1,024 or 256."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if 0 <= soft < wanted:
        with suppress(ValueError, OSError):  # macOS allows fewer than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Usage:
    """All counts. Everything here runs in the server's event loop."""

    def __init__(self, is_shared: bool) -> None:
        self.is_shared = is_shared
        self.sessions: dict[str, Session] = {}
        self.files: dict[str, File] = {}
        self._requests: Counter = Counter()
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._uploads: dict[str, deque[float]] = {}
        self._swept = 0.0

    @contextmanager
    def request(self, client: Client, kind: Kind) -> Generator[None]:
        """Count a request while it lasts. Raises Refused beyond the limit of one address at a time."""
        key = (client.address, kind)
        if self.is_shared and self._requests[key] >= MAX_REQUESTS[kind]:
            raise Refused(429, _("Too many requests at once from this address. Try again in a moment."), 5)
        self._requests[key] += 1
        try:
            yield
        finally:
            self._requests[key] -= 1
            if not self._requests[key]:
                del self._requests[key]

    def turn(self, client: Client) -> AbstractAsyncContextManager:
        """Return the semaphore for pages of the client's address.

        This machine never waits, because Gradio requests its own page.
        """
        if not self.is_shared or client.address in ("127.0.0.1", "::1"):
            return nullcontext()
        turn = self._turns.get(client.address) or asyncio.Semaphore(MAX_PAGES_IN_WORK)
        self._turns[client.address] = turn
        return turn

    def join(self, session_hash: str, client: Client) -> list[str]:
        """Note that `client` uses a session; return the sessions to forget, to make room for it.

        Raises Refused for a session of another owner.
        """
        session = self.sessions.get(session_hash)
        if session is not None:
            # without a cookie there is only the address to tell one from another
            if session.client.owner != client.owner or (not client.owner and session.client != client):
                raise Refused(403, _("This session belongs to another browser. Reload the page."))
            session.client, session.used = client, time.monotonic()
            return []
        self.sessions[session_hash] = Session(client, time.monotonic())
        before = time.monotonic() - MAX_SESSION_IDLE_SECONDS
        idle = [name for name, one in self.sessions.items() if not one.streams and one.used < before]
        gone = self._take_oldest(idle, len(idle))
        return gone + (self._take_surplus(client) if self.is_shared else [])

    def _take_surplus(self, client: Client) -> list[str]:
        """Remove the oldest sessions of this client and its address, then of the address with the most; return them."""
        mine = [name for name, one in self.sessions.items() if one.client == client]
        gone = self._take_oldest(mine, len(mine) - MAX_SESSIONS_PER_OWNER)
        near = [name for name, one in self.sessions.items() if one.client.address == client.address]
        gone += self._take_oldest(near, len(near) - MAX_SESSIONS_PER_ADDRESS)
        if len(self.sessions) > MAX_SESSIONS:
            [(largest, _)] = Counter(one.client.address for one in self.sessions.values()).most_common(1)
            theirs = [name for name, one in self.sessions.items() if one.client.address == largest]
            gone += self._take_oldest(theirs, 1)
        return gone

    def _take_oldest(self, names: list[str], count: int) -> list[str]:
        """Remove `count` sessions from the table and return them: those without a stream first, then the longest unused."""
        order = sorted(names, key=lambda name: (self.sessions[name].streams > 0, self.sessions[name].used))
        gone = order[: max(0, count)]
        for name in gone:
            del self.sessions[name]
        return gone

    def check_pending(self, client: Client, pending: dict[str, set], left: int = 0) -> None:
        """Raise Refused when too many calls of this client are waiting.

        `pending` has those of each session, `left` is the number that run for this address without a session.
        """
        if not self.is_shared:
            return
        at_address = {name: one for name, one in self.sessions.items() if one.client.address == client.address}
        counts = {name: len(pending.get(name, ())) for name in at_address}
        own = sum(count for name, count in counts.items() if at_address[name].client == client)
        if sum(counts.values()) + left >= MAX_PENDING_PER_ADDRESS or own >= MAX_PENDING_PER_OWNER:
            raise Refused(429, _("Too many of your calls are waiting. Try again when some are answered."), 10)

    def check_upload(self, client: Client, size: int | None) -> None:
        """Raise Refused for an upload without a length, too large for the disk, or too soon after many others."""
        self.sweep()
        if not self.is_shared:
            return
        if size is None:
            raise Refused(411, _("An upload has to say how long it is (Content-Length)."))
        if size > MAX_UPLOAD_BYTES + MAX_FORM_BYTES:
            raise Refused(413, _("An upload may have at most {size} GB.", size=MAX_UPLOAD_BYTES // GB))
        now, times = time.monotonic(), self._uploads.setdefault(client.address, deque())
        while times and now - times[0] > 60:
            times.popleft()
        if len(times) >= MAX_UPLOADS_PER_MINUTE:
            raise Refused(429, _("Too many uploads from this address. Try again in a minute."), 60)
        times.append(now)
        self._make_room(client, size)

    def has_disk(self) -> bool:
        """Return whether more than MIN_FREE_BYTES of the disk are free."""
        return shutil.disk_usage(temporary_folder()).free > MIN_FREE_BYTES

    def add_files(self, paths: list[str], client: Client) -> None:
        """Note that `client` uploaded these files, or may download them."""
        is_more = False
        for path in paths:
            if path in self.files and client in self.files[path].clients:
                continue
            try:
                size = max(MIN_FILE_BYTES, Path(path).stat().st_size)
            except OSError:
                continue
            self.files.setdefault(path, File(size, time.monotonic())).clients.add(client)
            is_more = True
        if is_more and self.is_shared:
            self._make_room(client, 0)

    def owns(self, client: Client, path: str) -> bool:
        """Return whether the client's owner uploaded the file or may download it."""
        found = self.files.get(path)
        return bool(client.owner and found and client.owner in {one.owner for one in found.clients})

    def _make_room(self, client: Client, size: int) -> None:
        """Remove the oldest files of `client`, then of the address that has most, until there is room for `size` more bytes.

        One pass over all files: it runs in the event loop, and an upload may bring a thousand.
        """
        self._forget_missing()
        oldest_first = sorted(self.files, key=lambda path: self.files[path].made)
        mine = [path for path in oldest_first if client.owner in {one.owner for one in self.files[path].clients}]
        excess = sum(self.files[path].size for path in mine) - (MAX_FILE_BYTES_PER_OWNER - size)
        for path in mine:
            if excess <= 0:
                break
            excess -= self.files[path].size
            self._remove(path, lambda one: one.owner == client.owner)
        excess = sum(file.size for file in self.files.values()) - (MAX_FILE_BYTES - size)
        if excess <= 0:
            return
        held, near = Counter(), defaultdict(deque)
        for path in oldest_first:
            for address in {one.address for one in self.files[path].clients} if path in self.files else ():
                held[address] += self.files[path].size
                near[address].append(path)
        while excess > 0:
            largest = max(held, key=held.__getitem__)
            path = near[largest].popleft()
            size_of_it = self.files[path].size
            held[largest] -= size_of_it
            if self._remove(path, lambda one, largest=largest: one.address == largest):
                excess -= size_of_it

    def _remove(self, path: str, is_theirs: Callable[[Client], bool]) -> bool:
        """Remove the owners that `is_theirs` names from a file; delete it when none is left, and return whether it was."""
        file = self.files[path]
        file.clients = {one for one in file.clients if not is_theirs(one)}
        if file.clients:
            return False
        Path(path).unlink(missing_ok=True)
        del self.files[path]
        return True

    def _forget_missing(self) -> None:
        """Forget the files that are removed already."""
        for path in [path for path in self.files if not Path(path).exists()]:
            del self.files[path]

    def sweep(self) -> None:
        """Remove old files of the temporary folder and forget them, at most once in SWEEP_SECONDS."""
        if time.monotonic() - self._swept < SWEEP_SECONDS:
            return
        self._swept = time.monotonic()
        remove_old_files()
        self._forget_missing()
        for address in [address for address, times in self._uploads.items() if time.monotonic() - times[-1] > 60]:
            del self._uploads[address]
