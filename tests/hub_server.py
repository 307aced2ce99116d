"""A Hub on loopback for the real huggingface_hub client: users, tokens, repositories, and what can go wrong with them.

    with HubServer({"owner/name": folder}) as hub: ... HF_ENDPOINT=hub.url

Standard library only; the HTTP side is in `tests/hub_handler.py` and `tests/hub_files.py`. The
traffic is what huggingface_hub's client was seen to send and to get.
`hub.requests` keeps (method, path, has a token) of every call, `hub.bodies` what was uploaded.
"""

import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

from tests.hub_handler import handler_of
from tests.hub_jobs import Jobs


@dataclass
class Repository:
    """One repository. A file is bytes that were uploaded, or the Path of one that a test serves."""

    name: str
    files: dict[str, bytes | Path] = field(default_factory=dict)
    private: bool = False
    gated: bool = False
    allowed: set[str] = field(default_factory=set)
    lfs: set[str] = field(default_factory=set)
    stored: dict[str, str] = field(default_factory=dict)  # of large files: the hash, a name that it had
    history: list[str] = field(default_factory=list)
    snapshots: dict[str, dict] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    changed: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        self.record()

    id = property(lambda self: self.name.removeprefix("datasets/").removeprefix("spaces/"))
    owner = property(lambda self: self.id.split("/")[0])
    commit = property(lambda self: self.history[-1])

    def record(self) -> str:
        """A new commit of the files as they are; its 40 hex digits are like no other's (clients cache by them)."""
        self.history.append(secrets.token_hex(20))
        self.snapshots[self.commit] = dict(self.files)
        self.branches["main"] = self.commit
        self.changed = time.time()
        return self.commit

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch, a tag or a commit names, or None."""
        return self.branches.get(revision) or (revision if revision in self.snapshots else None)

    def content(self, path: str, commit: str | None = None) -> bytes | None:
        value = self.snapshots[commit or self.commit].get(path)
        return value.read_bytes() if isinstance(value, Path) else value

    def tags(self) -> list[str]:
        """What the Hub makes of the card's front matter: its tags, its library, and how it relates to its base."""
        card = (self.content("README.md") or b"").decode()
        front = card.split("---")[1] if card.startswith("---") else ""
        listed = re.search(r"^tags:\n((?:- .*\n)+)", front, re.MULTILINE)
        tags = [line[2:].strip("'\" ") for line in listed[1].splitlines()] if listed else []
        library = re.search(r"^library_name: (\S+)", front, re.MULTILINE)
        base = re.search(r"^base_model: (\S+)", front, re.MULTILINE)
        relation = re.search(r"^base_model_relation: (\S+)", front, re.MULTILINE)
        tags += [library[1]] if library else []
        tags += [f"base_model:{base[1]}"] if base else []
        tags += [f"base_model:{relation[1]}:{base[1]}"] if base and relation else []
        return sorted(set(tags))


@dataclass
class Fault:
    """What goes wrong the next `times` that a request matches: an answer with `status`, or a connection that is cut."""

    method: str
    part: str
    status: int = 0
    times: int = 1
    headers: dict = field(default_factory=dict)
    error: str = "made to fail"


class HubServer:
    """Serves repositories. `delay` in seconds slows every 64 kB down; `gated` names answer 403; `lfs` names go by LFS."""

    def __init__(self, repositories=None, delay: float = 0.0, gated=frozenset(), lfs: str = r"(?!)") -> None:
        self.repositories: dict[str, Repository] = {}
        for name, folder in (repositories or {}).items():
            self.add(name, folder, gated=name in gated)
        self.delay = delay
        self.lfs = lfs
        self.tokens: dict[str, dict] = {}
        self.objects: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.redirects: dict[str, str] = {}  # a part of a path: the address it is sent away to
        self.lies: dict[str, bytes] = {}  # a file: what is sent instead of it, whatever its size was said to be
        self.requests: list[tuple[str, str, bool]] = []
        self.bodies: list[bytes] = []
        self.created: list[dict] = []  # what was asked for
        self.seen_tokens: list[str | None] = []
        self.lock = threading.Lock()
        self.jobs = Jobs()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self))
        self._server.daemon_threads = True
        self.jobs.hub_url = self.url

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *details) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, folder: Path | dict, **facts) -> Repository:
        """A repository with the files of a folder, or with {path: bytes}."""
        if isinstance(folder, Path):
            folder = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
        self.repositories[name] = Repository(name, dict(folder), **facts)
        return self.repositories[name]

    def add_user(self, name: str, role: str = "write", orgs: tuple[str, ...] = ()) -> str:
        """A user and a token of theirs; `role` is 'write', 'read' or 'contribute' (may write to what it created)."""
        token = f"hf_{name}_{role}_{secrets.token_hex(8)}"
        self.tokens[token] = {"name": name, "role": role, "orgs": list(orgs), "created": set()}
        return token

    def fail(self, method: str, part: str, status: int = 0, times: int = 1, **facts) -> None:
        """The next requests of `method` with `part` in their path fail; status 0 cuts the connection."""
        self.faults.append(Fault(method, part, status, times, **facts))

    def fault_of(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and fault.part in path:
                    fault.times -= 1
                    return fault
        return None

    def commit(self, name: str) -> str:
        """The 40 hex digits of a repository's newest commit."""
        return self.repositories[name].commit

    def sent(self, method: str, part: str) -> list[str]:
        """The paths of the requests so far of this method with `part` in them."""
        return [path for used, path, _ in self.requests if used == method and part in path]


def point_client_at(server: HubServer, monkeypatch) -> None:
    """Let the client of this process talk to this Hub and to nothing else, without waiting between its tries."""
    from huggingface_hub import constants
    from huggingface_hub.utils import _http

    from models.hub import client

    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(_http, "time", SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None}))
    client._account_of.cache_clear()
