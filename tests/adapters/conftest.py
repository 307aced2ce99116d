"""An adapter to work with, and a Hub on loopback for the real client in this process."""

import shutil

import pytest

from tests.adapters.making import make_adapter
from tests.adapters.runs import make_run
from tests.hub_server import HubServer, point_client_at


@pytest.fixture(scope="session")
def made(tiny_base, tmp_path_factory):
    """A whole adapter of the two-layer base that names an id no Hub has."""
    return make_adapter(tmp_path_factory.mktemp("made") / "made", tiny_base, base="tests/tiny-base")


@pytest.fixture
def hub(monkeypatch, tiny_base):
    """A Hub with alice and bob and a public base; the client of this process talks to it and to nothing else."""
    with HubServer({"tests/tiny-base": tiny_base}) as server:
        point_client_at(server, monkeypatch)
        server.alice, server.bob = server.add_user("alice"), server.add_user("bob")
        yield server


@pytest.fixture
def copy(made, tmp_path):
    """A copy of a good adapter that a test may spoil."""
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def run(made):
    """A run as it lies on the disk after checkpoint 2: real weights, real torch files, its data."""
    return make_run(made, "mine")
