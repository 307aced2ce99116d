"""Text first, then conversations, on one adapter; and an adapter that is continued."""

import json
import shutil
from pathlib import Path

import pytest

from common.errors import UserError
from common.paths import adapters_folder, home
from models.base import Base
from runs.config import TrainConfig
from runs.launcher import create_run
from tests.running import events, losses, run_main, small_settings, write_rows
from trainer.init_adapter import check_init_adapter

NUMBERS = {"max_steps": 4, "save_steps": 2, "max_length": 128, "lora_r": 4, "lora_alpha": 8}


@pytest.fixture
def settings(tiny_base, tmp_path) -> dict:
    return small_settings(tiny_base, tmp_path, rows=12, **NUMBERS)


@pytest.fixture(scope="module")
def trained_once(tiny_base, tmp_path_factory) -> Path:
    """The folder of an adapter that has learned for a step."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIO_HOME", str(folder / "home"))
        home().mkdir()
        values = {**small_settings(tiny_base, folder, rows=12, **NUMBERS), "max_steps": 1, "eval_fraction": 0.0}
        assert run_main(create_run(TrainConfig(name="first", **values))) == 0
        return adapters_folder() / "first"


@pytest.fixture
def text(tmp_path) -> str:
    """Laid end to end about eleven rows of 128 tokens: three steps an epoch."""
    return write_rows(tmp_path / "text.jsonl", [{"text": f"Once there was number {n}. " * 14} for n in range(12)])


def test_stage_1_trains_the_text_and_stage_2_goes_on_with_the_same_adapter(settings, text):
    run = create_run(TrainConfig(name="both", text_data=text, text_epochs=2.0, **settings))
    assert run_main(run) == 0
    assert [(e["stage"], e["stages"], e["name"]) for e in events(run, "stage")] == [
        (1, 2, "text"),
        (2, 2, "conversations"),
    ]
    steps = [event["step"] for event in events(run, "step")]
    assert steps == [1, 2, 3, 4, 5, 6, 1, 2, 3, 4], "text_epochs counts for the text, max_steps for the conversations"
    assert (run.checkpoints_folder / "text" / "checkpoint-6").is_dir()
    alone = create_run(TrainConfig(name="alone", **settings))
    assert run_main(alone) == 0
    assert losses(run)[-4:] != losses(alone), "stage 2 starts from what the text taught"
    (done,) = events(run, "done")
    assert done["metrics"]["stage"] == 2 and done["metrics"]["loss_before"] != done["metrics"]["loss_after"]


def test_a_stop_in_stage_1_keeps_what_was_learned_and_resumes_to_the_same_losses(settings, text):
    shared = {**settings, "text_data": text, "text_epochs": 2.0}
    straight = create_run(TrainConfig(name="straight", **shared))
    assert run_main(straight) == 0
    run = create_run(TrainConfig(name="stopped", **shared))
    assert run_main(run, stop_at=3) == 0
    assert events(run, "stopped")[0]["metrics"]["stage"] == 1
    assert (adapters_folder() / "stopped" / "adapter_model.safetensors").exists()
    run.stop_file.unlink()
    assert run_main(run) == 0
    assert {"step": 3, "stage": 1}.items() <= events(run, "resumed")[0].items()
    assert losses(run) == losses(straight)


def continued(settings: dict, source: str, name: str, **change) -> object:
    """A run that starts from the adapter `source`, put where the launcher puts it."""
    run = create_run(TrainConfig(name=name, init_adapter=source, **{**settings, **change}))
    shutil.rmtree(run.folder / "init_adapter", ignore_errors=True)
    shutil.copytree(adapters_folder() / source, run.folder / "init_adapter")
    return run


@pytest.mark.parametrize("precision", ["fp32", "8bit"])
def test_a_run_that_continues_an_adapter_starts_where_it_ended(settings, precision):
    settings = {**settings, "precision": precision, "learning_rate": 5e-3}
    first = create_run(TrainConfig(name="first", **settings))
    assert run_main(first) == 0
    run = continued(settings, "first", "second", lora_r=64, target_modules="mlp")
    assert run_main(run) == 0
    before, after = events(run, "eval")[0]["loss"], events(first, "eval")[-1]["loss"]
    assert before == after, "not a bit of it is lost, although TRL rounds a quantised base's adapters to bf16"
    config = json.loads((adapters_folder() / "second" / "adapter_config.json").read_text())
    assert config["r"] == 4 and any(name.endswith("q_proj") for name in config["target_modules"]), (
        "they are the adapter's"
    )


def test_an_adapter_of_the_last_layers_is_continued_in_them(settings):
    settings = {**settings, "max_steps": 2, "learning_rate": 5e-3}
    first = create_run(TrainConfig(name="first", last_layers=1, **settings))
    assert run_main(first) == 0
    run = continued(settings, "first", "second")
    assert run_main(run) == 0
    assert events(run, "eval")[0]["loss"] == events(first, "eval")[-1]["loss"]
    assert json.loads((adapters_folder() / "second" / "adapter_config.json").read_text())["layers_to_transform"] == [1]


def test_more_last_layers_than_the_base_has_are_refused_in_words(settings):
    run = create_run(TrainConfig(name="many", last_layers=3, **settings))
    assert run_main(run) == 1
    assert "last_layers is 3; this base has 2 layers" in events(run, "failed")[0]["message"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: shutil.rmtree(folder), "is not there"),
        (lambda folder: (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin"), "no safetensors"),
        (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"nonsense"), "cannot be read"),
        (lambda folder: change_config(folder, r=8), "does not fit"),
        (lambda folder: change_config(folder, target_modules=["q_proj"]), "other layers"),
        (lambda folder: change_config(folder, target_modules=["nothing"]), "does not fit"),
        (lambda folder: change_config(folder, peft_type="IA3"), "not a LoRA"),
    ],
    ids=["gone", "pickle", "damaged", "rank", "modules", "unknown-modules", "kind"],
)
def test_an_adapter_that_does_not_fit_is_refused_in_words(settings, trained_once, spoil, words):
    shutil.copytree(trained_once, adapters_folder() / "first")
    run = continued(settings, "first", "second")
    spoil(run.folder / "init_adapter")
    assert run_main(run) == 1
    (failed,) = events(run, "failed")
    assert words in failed["message"] and failed["code"] == "settings"


def test_an_adapter_of_another_base_is_refused(tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "somebody/else"}')
    (tmp_path / "adapter_model.safetensors").touch()
    with pytest.raises(UserError, match="was trained on somebody/else"):
        check_init_adapter(tmp_path, "theirs", Base("cache", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", None, ""))
    check_init_adapter(tmp_path, "theirs", Base("folder", "/some/folder", None, ""))


@pytest.mark.parametrize("values", [{"modules_to_save": ["lm_head"]}, {"trainable_token_indices": [7]}])
def test_an_adapter_with_embeddings_of_its_own_is_not_trained_further(tmp_path, values):
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", **values}))
    (tmp_path / "adapter_model.safetensors").touch()
    with pytest.raises(UserError, match=r"embeddings of its own.*train on the merged model"):
        check_init_adapter(tmp_path, "theirs", Base("folder", "/some/folder", None, ""))


def change_config(folder, **values) -> None:
    file = folder / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
