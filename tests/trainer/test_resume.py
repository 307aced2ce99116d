"""Stopped, killed, resumed, out of disk: what a run has learned is not lost, and its losses are those of one left alone."""

import os
import shutil
import signal
import subprocess
import time

import psutil
import pytest

from common.files import read_json, read_json_lines
from common.paths import adapters_folder, home
from runs.checkpoints import last_checkpoint
from runs.config import TrainConfig
from runs.launcher import create_run, start
from runs.run import Run, RunState, read_state
from tests.running import events, run_main, small_settings, wait
from trainer.studio_trainer import StudioTrainer


def losses(run: Run) -> dict[int, float]:
    return dict(read_state(run).losses)


@pytest.fixture(scope="module")
def straight(tiny_base, tmp_path_factory, popen) -> RunState:
    """The last state of a run that nobody disturbed, through the real launcher."""
    folder = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIO_HOME", str(folder / "home"))
        patch.setattr(subprocess, "Popen", popen)
        home().mkdir()
        run = create_run(TrainConfig(name="straight", **small_settings(tiny_base, folder)))
        start(run)
        state = wait(run)
        assert state.status == "done"
        return state


def test_a_run_that_was_stopped_and_resumed_has_the_losses_of_one_that_was_not(settings, straight, warm_starts):
    stopped = create_run(TrainConfig(name="stopped", **settings))
    start(stopped)
    wait(stopped, lambda state: state.step >= 3)
    stopped.request_stop()
    state = wait(stopped)
    assert state.status == "stopped" and 3 <= state.step < 30
    assert (adapters_folder() / "stopped" / "adapter_model.safetensors").exists(), "a stop keeps what was learned"

    start(stopped)
    wait(stopped, lambda now: now.step > state.step + 2)
    trainer = read_json(stopped.process_file)["trainer"]["pid"]
    os.kill(trainer, signal.SIGTERM)  # the second interruption, from outside
    assert wait(stopped).status == "stopped"
    psutil.wait_procs([process for process in psutil.process_iter() if process.pid == trainer], timeout=20)
    assert not psutil.pid_exists(trainer)

    start(stopped)
    assert wait(stopped).status == "done"
    assert losses(stopped) == dict(straight.losses) and len(straight.losses) == 30
    evaluations = dict(read_state(stopped).eval_losses)  # a stop adds an evaluation of its own
    assert all(evaluations[step] == loss for step, loss in straight.eval_losses)


def test_a_killed_run_is_interrupted_and_resumes_with_the_same_losses(settings, straight, warm_starts):
    """SIGKILL to everything, as when the machine goes down; the same seed also makes two runs equal."""
    killed = create_run(TrainConfig(name="killed", **settings))
    start(killed)
    wait(killed, lambda state: state.step >= 6)
    for process in read_json(killed.process_file).values():
        os.kill(process["pid"], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while read_state(killed).is_running and time.monotonic() < deadline:
        time.sleep(0.1)
    assert read_state(killed).status == "interrupted" and last_checkpoint(killed.checkpoints_folder)

    start(killed)
    assert wait(killed).status == "done"
    assert any(event["event"] == "resumed" for event in read_json_lines(killed.events_file))
    assert losses(killed) == dict(straight.losses)


def test_a_checkpoint_that_was_not_wholly_written_is_not_resumed_from(tmp_path):
    run = Run(tmp_path / "run")
    for step, is_complete in ((4, True), (12, True), (8, True), (16, False)):
        folder = run.checkpoints_folder / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        if is_complete:
            (folder / "complete").touch()
    assert last_checkpoint(run.checkpoints_folder).name == "checkpoint-12"


def test_a_run_that_died_after_its_last_checkpoint_trains_no_step_more(settings):
    """In the middle of an epoch, where the trainer of transformers would go on with it."""
    run = create_run(TrainConfig(name="late", **{**settings, "max_steps": 4}))
    assert run_main(run) == 0
    assert run_main(run) == 0
    assert [event["step"] for event in events(run, "step")] == [1, 2, 3, 4]
    first, second = events(run, "done")
    for name in ("step", "total_steps", "loss_before", "loss_after", "samples_before", "samples_after"):
        assert first["metrics"][name] == second["metrics"][name]


def test_a_resume_leaves_another_adapter_of_its_name_alone(settings):
    run = create_run(TrainConfig(name="mine", **{**settings, "max_steps": 2}))
    assert run_main(run) == 0
    pulled = adapters_folder() / "mine"
    shutil.rmtree(pulled)
    pulled.mkdir()
    (pulled / "adapter_model.safetensors").write_text("somebody else's")
    assert run_main(run) == 0 and run_main(run) == 0
    assert (pulled / "adapter_model.safetensors").read_text() == "somebody else's"
    assert [event["adapter"] for event in events(run, "done")] == ["mine", "mine-2", "mine-2"]
    assert sorted(path.name for path in adapters_folder().iterdir()) == ["mine", "mine-2"]


def test_a_full_disk_fails_the_run_and_keeps_the_checkpoint_before(settings, monkeypatch):
    """The second checkpoint goes to /dev/full: torch's own error for a full disk."""
    save = StudioTrainer._save_optimizer_and_scheduler

    def save_to_a_full_disk(self, folder):
        if self.state.global_step > 4:
            os.symlink("/dev/full", os.path.join(folder, "optimizer.pt"))
        save(self, folder)

    monkeypatch.setattr(StudioTrainer, "_save_optimizer_and_scheduler", save_to_a_full_disk)
    run = create_run(TrainConfig(name="full", **settings))
    assert run_main(run) == 1
    (failed,) = events(run, "failed")
    assert (failed["code"], failed["message"]) == ("disk_full", "The disk is full.")
    assert failed["hint"] == "Free some space, then resume. The checkpoint of step 4 is kept."
    assert last_checkpoint(run.checkpoints_folder).name == "checkpoint-4"
    assert [path.name for path in run.checkpoints_folder.iterdir()] == ["checkpoint-4"]
