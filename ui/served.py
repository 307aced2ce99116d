"""Adapters on the operator's vLLM: loaded there once they are finished or pulled, unloaded once they are deleted or renamed.

Off unless CHAT_SERVER_ADAPTERS names `STUDIO_HOME/adapters` as the server of CHAT_SERVER_URL sees it; the server must have been
started with `--enable-lora` and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True. A thread compares the folders with the server's list, so
that a restart of either, and whatever made or removed an adapter, changes nothing. Each is called `studio:OWNER:NAME` there;
ui/chat/models.py shows it to its owner alone. One app for one server: what else has such a name is unloaded.
"""

import logging
import os
import threading
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from adapters.export.serve import vllm_line
from adapters.library import UNFINISHED, WEIGHTS, read_adapter
from chat.remote import ADAPTER, RemoteEngine, remote_engine, served_name
from common.errors import UserError
from common.paths import GUEST_PREFIX, adapters_folder, is_name

log = logging.getLogger(__name__)

POLL_SECONDS = 5.0
THREAD = "served adapters"
MAX_OF_AN_OWNER, MAX_ADAPTERS = 20, 200  # the newest; guests come after all others
Stamp = tuple[int, int, int]  # of weights: when they were written, their size, their place on the disk


class ServedAdapters:
    """Keeps the adapters on a server as they are in the folders. `place` is where the server sees the folder of all owners."""

    def __init__(self, server: RemoteEngine, place: str) -> None:
        self.server, self.place = server, place.rstrip("/")
        self._loaded: dict[str, Stamp] = {}  # by this process: what was there before may have changed since
        self._refused: dict[str, Stamp] = {}

    def update(self) -> None:
        """Unload what is gone or was replaced, and load what is missing. Raises httpx2.HTTPError and ValueError."""
        from httpx2 import HTTPStatusError

        models = self.server.list_models()
        bases = frozenset(name for one in models if not one.parent for name in (one.name, one.root))
        there = {one.name for one in models if one.name.startswith(ADAPTER)}
        fitting = [(owner, name, stamp) for owner, name, stamp in newest_adapters() if _fits(owner, name, bases)]
        wanted = {served_name(owner, name): (f"{self.place}/{owner}/{name}", stamp) for owner, name, stamp in fitting}
        for name in there:
            if name not in wanted or self._loaded.get(name) != wanted[name][1]:
                self._loaded.pop(name, None)
                with suppress(HTTPStatusError):  # somebody else was faster, or the server changes nothing
                    self.server.unload_adapter(name)
        for name, (path, stamp) in wanted.items():
            is_there = name in there and self._loaded.get(name) == stamp
            if is_there or self._refused.get(name) == stamp:
                continue
            try:
                self.server.load_adapter(name, path)
                self._loaded[name] = stamp
            except HTTPStatusError as error:
                self._refused[name] = stamp
                log.warning("The chat server does not take %s: status %s", name, error.response.status_code)

    def keep(self) -> None:
        """Update again and again, for as long as the process lives: the target of a thread."""
        from httpx2 import HTTPError

        while True:
            try:
                self.update()
            except (HTTPError, ValueError, OSError) as error:
                self._refused.clear()  # it may be another one when it answers again
                log.info("The chat server's adapters: %s", error)
            time.sleep(POLL_SECONDS)


def newest_adapters() -> list[tuple[str, str, Stamp]]:
    """Return (owner, name, stamp) of the adapters that may be on the server."""
    found: dict[str, list[tuple[Stamp, str]]] = {}
    for weights in adapters_folder().parent.glob(f"*/*/{WEIGHTS}"):
        name, owner = weights.parent.name, weights.parent.parent.name
        if is_name(owner) and is_name(name) and not name.endswith(UNFINISHED):
            try:
                stat = weights.stat()
            except OSError:  # deleted meanwhile
                continue
            found.setdefault(owner, []).append(((stat.st_mtime_ns, stat.st_size, stat.st_ino), name))
    kept = [
        (owner.startswith(GUEST_PREFIX), stamp, owner, name)
        for owner, adapters in found.items()
        for stamp, name in sorted(adapters, reverse=True)[:MAX_OF_AN_OWNER]
    ]
    kept.sort(key=lambda one: (one[0], -one[1][0]))
    return [(owner, name, stamp) for _is_guest, stamp, owner, name in kept[:MAX_ADAPTERS]]


def _fits(owner: str, name: str, bases: frozenset[str]) -> bool:
    """Return whether vLLM can serve the adapter on one of the server's bases."""
    folder = adapters_folder(owner) / name
    try:
        return _can_be_served(folder, folder.stat().st_mtime_ns, bases)
    except OSError:
        return False


@lru_cache(maxsize=1000)
def _can_be_served(folder: Path, changed_ns: int, bases: frozenset[str]) -> bool:
    """Return whether vLLM can serve the adapter in `folder` as it is at `changed_ns`: a change of its files is another time."""
    try:
        adapter = read_adapter(folder)
    except UserError:
        return False
    return adapter.base in bases and not vllm_line(adapter).refusals


def keep_adapters_on_server() -> None:
    """Start the thread, where the operator wants it."""
    server, place = remote_engine(), os.environ.get("CHAT_SERVER_ADAPTERS", "").strip()
    if server and place:
        threading.Thread(target=ServedAdapters(server, place).keep, daemon=True, name=THREAD).start()
