"""A Space on ZeroGPU without one: the real package `spaces` with its decorator acting, and a device API of our own on loopback.

What needs the card is faked at one seam, `without_a_card`: in a fork the weights go back to the CPU instead of to a GPU.
"""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


@dataclass
class DeviceApi:
    """What lends GPUs on ZeroGPU, by the interface of spaces/zero/api.py; keeps what it was asked for."""

    refusals: list[tuple] = field(default_factory=list)  # (status, JSON or events, headers) of the next calls
    asked: list[dict] = field(default_factory=list)  # the parameters of each /schedule
    paths: list[str] = field(default_factory=list)

    def start(self) -> str:
        """Serve on loopback; returns the address."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                address = urlsplit(self.path)
                api.paths.append(address.path)
                if address.path != "/schedule":
                    return self.answer(200, {})
                api.asked.append({name: values[0] for name, values in parse_qs(address.query).items()})
                if api.refusals:
                    return self.answer(*api.refusals.pop(0))
                # every second call finds the fork of the one before it still there
                lent = {"idle": len(api.asked) % 2 == 0, "allowToken": str(len(api.asked))}
                return self.answer(200, lent | {"nvidiaIndex": 0, "nvidiaUUID": "GPU-0"})

            def answer(self, status: int, value: dict | str, headers: dict[str, str] | None = None) -> None:
                body = (value if isinstance(value, str) else json.dumps(value)).encode()
                kind = "text/event-stream" if isinstance(value, str) else "application/json"
                self.send_response(status)
                for name, words in {"content-type": kind, **(headers or {})}.items():
                    self.send_header(name, words)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_words) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"


def is_in_bad_fork() -> bool:
    return False


def without_a_card() -> None:
    """Let the package's forks do without CUDA: torch here is not built for it. Before `spaces` is imported."""
    import peft  # noqa: F401  with bitsandbytes, which would look for CUDA's own functions once torch says that it has some
    import torch

    torch.version.cuda, torch._C._cuda_init = "12.8", lambda: None
    torch.cuda._is_in_bad_fork = is_in_bad_fork  # torch's own, without CUDA, has no name to send it by
    from spaces.zero import torch as lent
    from spaces.zero.torch import patching

    def move(callback=None) -> None:
        for fake, original in patching.cuda_aliases.items():
            if original is not None:
                fake.data = original

    lent.init, lent.move = lambda uuid: None, move
    lent.pack = lambda: 0  # they stay where they are, instead of on a disk from which a card is filled


if __name__ == "__main__":
    without_a_card()
    from runs import slices

    slices.SLICE_SECONDS = 0  # a step a slice
    import app

    app.main()
