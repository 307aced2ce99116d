"""The training process for real: `accelerate launch` on a two-layer model; what comes out, and what is said when it fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.history import read_history
from adapters.library import find_adapter
from common.files import read_json, read_json_lines
from common.paths import adapters_folder, home
from runs.config import TrainConfig
from runs.launcher import create_run, start
from runs.run import Run, read_state
from tests.running import events, losses, run_main, small_settings, wait, write_rows


@pytest.fixture(scope="module")
def finished_once(tiny_base, tmp_path_factory) -> tuple[Run, Path]:
    """(a run of four steps that is done, its STUDIO_HOME)."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIO_HOME", str(folder / "home"))
        home().mkdir()
        settings = {**small_settings(tiny_base, folder), "max_steps": 4}
        rows = read_json_lines(Path(settings["data"]))
        write_rows(Path(settings["data"]), [*({**row, "made": {"teacher": "qwen"}} for row in rows[:12]), *rows[12:]])
        run = create_run(TrainConfig(name="whole", **settings))
        assert run_main(run) == 0
        return run, home()


@pytest.fixture
def finished(finished_once, monkeypatch) -> Run:
    """The same run for each test that only reads it."""
    run, where = finished_once
    monkeypatch.setenv("STUDIO_HOME", str(where))
    return run


def test_the_adapter_folder_is_complete_and_says_nothing_of_this_machine(finished):
    folder = adapters_folder() / "whole"
    names = {path.name for path in folder.iterdir()}
    wanted = {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert names >= wanted | {"chat_template.jinja", "training_config.yaml", "metrics.json"}
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    assert "{% generation %}" not in (folder / "chat_template.jinja").read_text()
    metrics = read_json(folder / "metrics.json")
    assert metrics["loss_before"] > 0 and metrics["loss_after"] > 0 and metrics["tokens_per_second"] > 0
    (made,) = metrics["made"]
    assert made["teacher"] == "qwen" and 0 < made["rows"] <= 12
    labels = {one.name: one.label for one in find_adapter("whole").told_settings()}
    assert labels["lora_r"] == "LoRA rank (r)" and "max_steps" in labels and not {"data", "base"} & set(labels)
    assert not adapters_folder().joinpath("whole.partial").exists()

    from peft import AutoPeftModelForCausalLM

    assert AutoPeftModelForCausalLM.from_pretrained(folder).active_adapter == "default"


def test_two_processes_train_one_adapter(settings, tmp_path, warm_starts):
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
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    assert [event["step"] for event in events(two, "samples")] == [event["step"] for event in events(one, "samples")]
    tested, alone = (
        [(step, losses["general"]["loss"]) for step, losses in found.curve("tested")]
        for found in (state, read_state(one))
    )
    assert tested == [(step, pytest.approx(loss, rel=1e-4)) for step, loss in alone]
    assert [step for step, _loss in alone] == [0, 1, 4], "before, after the one step of the text, and at the end"


@pytest.mark.parametrize(
    ("change", "content", "words", "code"),
    [
        ({}, '{"prompt": "Q"}\n', "Row 1: None of the known shapes", "data_format"),
        ({"max_length": 16}, None, "No rows are left to train on", "data_format"),
        ({"max_length": 4096}, None, "256 positions", "settings"),
        ({"use_dora": True, "precision": "8bit"}, None, "needs a GPU", "settings"),
        ({"data": "nobody/nothing"}, None, "is not a file here", "data_format"),
    ],
)
def test_a_failed_training_says_why_and_exits_non_zero(settings, change, content, words, code):
    """In this process: main() is what the launcher starts, and its result is the exit code."""
    if content:
        Path(settings["data"]).write_text(content)
    run = create_run(TrainConfig(name="failing", **{**settings, **change}))
    assert run_main(run) == 1
    state = read_state(run)
    assert state.status == "failed" and words in f"{state.message} {state.hint}"
    assert events(run, "failed")[0]["code"] == code
    assert not list(adapters_folder().glob("*"))


def test_a_watcher_sees_every_state_and_the_first_and_last_answers(finished):
    states = [event["event"] for event in read_json_lines(finished.events_file)]
    assert {"preparing", "training", "evaluating", "saving", "checkpoint", "done"} <= set(states)
    checkpoint = states.index("checkpoint")
    assert states[checkpoint - 1] == "saving" and states[checkpoint + 1] == "training"
    assert [event["step"] for event in events(finished, "samples")] == [0, 4]
    metrics = read_json(adapters_folder() / "whole" / "metrics.json")
    for name, event in zip(("samples_before", "samples_after"), events(finished, "samples"), strict=True):
        assert metrics[name] == event["answers"] and len(metrics[name]) == 2, "two rows are held out"
    assert metrics["samples_before"][0]["prompt"].startswith("What is") and metrics["versions"]["trl"]
    kept, state = read_history(find_adapter("whole")), read_state(finished)
    assert (kept.losses, kept.eval_losses) == (state.losses, state.eval_losses) and len(kept.losses) == 4
    for shown, name in ((kept.answers_before, "samples_before"), (kept.answers_after, "samples_after")):
        assert shown == metrics[name]


@pytest.mark.parametrize("change", [{"eval_fraction": 0.0}, {"eval_fraction": 0.0, "sample_prompts": "Hello?"}])
def test_one_row_and_nothing_held_out_is_enough(settings, change):
    Path(settings["data"]).write_text('{"prompt": "Q", "completion": "A"}\n')
    run = create_run(TrainConfig(name="one", **{**settings, "max_steps": 2, **change}))
    assert run_main(run) == 0
    (done,) = events(run, "done")
    assert done["metrics"]["loss_before"] is None and done["metrics"]["rows"] == 1
    assert (
        bool(done["metrics"]["samples_before"])
        == bool(done["metrics"]["samples_after"])
        == ("sample_prompts" in change)
    )


def test_a_base_that_is_gone_says_so_through_the_real_launcher(settings, tiny_base):
    run = create_run(TrainConfig(name="gone", **settings))
    text = run.config_file.read_text().replace(str(tiny_base), str(tiny_base) + "-gone")
    run.config_file.write_text(text)
    start(run)
    state = wait(run)
    assert state.status == "failed" and "neither a folder on this machine" in state.message


@pytest.mark.slow
def test_the_embedded_model_learns_through_the_real_launcher_and_loads_under_its_hub_id(embedded_base, tmp_path):
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
            test_sets="",
            per_device_train_batch_size=2,
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
