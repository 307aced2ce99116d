"""The training process for real: `accelerate launch` on a two-layer model, stopped, killed, resumed, failing."""

import json
import os
import signal
import time

import psutil
import pytest

from common.files import read_json, read_json_lines
from common.paths import adapters_folder
from trainer.config import TrainConfig
from trainer.launcher import create_run, start
from trainer.progress import last_checkpoint
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
    assert read_state(killed).status == "interrupted" and last_checkpoint(killed)

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
    assert last_checkpoint(run).endswith("checkpoint-12")


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


def test_two_processes_train_one_adapter(settings):
    """Two real gloo processes; the events come from one of them."""
    run = create_run(TrainConfig(name="two", num_processes=2, **{**settings, "max_steps": 3}))
    start(run)
    state = wait(run)
    assert state.status == "done" and state.metrics["num_processes"] == 2
    assert [step for step, _ in state.losses] == [1, 2, 3]


@pytest.mark.parametrize(
    ("change", "content", "words"),
    [
        ({}, '{"prompt": "Q"}\n', "row 1: no known shape"),
        ({"max_length": 16}, None, "No row is left to train on"),
        ({"max_length": 4096}, None, "256 positions"),
        ({"data": "nobody/nothing"}, None, "neither a file here nor a data set"),
    ],
)
def test_a_failed_training_says_why_and_exits_non_zero(settings, data, change, content, words):
    """In this process: main() is what the launcher starts, and its result is the exit code."""
    if content:
        data.write_text(content)
    run = create_run(TrainConfig(name="failing", **{**settings, **change}))
    assert run_main(run) == 1
    state = read_state(run)
    assert state.status == "failed" and words in f"{state.message} {state.hint}"
    assert not list(adapters_folder().glob("*"))


def test_a_base_that_is_gone_says_so_through_the_real_launcher(settings, tiny_base):
    run = create_run(TrainConfig(name="gone", **settings))
    text = run.config_file.read_text().replace(str(tiny_base), str(tiny_base) + "-gone")
    run.config_file.write_text(text)
    start(run)
    state = wait(run)
    assert state.status == "failed" and "neither a folder here" in state.message


def run_main(run: Run) -> int:
    """`trainer.train` as the launcher calls it, less the launcher."""
    import sys

    from trainer.train import main

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    arguments = sys.argv
    sys.argv = ["train", "--run", str(run.folder)]
    try:
        return main()
    finally:
        sys.argv = arguments
        for number, handler in handlers.items():
            signal.signal(number, handler)


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
