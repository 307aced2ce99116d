"""A queue whose trainings only sleep."""

import pytest

from common.paths import runs_folder
from runs import launcher, queue
from runs.run import Run
from tests.queueing import end, fake_command


@pytest.fixture
def trainer(monkeypatch):
    """Every run is trained by a process that sleeps; what is left of them is ended afterwards."""
    monkeypatch.setattr(launcher, "command", fake_command(60))
    yield
    for folder in queue._training_processes():
        end(Run(runs_folder().parent / folder))
