"""The interface below /v1 on loopback, over real HTTP, with two adapters of the tiny base; behind it a page that says so."""

import asyncio
import shutil
import socket
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import openai
import pytest
import uvicorn

from chat.engine import Engine
from common.paths import LOCAL_OWNER, adapters_folder
from serving import models
from serving.api import Api
from serving.keys import new_key
from tests.chat.conftest import adapters  # noqa: F401
from ui.owner import address_of


async def page(scope, receive, send):
    """What stands behind the interface."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the page"})


@contextmanager
def served(engine):
    """Serve `engine`: has `url`, and the layer as `api`."""
    api = Api(page, engine, address_of)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # clients that keep their connections open would be waited for
    options = {"log_level": "info", "lifespan": "off", "timeout_graceful_shutdown": 1}
    server = uvicorn.Server(uvicorn.Config(api, "127.0.0.1", port, **options))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        yield SimpleNamespace(url=f"http://127.0.0.1:{port}", api=api)
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="session")
def engine():
    engine = Engine()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def server(engine):
    with served(engine) as server:
        yield server


@pytest.fixture
def base(tiny_base, monkeypatch):
    """The name of the tiny base, the only one here; all is computed in fp32, where equal means equal."""
    monkeypatch.setenv("CHAT_PRECISION", "fp32")
    monkeypatch.setattr(models, "BASES", [f"base:{tiny_base}"])
    return f"base:{tiny_base}"


@pytest.fixture
def library(isolated_home, base, adapters):  # noqa: F811
    """Two adapters of the owner of this machine."""
    for number, folder in enumerate(adapters):
        shutil.copytree(folder, adapters_folder() / f"adapter-{number}")
    return [f"adapter:adapter-{number}" for number in range(len(adapters))]


@pytest.fixture
def client_of(server):
    """`client_of(owner)`: OpenAI's client with a new key of theirs, which asks once and not again."""
    clients = []

    def made(owner: str = LOCAL_OWNER, key: str | None = None) -> openai.OpenAI:
        key = new_key(owner) if key is None else key
        clients.append(openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=60))
        return clients[-1]

    yield made
    for client in clients:
        client.close()


@pytest.fixture
def client(client_of):
    return client_of()
