"""The loopback Hub for jobs, a machine on which they run, and a small run to submit."""

import json
import sys
import time

import pytest

from jobs import follow
from jobs.follow import MARK
from jobs.hf import submit
from jobs.prices import plan
from models.hub.client import account_of
from runs.config import TrainConfig
from tests.adapters.conftest import hub  # noqa: F401  (the fixture)
from tests.fakes import conversation
from tests.running import write_rows


def wait_for(condition, what: str, seconds: float = 240) -> None:
    """Wait until `condition()` is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


def write_commands(folder, **scripts: str) -> None:
    """Write each script as a command of its name into `folder`."""
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)


@pytest.fixture
def alice(hub, monkeypatch):  # noqa: F811
    """Alice's account; her jobs are looked at without waiting."""
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.2)
    return account_of(hub.alice)


@pytest.fixture
def machine(hub, tmp_path):  # noqa: F811
    """Lets jobs run: their Python is this one, and everything that they would install is there already."""
    folder = tmp_path / "machine"
    folder.mkdir()
    write_commands(folder, uv="exit 0", python=f'exec {sys.executable} "$@"')
    hub.jobs.bin = folder
    return folder


@pytest.fixture
def config(tmp_path, hub):  # noqa: F811
    """A few rows and a base that the loopback Hub has, at a commit that no cache knows."""
    rows = [{"messages": conversation(words=number % 3 + 2)} for number in range(12)]
    values = {"base": "tests/tiny-base", "data": write_rows(tmp_path / "rows.jsonl", rows), "max_length": 64}
    values |= {"per_device_train_batch_size": 2, "eval_fraction": 0.0, "lora_r": 4, "sample_prompts": "Hi"}
    revision = hub.commit("tests/tiny-base")
    return TrainConfig.from_dict({**values, "max_steps": 4, "save_steps": 2, "name": "far", "base_revision": revision})


def event(number: int, kind: str, **values) -> str:
    """A line of a job's log that is an event."""
    return json.dumps({MARK: {"n": number, "event": {"time": 1.0 + number, "event": kind, **values}}})


@pytest.fixture
def agreed(alice):
    return plan("a10g-largex2", 60, 5.0, alice.token)


@pytest.fixture
def run(alice, agreed, config):
    return submit(config, agreed, alice)
