"""A server that is hostile or broken: what it sends is bounded, and what was asked is sent nowhere else."""

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from chat.remote import RemoteEngine
from making import teacher as teachers
from making.config import MakingConfig
from making.teacher import RemoteTeacher, Said, Secret, TeacherFailure

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
        counts = b'data: {"choices": [], "usage": {"prompt_tokens": -7, "completion_tokens": 1%s}}\n\n' % (b"0" * 4000)
        bodies = {
            "miscounted": [HEAD + PIECE % b"Hello", counts],
            "endless": [HEAD, *[b"x" * 100_000] * 1000],
            "compressed": [gzip.compress(HEAD + PIECE % (b"x" * 10_000))],
        }
        for part in bodies.get(kind, []):
            self.wfile.write(part)
            self.server.sent += len(part)

    def do_GET(self):
        lists = {
            "unending": b'{"data": [' + b'{"id": "x"},' * 1_000_000 + b'{"id": "x"}]}',
            "nested": b"[" * 100_000,
            "infinite": b'{"data": [{"id": "x", "max_model_len": Infinity}]}',
            "words": b'{"data": ["x"]}',
            "object": b'{"data": {"id": "x"}}',
        }
        self.send_response(200)
        self.end_headers()
        self.wfile.write(lists[self.path.split("/")[1]])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hostile(monkeypatch) -> Iterator[ThreadingHTTPServer]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.daemon_threads, server.sent, server.paths = True, 0, []
    server.handle_error = lambda request, address: None  # the other side hangs up
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def ask(server: ThreadingHTTPServer, kind: str) -> Said:
    config = MakingConfig(server=f"http://127.0.0.1:{server.server_port}/{kind}", model="tiny")
    return RemoteTeacher(config, Secret(url="", key="k")).ask("Hello", 0, threading.Event())


@pytest.mark.parametrize("kind", ["endless", "compressed", "elsewhere"])
def test_a_line_without_end_a_bomb_and_another_address_are_no_answer(hostile, monkeypatch, kind):
    monkeypatch.setattr("chat.session.MAX_REPLY_BYTES", 1_000_000)
    monkeypatch.setattr(teachers, "MAX_ANSWER_SECONDS", 5)
    with pytest.raises(TeacherFailure, match=r"does not answer, or not as|broke off"):
        ask(hostile, kind)
    assert hostile.sent < 20_000_000 and len(hostile.paths) == 1


def test_tokens_that_nobody_can_have_counted_are_estimated(hostile):
    assert ask(hostile, "miscounted") == Said("Hello", 1, 1)


@pytest.mark.parametrize("kind", ["unending", "nested", "infinite", "words", "object"])
def test_a_list_of_models_that_is_none_is_empty(hostile, kind):
    assert RemoteEngine(f"http://127.0.0.1:{hostile.server_port}/{kind}").models() == {}
