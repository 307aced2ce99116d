"""Stands in for the client of Gradio's tunnel: a small proxy on loopback that gives every request a foreign name, as that does.

`install(hf_home)` puts it where Gradio keeps the real one, so that the real app starts it. FAKE_TUNNEL_PORT is where it listens.
"""

import os
import re
import socket
import socketserver
import sys
import threading
from pathlib import Path

NAME = "studio.test"
VISITOR = "203.0.113.9"


def install(hf_home: Path) -> dict[str, str]:
    """Put this file in the place of Gradio's binary below `hf_home`; return the variables that lead the app there."""
    from gradio.tunneling import BINARY_FILENAME

    file = hf_home / "gradio" / "frpc" / BINARY_FILENAME
    file.parent.mkdir(parents=True)
    file.write_text(f"#!{sys.executable}\n{Path(__file__).read_text()}")
    file.chmod(0o700)
    return {"GRADIO_SHARE_SERVER_ADDRESS": "127.0.0.1:1"}


class Proxy(socketserver.StreamRequestHandler):
    """One request to the app on `port`, under another name."""

    port = 0

    def handle(self) -> None:
        lines = []
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            lines.append(line)
        head = re.sub(rb"(?im)^(host|connection|x-forwarded-\w+):.*\r\n", b"", b"".join(lines))
        added = f"Host: {NAME}\r\nX-Forwarded-For: {VISITOR}\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.port)) as app:
            app.sendall(head + added.encode())
            threading.Thread(target=self.send_on, args=(app,), daemon=True).start()
            while part := app.recv(65536):
                self.wfile.write(part)

    def send_on(self, app: socket.socket) -> None:
        while part := self.rfile.read1(65536):
            app.sendall(part)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


if __name__ == "__main__":
    Proxy.port = int(sys.argv[sys.argv.index("-l") + 1])
    server = Server(("127.0.0.1", int(os.environ["FAKE_TUNNEL_PORT"])), Proxy)
    print(f"start proxy success: http://{NAME}", flush=True)
    server.serve_forever()
