"""The time limit, and a stop in the middle of an evaluation: the run ends soon, and keeps what it learned."""

import signal
import time
from contextlib import suppress

import pytest

from common.paths import adapters_folder
from runs.checkpoints import last_checkpoint
from runs.config import TrainConfig
from runs.launcher import create_run
from runs.run import read_state
from tests.running import events, losses, run_main, write_rows
from trainer import progress, samples
from trainer import train as process
from trainer.progress import ProgressCallback
from trainer.stop_watch import StopRequested, StopWatch
from trainer.studio_trainer import StudioTrainer


def test_the_time_limit_stops_a_run_and_keeps_what_it_learned(settings, monkeypatch):
    """The limit is in minutes; the callback's clock is moved on instead of waiting for one."""
    run = create_run(TrainConfig(name="late", **{**settings, "max_minutes": 1}))
    began = ProgressCallback.on_step_begin

    def an_hour_ago(self, *arguments, **more):
        began(self, *arguments, **more)
        let_an_hour_pass(self)

    monkeypatch.setattr(ProgressCallback, "on_step_begin", an_hour_ago)
    assert run_main(run) == 0
    (stopped,) = events(run, "stopped")
    assert "max_minutes" in stopped["message"] and "step 1 of 30" in stopped["message"]
    assert (adapters_folder() / stopped["adapter"] / "adapter_model.safetensors").exists()
    assert last_checkpoint(run.checkpoints_folder).name == "checkpoint-1"


@pytest.fixture
def during_a_look(monkeypatch):
    """during_a_look(n, work): `work(progress)` at the n-th batch of held-out rows; the list of all batches."""
    batches, orders = [], {}
    predict = StudioTrainer.prediction_step

    def counted(self, *arguments, **more):
        batches.append(self.state.global_step)
        orders.get(len(batches), lambda progress: None)(self.progress)
        return predict(self, *arguments, **more)

    monkeypatch.setattr(StudioTrainer, "prediction_step", counted)

    def order(number: int, work) -> list:
        orders[number] = work
        return batches

    return order


def let_an_hour_pass(progress) -> None:
    progress.watch.began -= 3600


def ask_to_stop(progress) -> None:
    progress.watch.run.request_stop()


@pytest.fixture
def long_looks(settings, tmp_path) -> dict:
    """Twenty batches of held-out rows at every look, and no others."""
    rows = [{"prompt": f"What is {n}?", "completion": f"{n}."} for n in range(100, 120)]
    held_out = write_rows(tmp_path / "held_out.jsonl", rows)
    looks = {"eval_data": held_out, "test_sets": "", "eval_steps": 2, "per_device_train_batch_size": 1}
    return {**settings, **looks, "max_steps": 6}


@pytest.mark.parametrize(("batch", "step", "batches"), [(3, 1, [0] * 3 + [1] * 20), (23, 2, [0] * 20 + [2] * 23)])
@pytest.mark.parametrize(("work", "words"), [(ask_to_stop, "Stopped"), (let_an_hour_pass, "max_minutes")])
def test_a_stop_or_the_time_limit_ends_a_look_and_keeps_the_adapter(
    long_looks, during_a_look, monkeypatch, work, words, batch, step, batches
):
    """The first look, or a later one. The last look is short here and may take its time."""
    monkeypatch.setattr(progress, "STOPPED_SECONDS", 60.0)
    run = create_run(TrainConfig(name="looks", max_minutes=30, **long_looks))
    looked_at = during_a_look(batch, work)
    assert run_main(run) == 0
    (stopped,) = events(run, "stopped")
    assert words in stopped["message"] and f"step {step} of 6" in stopped["message"]
    assert looked_at == batches
    assert (stopped["metrics"]["loss_before"] is None) == (step == 1) and stopped["metrics"]["loss_after"] > 0
    assert (adapters_folder() / stopped["adapter"] / "adapter_model.safetensors").exists()
    assert last_checkpoint(run.checkpoints_folder).name == f"checkpoint-{step}"
    run.stop_file.unlink(missing_ok=True)
    assert run_main(run) == 0 and len(losses(run)) == 6
    (done,) = events(run, "done")
    assert done["metrics"]["loss_before"] > 0 and done["metrics"]["samples_before"], "a resume still sees the base"


def test_the_last_look_of_a_stopped_run_has_its_end(long_looks, during_a_look, monkeypatch):
    monkeypatch.setattr(progress, "STOPPED_SECONDS", 0.0)
    run = create_run(TrainConfig(name="looks", **long_looks))
    batches = during_a_look(23, ask_to_stop)
    assert run_main(run) == 0
    (stopped,) = events(run, "stopped")
    assert len(batches) == 23 and stopped["metrics"]["loss_after"] is None and stopped["metrics"]["loss_before"] > 0
    assert (adapters_folder() / stopped["adapter"] / "adapter_model.safetensors").exists()


def test_a_stop_while_the_model_answers_ends_the_answers_and_the_run(long_looks, monkeypatch):
    run = create_run(TrainConfig(name="answers", **long_looks))
    answer = samples.answer

    def asked(*arguments):
        if len(events(run, "samples")) == 1:
            run.request_stop()
        return answer(*arguments)

    monkeypatch.setattr(samples, "answer", asked)
    assert run_main(run) == 0
    (stopped,) = events(run, "stopped")
    assert stopped["metrics"]["step"] == 2 and stopped["metrics"]["loss_after"] > 0, "the step that was just evaluated"
    assert read_state(run).step == 2 and read_state(run).activity == ""


@pytest.mark.parametrize("swallows", [False, True])
def test_a_stop_while_a_base_loads_is_heard_at_once_also_where_a_library_catches_everything(run, swallows):
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    watch = StopWatch(run)
    watch.listen_while_loading()
    began = time.monotonic()
    try:
        with pytest.raises(StopRequested, match="before the first step"):
            run.request_stop()
            if swallows:
                with suppress(BaseException):
                    time.sleep(30)
            time.sleep(30)
        assert time.monotonic() - began < 10 and not (watch.is_training or watch.is_over)
    finally:
        watch.is_over = True
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_a_short_run_says_on_how_many_rows_it_evaluates_and_what_came_out(settings, tmp_path):
    pairs = [{"prompt": f"What is {n}?", "completion": f"It is {n}."} for n in range(80)]
    short = {**settings, "data": write_rows(tmp_path / "many.jsonl", pairs), "eval_fraction": 0.5, "max_steps": 2}
    run = create_run(TrainConfig(name="short", **{**short, "eval_steps": 0}))
    assert run_main(run) == 0
    state = read_state(run)
    assert "This run is short: each evaluation uses the same 16 of the 40 held-out examples." in state.notes
    metrics = state.metrics
    assert (
        metrics["held_out_rows"] == 16 and metrics["held_out_total"] == 40 and (state.step, state.total_steps) == (2, 2)
    )
    sizes = [file.stat().st_size for file in (adapters_folder() / state.adapter).glob("*.safetensors")]
    assert 0 <= sizes[0] - metrics["adapter_bytes"] < 20_000 and metrics["base_bytes"] > 0
    assert 0 < metrics["trainable_parameters"] < metrics["total_parameters"]
    assert 0 < metrics["train_seconds"] < metrics["total_seconds"]


def test_the_minutes_count_from_the_start_of_the_process(settings, monkeypatch):
    run = create_run(TrainConfig(name="late", max_minutes=1, **settings))
    watches, watch_of, fetch = [], process.StopWatch, process.fetch_base

    def slow_fetch(*arguments):
        watches[0].began -= 3600
        return fetch(*arguments)

    monkeypatch.setattr(process, "StopWatch", lambda run: watches.append(watch_of(run)) or watches[0])
    monkeypatch.setattr(process, "fetch_base", slow_fetch)
    assert run_main(run) == 0
    (stopped,) = events(run, "stopped")
    assert "was over before the first step" in stopped["message"]
