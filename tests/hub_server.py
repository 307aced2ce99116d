"""A Hub on loopback for the real huggingface_hub client: model info, tree, files. Read-only for now; standard library only.

    with HubServer({"owner/name": folder}) as hub: ... HF_ENDPOINT=hub.url

The traffic follows the design's `hub-protocol.md`, section 1. `hub.requests` keeps (method, path, has a token) of every call.
"""

import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


class HubServer:
    """Serves folders as model repositories. `delay` in seconds slows every 64 kB down; `gated` names answer 403."""

    def __init__(self, repositories: dict[str, Path], delay: float = 0.0, gated: set[str] = frozenset()) -> None:
        self.repositories = repositories
        self.delay = delay
        self.gated = gated
        self.requests: list[tuple[str, str, bool]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "HubServer":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *details) -> None:
        self._server.shutdown()
        self._server.server_close()

    def commit(self, name: str) -> str:
        """The 40 hex digits of a repository's only commit: they follow from the names and sizes of its files."""
        files = sorted((path.name, path.stat().st_size) for path in self.repositories[name].iterdir())
        return hashlib.sha1(repr((name, files)).encode()).hexdigest()


def _handler_of(hub: HubServer):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.requests.append((self.command, self.path, "Authorization" in self.headers))
            parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
            name = "/".join(parts[2:4] if parts[:2] == ["api", "models"] else parts[:2])
            if name in hub.gated:
                return self._error(403, "GatedRepo")
            if name not in hub.repositories:
                return self._error(404, "RepoNotFound")
            if parts[:2] == ["api", "models"]:
                return self._json(self._tree(name) if "tree" in parts[4:5] else self._info(name))
            return self._file(name, hub.repositories[name] / "/".join(parts[4:]))

        do_HEAD = do_GET

        def _info(self, name: str) -> dict:
            files = [{"rfilename": path.name} for path in sorted(hub.repositories[name].iterdir())]
            return {"id": name, "sha": hub.commit(name), "siblings": files, "private": False, "tags": []}

        def _tree(self, name: str) -> list[dict]:
            paths = sorted(hub.repositories[name].iterdir())
            return [
                {"type": "file", "oid": _oid(path), "size": path.stat().st_size, "path": path.name} for path in paths
            ]

        def _file(self, name: str, path: Path) -> None:
            if not path.is_file():
                return self._error(404, "EntryNotFound", hub.commit(name))
            content = path.read_bytes()
            start = int(self.headers.get("Range", "bytes=0-").split("=")[1].split("-")[0])
            self.send_response(206 if start else 200)
            self.send_header("X-Repo-Commit", hub.commit(name))
            self.send_header("ETag", f'"{_oid(path)}"')
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if self.command == "GET":
                self._send(content[start:])

        def _send(self, content: bytes) -> None:
            try:
                for offset in range(0, len(content), 65536):
                    self.wfile.write(content[offset : offset + 65536])
                    time.sleep(hub.delay)
            except ConnectionError:
                pass  # the client went away, as clients do

        def _json(self, value) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _error(self, status: int, code: str, commit: str = "") -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            if commit:
                self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *details) -> None:
            """Quiet: `hub.requests` has it all."""

    return Handler


def _oid(path: Path) -> str:
    """The git object id of a file's content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
