"""Two real processes over gloo: one is killed, stands still, or is asked to stop; the run ends with its reason, or goes on."""

import signal
import time

import psutil
import pytest

from common.files import read_json, read_json_lines
from common.paths import adapters_folder
from runs.checkpoints import last_checkpoint
from runs.config import TrainConfig
from runs.launcher import create_run, start
from runs.machines.parallel import with_processes
from runs.run import Run, read_state
from tests.running import events, losses, run_main, small_settings, write_rows

pytestmark = pytest.mark.usefixtures("warm_starts")
SECONDS = 180


@pytest.fixture(scope="module")
def settings(tiny_base, tmp_path_factory) -> dict:
    # 20 rows to train on: whole batches, for one process as for two (accelerate repeats rows to fill the last ones);
    # 5 held out, which are no whole batches
    numbers = {"eval_fraction": 0.2, "max_steps": 24, "eval_steps": 100, "max_length": 128, "lora_dropout": 0.0}
    shared = {"num_processes": 2, "per_device_train_batch_size": 2, "ddp_timeout": 60, "sample_prompts": "Hello"}
    return small_settings(tiny_base, tmp_path_factory.mktemp("rows"), rows=25, **numbers, **shared)


@pytest.fixture(scope="module")
def undisturbed(settings, tmp_path_factory) -> Run:
    """One process that gathers as many rows a step as two have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIO_HOME", str(tmp_path_factory.mktemp("undisturbed")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        run = create_run(TrainConfig(**{**settings, "num_processes": 1, "gradient_accumulation_steps": 2}))
        assert run_main(run) == 0
    return run


def wait(run: Run, until) -> None:
    deadline = time.monotonic() + SECONDS
    while not until():
        assert time.monotonic() < deadline, f"waited for {SECONDS} s\n{run.log_tail()}"
        time.sleep(0.02)


def wait_for_steps(run: Run, steps: int) -> None:
    wait(run, lambda: len(losses(run)) >= steps or not read_state(run).is_running)
    assert read_state(run).is_running, run.log_tail()


def wait_for_end(run: Run):
    """The last state, once every process of the run is gone."""
    wait(run, lambda: not run.is_alive() and not workers(run))
    return read_state(run)


def workers(run: Run) -> dict[int, psutil.Process]:
    """Rank to process of the two training processes, the launcher left out."""
    first = read_json(run.process_file, {}).get("trainer", {}).get("pid")
    found = [one for one in psutil.process_iter(["cmdline"]) if str(run.folder) in (one.info["cmdline"] or [])]
    found = [one for one in found if "accelerate.commands.launch" not in one.info["cmdline"]]
    return {int(process.pid != first): process for process in found}


def test_a_worker_that_is_killed_is_restarted_and_the_losses_are_those_of_an_undisturbed_run(settings, undisturbed):
    killed = create_run(TrainConfig(name="killed", max_restarts=2, **settings))
    start(killed)
    wait_for_steps(killed, 6)
    workers(killed)[1].kill()
    state = wait_for_end(killed)
    assert state.status == "done", killed.log_tail()
    assert [step for step, _ in state.losses] == list(range(1, 25))
    assert [loss for _, loss in state.losses] == pytest.approx(losses(undisturbed), rel=1e-4)
    looks = [[event["loss"] for event in events(run, "eval")] for run in (undisturbed, killed)]
    assert looks[0] == pytest.approx(looks[1], rel=1e-4) and len(looks[0]) == 2, "no held-out row counts twice"
    restarts = [note for note in state.notes if "Restarted" in note]
    assert len(restarts) == 1 and "Restarted after a process died (1 of 2)" in restarts[0]
    assert [event["step"] for event in events(killed, "resumed")] == [4]
    assert not events(killed, "failed") and (adapters_folder() / "killed" / "adapter_model.safetensors").exists()


def test_a_run_goes_on_with_swapped_random_states_and_with_fewer_processes_as_if_nothing_had_happened(
    settings, undisturbed
):
    """After a restart ranks may have changed places, and a resume may find another number of processes."""
    run = create_run(TrainConfig(name="moved", **settings))
    for steps in (3, 9):
        start(run)
        wait_for_steps(run, steps)
        run.request_stop()
        assert wait_for_end(run).status == "stopped", run.log_tail()
        states = [last_checkpoint(run.checkpoints_folder) / f"rng_state_{rank}.pth" for rank in (0, 1)]
        first, second = (file.read_bytes() for file in states)
        assert first != second, "each process has noise of its own"
        states[0].write_bytes(second)
        states[1].write_bytes(first)
    run.stop_file.unlink()
    run.config_file.write_text(with_processes(run.config(), 1).to_yaml())
    assert run_main(run) == 0 and run.config().gradient_accumulation_steps == 2
    state = read_state(run)
    assert state.status == "done" and [step for step, _ in state.losses] == list(range(1, 25))
    assert [loss for _, loss in state.losses] == pytest.approx(losses(undisturbed), rel=1e-4)


def test_a_process_that_is_killed_fails_or_stands_still_ends_the_run_with_its_reason_in_bounded_time(settings):
    run = create_run(TrainConfig(name="lost", **{**settings, "ddp_timeout": 8, "max_steps": 400, "save_steps": 3}))
    start(run)
    wait_for_steps(run, 4)
    workers(run)[1].kill()
    state = wait_for_end(run)
    assert (state.status, state.code) == ("failed", "process_lost"), run.log_tail()

    random_state = last_checkpoint(run.checkpoints_folder) / "rng_state_1.pth"  # only process 1 reads it
    whole = random_state.read_bytes()
    random_state.write_bytes(b"damaged")
    start(run)
    state = wait_for_end(run)
    assert state.status == "failed" and state.message.startswith("Process 1: "), run.log_tail()
    assert state.code not in ("process_lost", "process_silent"), "its own reason, not that process 0 lost it"

    random_state.write_bytes(whole)
    start(run)
    wait_for_steps(run, len(losses(run)) + 3)
    standing_still = workers(run)[1]
    standing_still.send_signal(signal.SIGSTOP)
    wait(run, lambda: read_state(run).status == "failed")
    standing_still.kill()  # torch would, half a minute later
    state = wait_for_end(run)
    assert state.code == "process_silent" and "Process 1 does not move" in state.message, run.log_tail()


def test_a_stop_during_the_look_at_the_held_out_rows_reaches_both_processes(settings, tmp_path):
    rows = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(600)]
    held_out = write_rows(tmp_path / "held-out.jsonl", rows)
    look = {"eval_data": held_out, "eval_steps": 3, "per_device_train_batch_size": 1}
    run = create_run(TrainConfig(name="stopped", **{**settings, **look}))
    start(run)
    wait(run, lambda: kinds(run).count("evaluating") == 2)
    run.request_stop()
    state = wait_for_end(run)
    assert state.status == "stopped" and state.step == 3 and state.adapter, run.log_tail()
    assert last_checkpoint(run.checkpoints_folder).name == "checkpoint-3"
    after = kinds(run)[[n for n, kind in enumerate(kinds(run)) if kind == "evaluating"][1] :]
    assert "eval" not in after[: after.index("saving")], "the look that was stopped has no loss"


def kinds(run: Run) -> list[str]:
    return [event["event"] for event in read_json_lines(run.events_file)]
