"""A loopback server that speaks OpenAI's chat interface and streams: it answers with what it was asked, word by word.

It takes and forgets adapters as vLLM 0.33 does (its `OpenAIServingModels`); `loads` says whether its operator allows it.
"""

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# How an answer ends that breaks off in the middle, by model.
BROKEN = {"half": b'data: {"id": "1", "cho', "garbage": b"data: {no json}\n\n", "cut": b""}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        models = [{"id": "tiny", "max_model_len": 200, "root": self.server.root}, {"id": "my-adapter"}]
        models += [{"id": name, "root": path, "parent": "tiny"} for name, path in self.server.adapters.items()]
        self._send(200, json.dumps({"object": "list", "data": models}).encode(), "application/json")

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        if self.path.endswith("_lora_adapter"):
            return self._send(*self._change_adapters(asked), "application/json")
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

    def _change_adapters(self, asked: dict) -> tuple[int, bytes]:
        name, adapters = asked["lora_name"], self.server.adapters
        if not self.server.loads:
            return 404, b'{"detail": "Not Found"}'
        if self.path == "/v1/unload_lora_adapter":
            return (200, b"Success") if adapters.pop(name, None) else (404, b'{"error": {"type": "NotFoundError"}}')
        if name in adapters:
            return 400, b'{"error": {"type": "InvalidUserInput", "message": "has already been loaded"}}'
        if not Path(asked["lora_path"], "adapter_model.safetensors").is_file():
            return 404, b'{"error": {"type": "NotFoundError"}}'
        adapters[name] = asked["lora_path"]
        return 200, b"Success"

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
    server.adapters, server.loads, server.root = {}, True, "tests/tiny-base"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
