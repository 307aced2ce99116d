"""One run in two stages, killed with SIGKILL at many moments: by the clock, and at a touch of a file of its checkpoints."""

import random
import signal
import subprocess
import sys
import time

import pytest

from common.files import read_json_lines
from models.hub.errors import child_environment
from runs.checkpoints import last_checkpoint, step_of
from runs.config import TrainConfig
from runs.launcher import create_run
from runs.run import Run
from tests.conftest import REPOSITORY
from tests.running import write_rows

pytestmark = pytest.mark.usefixtures("warm_starts")
KILLS, FEW_KILLS = 20, 6
SAVE_STEPS = 2


def live(run: Run, kill_at: int = 0, steps: int | None = None, delay: float = 0.0) -> int:
    """One life of `run`; returns its exit code. It is killed at a touch of a file, or `delay` after `steps` steps."""
    command = [sys.executable, "-m", "tests.trainer.dying", str(kill_at), "--run", str(run.folder)]
    variables = {**child_environment(), "OMP_NUM_THREADS": "1"}
    with open(run.log_file, "ab") as log:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=variables, stdout=log, stderr=log)
    if steps is not None:
        wanted = count(run, "step") + steps
        deadline = time.monotonic() + 120
        while count(run, "step") < wanted and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(delay)
        process.kill()
    return process.wait()


def count(run: Run, kind: str) -> int:
    return sum(event["event"] == kind for event in read_json_lines(run.events_file))


def points(run: Run) -> dict[tuple[int, str, int], float]:
    """{(stage, 'step' or 'eval', step): loss}: of steps that were trained again the last."""
    found, stage = {}, 1
    for event in read_json_lines(run.events_file):
        stage = event.get("stage", stage)
        if event["event"] in ("step", "eval"):
            found[stage, event["event"], event["step"]] = event["loss"]
    return found


@pytest.fixture
def settings(tiny_base, tmp_path) -> dict:
    pairs = [{"prompt": f"What is {n}?", "completion": f"It is {n}. " * (1 + n % 3)} for n in range(12)]
    texts = [{"text": f"Once there was number {n}. " * 4} for n in range(12)]
    data = {
        name: write_rows(tmp_path / f"{name}.jsonl", rows) for name, rows in (("data", pairs), ("text_data", texts))
    }
    numbers = {"max_steps": 24, "text_epochs": 2.0, "per_device_train_batch_size": 3, "save_steps": SAVE_STEPS}
    return {"base": str(tiny_base), "eval_steps": 10, "max_length": 128, "sample_prompts": "Hello", **data, **numbers}


def resumed_at(run: Run) -> tuple[int, int]:
    """(stage, step) at which the last life went on; the first step of stage 1 without a checkpoint."""
    events = [event for event in read_json_lines(run.events_file) if event["event"] in ("resumed", "stage")]
    return (events[-1]["stage"], events[-1].get("step", 0)) if events else (1, 0)


def last_of(run: Run, kind: str) -> tuple[int, int]:
    """(stage, step) of the last event of this kind."""
    found, stage = (1, 0), 1
    for event in read_json_lines(run.events_file):
        stage = event.get("stage", stage)
        found = (stage, event["step"]) if event["event"] == kind else found
    return found


def checkpoint_of(run: Run) -> tuple[int, int]:
    """(stage, step) of the newest whole checkpoint on the disk."""
    for stage, folder in ((2, run.checkpoints_folder), (1, run.checkpoints_folder / "text")):
        if checkpoint := last_checkpoint(folder):
            return stage, step_of(checkpoint)
    return 1, 0


def test_a_run_killed_at_many_moments_ends_with_the_losses_of_one_that_was_not(settings, capsys, sample):
    straight = create_run(TrainConfig(name="straight", **settings))
    assert live(straight) == 0, straight.log_tail()
    killed = create_run(TrainConfig(name="killed", **settings))
    moments, kills, lost, in_writes = random.Random(7), sample(KILLS, FEW_KILLS), [], 0
    for life in range(kills):
        if life % 2:
            code = live(killed, kill_at=moments.randint(1, 70))
        else:
            code = live(killed, steps=moments.randint(0, 3), delay=moments.random() * 0.05)
        assert code == -signal.SIGKILL, f"life {life} ended with {code}\n{killed.log_tail()}"
        # `writing` itself stays, empty, after a checkpoint was published: only a checkpoint in it is half-written
        in_writes += any(killed.checkpoints_folder.rglob("writing/checkpoint-*"))
        promised, trained, kept = last_of(killed, "checkpoint"), last_of(killed, "step"), checkpoint_of(killed)
        assert kept >= promised, "a checkpoint that was announced is gone"
        if kept[0] == trained[0]:
            lost.append(trained[1] - kept[1])
            assert lost[-1] <= SAVE_STEPS
    assert live(killed) == 0, killed.log_tail()
    assert points(killed) == points(straight)
    assert {stage for stage, kind, step in points(straight)} == {1, 2} and len(points(straight)) > 30
    assert not list(killed.checkpoints_folder.rglob("writing/checkpoint-*"))
    assert in_writes, "no kill fell into the writing of a checkpoint: choose other moments"
    with capsys.disabled():
        print(f"\n{kills} kills survived, {in_writes} left a half-written checkpoint; steps lost {lost}")


def test_a_kill_between_the_stages_keeps_what_the_text_taught(settings):
    """The first touch of stage 2's own checkpoints comes after stage 1's last: the adapter is in stage 1's checkpoint only."""
    short = {**settings, "max_steps": 4, "text_epochs": 1.0}
    straight = create_run(TrainConfig(name="straight", **short))
    assert live(straight) == 0, straight.log_tail()
    killed = create_run(TrainConfig(name="killed", **short))
    text_steps = max(step for stage, kind, step in points(straight) if stage == 1)
    assert live(killed, steps=text_steps + 1) == -signal.SIGKILL
    assert not last_checkpoint(killed.checkpoints_folder) and last_checkpoint(killed.checkpoints_folder / "text")
    assert live(killed) == 0, killed.log_tail()
    assert resumed_at(killed)[0] == 2 and points(killed) == points(straight)
