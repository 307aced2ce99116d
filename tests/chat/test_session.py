"""A server that is hostile or broken: what it sends is bounded, and what was asked is sent nowhere else."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from making import teacher as teachers
from making.config import MakingConfig
from making.teacher import RemoteTeacher, Secret, TeacherFailure

HEAD = b"data: "
PIECE = b'{"choices": [{"index": 0, "delta": {"content": "%s"}, "finish_reason": "stop"}]}\n\n'


class Hostile(BaseHTTPRequestHandler):
    """Does what the path says; `sent` counts the bytes of its answers, `paths` where it was asked."""

    def do_POST(self):
        kind = self.path.split("/")[1]
        self.server.paths.append(self.path)
        self.send_response(307 if kind == "elsewhere" else 200)
        if kind == "elsewhere":
            self.send_header("Location", "/other")
            self.send_header("Content-Length", "0")
        if kind == "compressed":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        bodies = {
            "endless": [HEAD, *[b"x" * 100_000] * 1000],
            "compressed": [gzip.compress(HEAD + PIECE % (b"x" * 10_000))],
        }
        for part in bodies.get(kind, []):
            self.wfile.write(part)
            self.server.sent += len(part)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hostile() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.daemon_threads, server.sent, server.paths = True, 0, []
    server.handle_error = lambda request, address: None  # the other side hangs up
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("kind", ["endless", "compressed", "elsewhere"])
def test_a_line_without_end_a_bomb_and_another_address_are_no_answer(hostile, monkeypatch, kind):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("chat.session.MAX_REPLY_BYTES", 1_000_000, raising=False)
    monkeypatch.setattr(teachers, "MAX_ANSWER_SECONDS", 5)
    config = MakingConfig(server=f"http://127.0.0.1:{hostile.server_port}/{kind}", model="tiny")
    with pytest.raises(TeacherFailure, match=r"does not answer, or not as|broke off"):
        RemoteTeacher(config, Secret(url="", key="k")).ask("Hello", 0, threading.Event())
    assert hostile.sent < 20_000_000 and len(hostile.paths) == 1
