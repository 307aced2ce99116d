"""The training process for real: `accelerate launch` on a two-layer model, stopped, killed, resumed, failing."""

import json
import os
import shutil
import signal
import time

import psutil
import pytest

from common.files import read_json, read_json_lines
from common.paths import adapters_folder
from tests.trainer.running import events, run_main, write_rows
from tests.trainer.running import losses as losses_of
from trainer.config import TrainConfig
from trainer.launcher import create_run, start
from trainer.process.checkpoints import last_checkpoint
from trainer.run import Run, read_state

SECONDS = 180


def wait(run: Run, until=lambda state: not state.is_running):
    """The state of `run` once `until` holds."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        state = read_state(run)
        if until(state):
            return state
        assert state.is_running, f"{state.status}: {state.message}\n{run.log_tail()}"
        time.sleep(0.1)
    raise AssertionError(f"still {state.status} after {SECONDS} s\n{run.log_tail()}")


@pytest.fixture
def data(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"What is {n}?", "completion": f"It is {n}. " * (1 + n % 5)} for n in range(24)]
    file.write_text("\n".join(json.dumps(row) for row in rows))
    return file


@pytest.fixture
def settings(tiny_base, data) -> dict:
    numbers = {"max_steps": 30, "save_steps": 4, "eval_steps": 10, "max_length": 256}
    return {"base": str(tiny_base), "data": str(data), **numbers}


def losses(run: Run) -> dict[int, float]:
    return dict(read_state(run).losses)


def test_a_run_that_was_stopped_and_resumed_has_the_losses_of_one_that_was_not(settings):
    straight = create_run(TrainConfig(name="straight", **settings))
    start(straight)
    assert wait(straight).status == "done"

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
    assert losses(stopped) == losses(straight) and len(losses(straight)) == 30
    looks = dict(read_state(stopped).eval_losses)  # a stop adds a look of its own
    assert all(looks[step] == loss for step, loss in read_state(straight).eval_losses)


def test_a_killed_run_is_interrupted_and_resumes_with_the_same_losses(settings):
    """SIGKILL to everything, as when the machine goes down; the same seed also makes two runs equal."""
    straight = create_run(TrainConfig(name="straight", **settings))
    start(straight)
    assert wait(straight).status == "done"

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
    assert losses(killed) == losses(straight)


def test_a_checkpoint_that_was_not_wholly_written_is_not_resumed_from(tmp_path):
    run = Run(tmp_path / "run")
    for step, is_complete in ((4, True), (12, True), (8, True), (16, False)):
        folder = run.checkpoints_folder / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        if is_complete:
            (folder / "complete").touch()
    assert last_checkpoint(run.checkpoints_folder).name == "checkpoint-12"


def test_the_adapter_folder_is_complete_and_says_nothing_of_this_machine(settings, tiny_base, tmp_path):
    run = create_run(TrainConfig(name="whole", **{**settings, "max_steps": 2}))
    start(run)
    assert wait(run).status == "done", run.log_tail()
    folder = adapters_folder() / "whole"
    names = {path.name for path in folder.iterdir()}
    wanted = {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert names >= wanted | {"chat_template.jinja", "training_config.yaml", "metrics.json"}
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    assert "{% generation %}" not in (folder / "chat_template.jinja").read_text()
    metrics = read_json(folder / "metrics.json")
    assert metrics["loss_before"] > 0 and metrics["loss_after"] > 0 and metrics["tokens_per_second"] > 0
    assert not adapters_folder().joinpath("whole.partial").exists()

    from peft import AutoPeftModelForCausalLM

    assert AutoPeftModelForCausalLM.from_pretrained(folder).active_adapter == "default"


def test_two_processes_train_one_adapter(settings, tmp_path):
    """Two real gloo processes, in two stages; the losses are those of one process with twice the batch."""
    text = write_rows(tmp_path / "text.jsonl", [{"text": f"Number {n} is a number."} for n in range(10)])
    shared = {
        **settings,
        "max_steps": 3,
        "text_data": text,
        "eval_fraction": 0.2,
        "lora_dropout": 0.0,
        "learning_rate": 5e-3,
    }
    two = create_run(TrainConfig(name="two", num_processes=2, per_device_train_batch_size=2, **shared))
    start(two)
    state = wait(two)
    assert state.status == "done" and state.metrics["num_processes"] == 2
    one = create_run(TrainConfig(name="one", per_device_train_batch_size=4, **shared))
    assert run_main(one) == 0
    assert losses_of(two) == pytest.approx(losses_of(one), rel=1e-4)
    assert [event["step"] for event in events(two, "samples")] == [event["step"] for event in events(one, "samples")]


@pytest.mark.parametrize(
    ("change", "content", "words", "code"),
    [
        ({}, '{"prompt": "Q"}\n', "row 1: no known shape", "data_format"),
        ({"max_length": 16}, None, "No row is left to train on", "data_format"),
        ({"max_length": 4096}, None, "256 positions", "settings"),
        ({"use_dora": True, "precision": "8bit"}, None, "needs a GPU", "settings"),
        ({"data": "nobody/nothing"}, None, "neither a file here nor a data set", "data_format"),
    ],
)
def test_a_failed_training_says_why_and_exits_non_zero(settings, data, change, content, words, code):
    """In this process: main() is what the launcher starts, and its result is the exit code."""
    if content:
        data.write_text(content)
    run = create_run(TrainConfig(name="failing", **{**settings, **change}))
    assert run_main(run) == 1
    state = read_state(run)
    assert state.status == "failed" and words in f"{state.message} {state.hint}"
    assert events(run, "failed")[0]["code"] == code
    assert not list(adapters_folder().glob("*"))


def test_a_watcher_sees_every_state_and_the_first_and_last_answers(settings):
    run = create_run(TrainConfig(name="states", **{**settings, "max_steps": 4}))
    assert run_main(run) == 0
    states = [event["event"] for event in read_json_lines(run.events_file)]
    assert {"preparing", "training", "evaluating", "saving", "checkpoint", "done"} <= set(states)
    checkpoint = states.index("checkpoint")
    assert states[checkpoint - 1] == "saving" and states[checkpoint + 1] == "training"
    assert [event["step"] for event in events(run, "samples")] == [0, 4]
    metrics = read_json(adapters_folder() / "states" / "metrics.json")
    for name, event in zip(("samples_before", "samples_after"), events(run, "samples"), strict=True):
        assert metrics[name] == event["answers"] and len(metrics[name]) == 2, "two rows are held out"
    assert metrics["samples_before"][0]["prompt"].startswith("What is") and metrics["versions"]["trl"]


def test_the_time_limit_stops_a_run_and_keeps_what_it_learned(settings):
    """The limit is in minutes; the callback's clock is moved on instead of waiting for one."""
    from trainer.progress import ProgressCallback

    run = create_run(TrainConfig(name="late", **{**settings, "max_minutes": 1}))
    began = ProgressCallback.on_step_begin

    def an_hour_ago(self, *arguments, **more):
        began(self, *arguments, **more)
        self.watch.began -= 3600

    ProgressCallback.on_step_begin = an_hour_ago
    try:
        assert run_main(run) == 0
    finally:
        ProgressCallback.on_step_begin = began
    (stopped,) = events(run, "stopped")
    assert "max_minutes" in stopped["message"] and "step 1 of 30" in stopped["message"]
    assert (adapters_folder() / stopped["adapter"] / "adapter_model.safetensors").exists()
    assert last_checkpoint(run.checkpoints_folder).name == "checkpoint-1"


@pytest.fixture
def during_a_look(monkeypatch):
    """during_a_look(n, work): `work(progress)` at the n-th batch of held-out rows; the list of all batches."""
    from trainer.process.studio_trainer import StudioTrainer

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
    """Twenty batches of held-out rows at every look."""
    rows = [{"prompt": f"What is {n}?", "completion": f"{n}."} for n in range(100, 120)]
    held_out = write_rows(tmp_path / "held_out.jsonl", rows)
    return {**settings, "eval_data": held_out, "max_steps": 6, "eval_steps": 2, "per_device_train_batch_size": 1}


@pytest.mark.parametrize(("work", "words"), [(ask_to_stop, "Stopped"), (let_an_hour_pass, "max_minutes")])
def test_a_stop_or_the_time_limit_ends_the_first_look_and_keeps_step_1(long_looks, during_a_look, work, words):
    run = create_run(TrainConfig(name="looks", max_minutes=30, **long_looks))
    batches = during_a_look(3, work)
    assert run_main(run) == 0
    (stopped,) = events(run, "stopped")
    assert words in stopped["message"] and "step 1 of 6" in stopped["message"]
    assert batches == [0] * 3 + [1] * 20, "the last look is short here: it has its minute"
    assert stopped["metrics"]["loss_before"] is None and stopped["metrics"]["loss_after"] > 0
    run.stop_file.unlink(missing_ok=True)
    assert run_main(run) == 0, "and a resume still sees what the base was like"
    (done,) = events(run, "done")
    assert done["metrics"]["loss_before"] > 0 and done["metrics"]["samples_before"]


@pytest.mark.parametrize(("work", "words"), [(ask_to_stop, "Stopped"), (let_an_hour_pass, "max_minutes")])
def test_a_stop_or_the_time_limit_ends_a_later_look_and_keeps_the_adapter(long_looks, during_a_look, work, words):
    run = create_run(TrainConfig(name="looks", max_minutes=30, **long_looks))
    batches = during_a_look(23, work)
    assert run_main(run) == 0
    (stopped,) = events(run, "stopped")
    assert words in stopped["message"] and "step 2 of 6" in stopped["message"]
    assert len(batches) == 20 + 3 + 20, "the last look is short here: it has its minute"
    assert stopped["metrics"]["loss_after"] > 0
    assert (adapters_folder() / stopped["adapter"] / "adapter_model.safetensors").exists()
    assert last_checkpoint(run.checkpoints_folder).name == "checkpoint-2"
    run.stop_file.unlink(missing_ok=True)
    assert run_main(run) == 0 and len(losses_of(run)) == 6 and events(run, "done")


def test_the_last_look_of_a_stopped_run_has_its_end(long_looks, during_a_look, monkeypatch):
    from trainer import progress

    monkeypatch.setattr(progress, "LAST_LOOK_SECONDS", 0.0)
    run = create_run(TrainConfig(name="looks", **long_looks))
    batches = during_a_look(23, ask_to_stop)
    assert run_main(run) == 0
    (stopped,) = events(run, "stopped")
    assert len(batches) == 24 and stopped["metrics"]["loss_after"] is None and stopped["metrics"]["loss_before"] > 0
    assert (adapters_folder() / stopped["adapter"] / "adapter_model.safetensors").exists()


def test_the_minutes_count_from_the_start_of_the_process(settings, monkeypatch):
    from trainer import train as process

    run = create_run(TrainConfig(name="late", max_minutes=1, **settings))
    watches, watch_of, fetch = [], process.StopWatch, process.fetch_base

    def slow_fetch(*arguments):
        watches[0].began -= 3600
        return fetch(*arguments)

    monkeypatch.setattr(process, "StopWatch", lambda run: watches.append(watch_of(run)) or watches[0])
    monkeypatch.setattr(process, "fetch_base", slow_fetch)
    assert run_main(run) == 0
    (stopped,) = events(run, "stopped")
    assert "minutes of max_minutes were over before the first step" in stopped["message"]


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


@pytest.mark.parametrize("change", [{"eval_fraction": 0.0}, {"eval_fraction": 0.0, "sample_prompts": "Hello?"}])
def test_one_row_and_nothing_held_out_is_enough(settings, data, change):
    data.write_text('{"prompt": "Q", "completion": "A"}\n')
    run = create_run(TrainConfig(name="one", **{**settings, "max_steps": 2, **change}))
    assert run_main(run) == 0
    (done,) = events(run, "done")
    assert done["metrics"]["loss_before"] is None and done["metrics"]["rows"] == 1
    assert (
        bool(done["metrics"]["samples_before"])
        == bool(done["metrics"]["samples_after"])
        == ("sample_prompts" in change)
    )


def test_a_full_disk_fails_the_run_and_keeps_the_checkpoint_before(settings, monkeypatch):
    """The second checkpoint goes to /dev/full: torch's own error for a full disk."""
    from trainer.process.studio_trainer import StudioTrainer

    save = StudioTrainer._save_optimizer_and_scheduler

    def save_to_a_full_disk(self, folder):
        if self.state.global_step > 4:
            os.symlink("/dev/full", os.path.join(folder, "optimizer.pt"))
        save(self, folder)

    monkeypatch.setattr(StudioTrainer, "_save_optimizer_and_scheduler", save_to_a_full_disk)
    run = create_run(TrainConfig(name="full", **settings))
    assert run_main(run) == 1
    (failed,) = events(run, "failed")
    assert failed["code"] == "disk_full" and "resume" in failed["hint"]
    assert last_checkpoint(run.checkpoints_folder).name == "checkpoint-4"
    assert [path.name for path in run.checkpoints_folder.iterdir()] == ["checkpoint-4"]


def test_a_base_that_is_gone_says_so_through_the_real_launcher(settings, tiny_base):
    run = create_run(TrainConfig(name="gone", **settings))
    text = run.config_file.read_text().replace(str(tiny_base), str(tiny_base) + "-gone")
    run.config_file.write_text(text)
    start(run)
    state = wait(run)
    assert state.status == "failed" and "neither a folder here" in state.message


@pytest.mark.slow
def test_the_embedded_model_learns_through_the_real_launcher_and_loads_under_its_hub_id(embedded_base, tmp_path):
    import subprocess
    import sys

    rows = [{"prompt": f"Say {word}", "completion": f"Aye, {word}!"} for word in ("one", "two", "six", "ten")]
    (tmp_path / "aye.jsonl").write_text("\n".join(json.dumps(row) for row in rows * 3))
    run = create_run(
        TrainConfig(
            name="aye",
            base="embedded",
            data=str(tmp_path / "aye.jsonl"),
            max_steps=5,
            learning_rate=1e-3,
            eval_fraction=0,
        )
    )
    start(run)
    state = wait(run)
    assert state.status == "done" and state.losses[-1][1] < 0.8 * state.losses[0][1]
    folder = adapters_folder() / "aye"
    config = read_json(folder / "adapter_config.json")
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    code = f"from peft import AutoPeftModelForCausalLM as A; print(A.from_pretrained({str(folder)!r}).active_adapter)"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(embedded_base.parents[2])}
    loaded = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "default"
