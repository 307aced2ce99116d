"""A real server in Space mode: programs need no key, and 200 requests at once leave the page usable for others."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from statistics import median

import httpx
import pytest

from common.paths import REPOSITORY, home
from tests.browser.driving import free_port, start_app

pytestmark = pytest.mark.slow
HERS, HIS = {"x-forwarded-for": "93.184.215.14"}, {"x-forwarded-for": "151.101.1.69"}


@pytest.fixture
def server(isolated_home):
    port = free_port()
    with open(home() / "app.log", "wb") as log:
        process = start_app({**os.environ, "SPACE_ID": "someone/studio", "HF_HUB_OFFLINE": "1"}, port, log)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


def page_seconds(address: str) -> float:
    """How long another person waits at most: for the page, its config, and a list."""
    waits = []
    with httpx.Client(base_url=address, headers=HERS, timeout=300) as browser:
        for path in ("/", "/config"):
            began = time.monotonic()
            assert browser.get(path).status_code == 200
            waits.append(time.monotonic() - began)
        began = time.monotonic()
        event = browser.post("/gradio_api/call/preset", json={"data": ["Careful"]}).json()["event_id"]
        assert "event: complete" in browser.get(f"/gradio_api/call/preset/{event}").text
        waits.append(time.monotonic() - began)
    return max(waits)


async def flood(address: str, ask) -> Counter:
    """The statuses of 200 requests at once."""
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=address, headers=HIS, timeout=300, limits=limits) as client:
        statuses = Counter()

        async def one(number: int) -> None:
            async with ask(client, number) as answer:
                statuses[answer.status_code] += 1
                if answer.status_code == 200 and "heartbeat" in answer.url.path:
                    await asyncio.sleep(4)

        await asyncio.gather(*(one(number) for number in range(200)))
    return statuses


FLOODS = {
    "pages": lambda client, number: client.stream("GET", "/"),
    "calls": lambda client, number: client.stream("POST", "/gradio_api/call/preset", json={"data": ["Careful"]}),
    "streams": lambda client, number: client.stream("GET", f"/gradio_api/heartbeat/s{number}"),
}


def test_two_hundred_at_once_leave_the_page_usable_for_another(server):
    quiet = max(page_seconds(server) for _ in range(2))
    for name in FLOODS:
        code = f"import asyncio; from tests.ui.test_flood import *; print(asyncio.run(flood({server!r}, FLOODS[{name!r}])))"
        attacker = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        waited = page_seconds(server)
        statuses, _ = attacker.communicate()
        assert "429" in statuses, (name, statuses)
        assert waited < max(2, 6 * quiet), (name, waited, quiet, statuses)


def test_a_thousand_slow_readers_leave_the_page_usable_for_another(server):
    """A thousand streams of a thousand addresses, of which each takes a byte in a while.

    It is quiet before and after: what else the machine does meanwhile slows both, and a moment of it only one of three waits.
    """
    quiet, port = [page_seconds(server) for _ in range(2)], int(server.rpartition(":")[2])
    readers = []
    for number in range(1000):
        reader = socket.socket()
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        reader.connect(("127.0.0.1", port))
        line = f"X-Forwarded-For: 9.{number // 250}.{number % 250}.7"
        reader.sendall(f"GET /gradio_api/heartbeat/s{number} HTTP/1.1\r\nHost: 127.0.0.1\r\n{line}\r\n\r\n".encode())
        readers.append(reader)
    waited = []
    for _ in range(3):
        waited.append(page_seconds(server))
        assert sum(len(reader.recv(1)) for reader in readers) == 1000
    for reader in readers:
        reader.close()
    quiet.append(page_seconds(server))
    assert median(waited) < max(2, 6 * max(quiet)), (waited, quiet)


def test_the_client_for_programs_uploads_and_calls_without_a_key(server, tmp_path):
    from gradio_client import Client, handle_file

    (tmp_path / "a.zip").write_bytes(b"PK")
    program = Client(server, verbose=False)
    with pytest.raises(Exception, match="zip"):
        program.predict({}, [handle_file(tmp_path / "a.zip")], api_name="/check")
