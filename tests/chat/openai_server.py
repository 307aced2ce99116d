"""A loopback server that speaks OpenAI's chat interface and streams: it answers with what it was asked, word by word."""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# How an answer ends that breaks off in the middle, by model.
BROKEN = {"half": b'data: {"id": "1", "cho', "garbage": b"data: {no json}\n\n", "cut": b""}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        models = [{"id": "tiny", "max_model_len": 200}, {"id": "my-adapter"}]
        self._send(200, json.dumps({"object": "list", "data": models}).encode(), "application/json")

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        if asked["model"] == "broken":
            return self._send(500, b'{"error": {"message": "out of memory"}}', "application/json")
        words = f"{asked['model']} heard {len(asked['messages'])}: {asked['messages'][-1]['content'][:80]} 라마".split(
            " "
        )
        if self.server.say:
            words = self.server.say(asked).split(" ")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if asked["model"] == "silent":
            self.wfile.flush()
            self.connection.settimeout(30)
            self.server.hung_up = self.rfile.read(1) == b""  # nothing comes before the other side closes
            return None
        for place in range(len(words) * self.server.times):
            turn, number = divmod(place, len(words))
            word = words[number] + (str(turn) if turn and number == len(words) - 1 else "")  # it repeats nothing
            self._piece({"role": "assistant", "content": (" " if place else "") + word}, None)
        if asked["model"] in BROKEN:
            return self.wfile.write(BROKEN[asked["model"]])
        self._piece({}, "stop")
        self.wfile.write(b"data: [DONE]\n\n")

    def _piece(self, delta: dict, finish_reason) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        piece = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "tiny", "choices": [choice]}
        self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
        self.wfile.flush()
        self.server.sent += 1
        time.sleep(self.server.pause)

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@contextmanager
def openai_server(times: int = 1, pause: float = 0.0, say=None):
    """The server while the context lasts: its words `times` times, `pause` seconds apart; it remembers what it was `asked`.

    `say` makes its words of what it was asked.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.sent, server.times, server.pause, server.say = [], 0, times, pause, say
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
