"""Weights of the base itself are trained: exactly those that the method names, to a whole model that can be used like a base."""

from dataclasses import replace

import pytest

from common.paths import adapters_folder
from evaluation import process
from evaluation.config import EvaluationConfig
from evaluation.run import Evaluation, read_progress
from evaluation.table import read_table
from models.base import check_folder
from models.family import shape_of
from models.hardware import find_hardware
from models.precision import load_base_model
from runs import disk
from runs.checkpoints import whole_steps
from runs.config import TrainConfig
from runs.launcher import create_run
from runs.run import Run, model_words, read_state
from tests.running import die_after, events, losses, run_main, small_settings, write_rows
from trainer import gradient_checkpointing, train

METHODS = {"full": {"method": "full"}, "last-n": {"method": "last-n", "last_layers": 1}}


@pytest.fixture
def settings(tiny_base, tmp_path) -> dict:
    numbers = {"max_steps": 4, "save_steps": 2, "eval_steps": 2, "max_length": 128, "learning_rate": 1e-3}
    return small_settings(tiny_base, tmp_path, rows=12, **numbers, sample_prompts="Hi")


def weights_of(run: Run) -> bytes:
    return (run.model_folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("method", METHODS)
def test_a_whole_model_comes_out_in_which_exactly_the_weights_of_the_method_have_moved(settings, tiny_base, method):
    before = (tiny_base / "model.safetensors").read_bytes()
    run = create_run(TrainConfig(name="whole", **settings, **METHODS[method]))
    assert run_main(run) == 0, run.log_tail()
    base, model = (dict(load_base_model(folder, "fp32").named_parameters()) for folder in (tiny_base, run.model_folder))
    moved = {name for name, weight in model.items() if (weight != base[name]).any()}
    assert moved == (set(base) if method == "full" else {name for name in base if ".layers.1." in name})
    assert (tiny_base / "model.safetensors").read_bytes() == before, "the base's own file is not written to"
    (done,) = events(run, "done")
    metrics, shape = done["metrics"], shape_of(tiny_base)
    trained = shape.parameters if method == "full" else shape.layer_parameters
    assert (metrics["trainable_parameters"], metrics["total_parameters"]) == (trained, shape.parameters)
    assert metrics["loss_after"] < metrics["loss_before"] == events(run, "eval")[0]["loss"]
    assert metrics["forgotten"]["general"]["after"] != metrics["forgotten"]["general"]["before"], "step 0 is the base's"
    assert done["adapter"] == "" and "adapter_bytes" not in metrics and not list(adapters_folder().glob("*"))
    assert [event["step"] for event in events(run, "checkpoint")] == [2, 4] and not run.checkpoints_folder.exists()
    check_folder(run.model_folder)
    names = {file.name for file in run.model_folder.iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pth", ".pkl"))]
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        text = (run.model_folder / name).read_text()
        assert str(tiny_base) not in text and "studio_rows" not in text and str(run.folder) not in text
    assert str(run.model_folder) in model_words(run, read_state(run))


@pytest.mark.parametrize("method", METHODS)
def test_a_kill_and_a_stop_change_nothing_and_only_the_newest_checkpoint_is_kept(settings, monkeypatch, method):
    settings |= {**METHODS[method], "max_steps": 6}
    straight = create_run(TrainConfig(name="straight", **settings))
    assert run_main(straight) == 0
    run = create_run(TrainConfig(name="torn", **settings))
    die_after(2, monkeypatch)
    with pytest.raises(SystemExit):
        run_main(run)
    assert not run.model_folder.exists() and whole_steps(run.checkpoints_folder) == [2]
    assert run_main(run, stop_at=4) == 0
    (stopped,) = events(run, "stopped")
    assert stopped["metrics"]["step"] == 4 and stopped["adapter"] == "" and run.model_folder.is_dir()
    assert whole_steps(run.checkpoints_folder) == [4], "a checkpoint is three times the model"
    run.stop_file.unlink()
    assert run_main(run) == 0
    assert losses(run) == losses(straight) and weights_of(run) == weights_of(straight)
    assert [path.name for path in run.folder.glob("model*")] == ["model"]


def test_the_best_step_becomes_the_model(settings, tmp_path):
    rows = [{"prompt": f"Why {n}?", "completion": "fish horse tree seven"} for n in range(8)]
    settings |= {"eval_data": write_rows(tmp_path / "held_out.jsonl", rows), "keep": "best", "max_steps": 6}
    settings |= {"learning_rate": 0.05, "lr_scheduler_type": "constant"}  # far too high: it gets worse and worse
    run = create_run(TrainConfig(name="best", method="full", **settings))
    assert run_main(run) == 0
    (done,) = events(run, "done")
    kept = done["metrics"]["kept_step"]
    assert 0 < kept < 6
    short = create_run(TrainConfig(name="short", method="full", **{**settings, "keep": "last"}))
    assert run_main(short, stop_at=kept) == 0
    assert weights_of(run) == weights_of(short)


def test_a_kill_between_the_stages_keeps_what_the_text_taught(settings, tmp_path, monkeypatch):
    texts = [{"text": f"Once there was number {n}. " * 14} for n in range(12)]
    shared = {**settings, "text_data": write_rows(tmp_path / "text.jsonl", texts), "method": "full"}
    straight = create_run(TrainConfig(name="straight", **shared))
    assert run_main(straight) == 0
    run = create_run(TrainConfig(name="torn", **shared))

    def die(trainer, stage, sizes, work) -> None:
        monkeypatch.undo()
        raise SystemExit

    real = train._train_stage
    monkeypatch.setattr(train, "_train_stage", lambda *given: (real if given[1].number == 1 else die)(*given))
    with pytest.raises(SystemExit):
        run_main(run)
    assert run_main(run) == 0
    assert losses(run) == losses(straight) and weights_of(run) == weights_of(straight)


def test_weights_that_have_no_room_on_the_disk_are_refused_in_words_before_they_are_loaded(settings, monkeypatch):
    run = create_run(TrainConfig(name="large", method="full", **settings))
    monkeypatch.setattr(disk, "_free_bytes", lambda: disk.DISK_NEEDED_BYTES + 1_000_000)
    assert run_main(run) == 1
    assert "MB of disk space are free" in events(run, "failed")[0]["message"] and not run.checkpoints_folder.exists()


def test_weights_that_do_not_fit_into_memory_are_refused_in_words(settings, monkeypatch):
    small = replace(find_hardware(), available_bytes=0)
    monkeypatch.setattr(gradient_checkpointing, "_hardware", lambda stage: small)
    run = create_run(TrainConfig(name="large", method="full", **settings))
    assert run_main(run) == 1
    (failed,) = events(run, "failed")
    assert "0.0 GB are free" in failed["message"] and failed["cure"]["changes"] == {"method": "lora"}
    assert "LoRA adapter instead" in str(failed["cure"]["label"]) and not run.model_folder.exists()


def test_such_a_model_is_evaluated_as_the_base_that_it_is(settings):
    run = create_run(TrainConfig(name="whole", method="full", **settings))
    assert run_main(run) == 0
    run.process_file.unlink()  # this very process, which lives on: the evaluation would wait for its end
    config = EvaluationConfig("whole", ["base"], ["run:whole"], ["loss"], base=str(run.model_folder))
    evaluation = Evaluation(run.folder / "evaluations" / "local" / "whole")
    evaluation.folder.mkdir(parents=True)
    evaluation.config_file.write_text(config.to_yaml())
    assert process.main(["--evaluation", str(evaluation.folder)]) == 0, read_progress(evaluation).message
    (line,) = read_table(evaluation)
    assert line.estimate.value == pytest.approx(read_state(run).metrics["loss_after"], rel=1e-4)
