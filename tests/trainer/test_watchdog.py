"""A loss that is no number, or exactly 0, ends a run within 20 steps, and the last good checkpoint stays."""

import pytest
import torch
from safetensors.torch import load_file

from common.paths import adapters_folder
from runs.checkpoints import last_checkpoint
from runs.config import TrainConfig
from runs.launcher import create_run
from tests.running import events, run_main, small_settings
from trainer import recipe
from trainer.studio_trainer import StudioTrainer


@pytest.fixture
def settings(tiny_base, tmp_path) -> dict:
    numbers = {"max_steps": 60, "save_steps": 1, "logging_steps": 50, "eval_fraction": 0.0, "warmup_fraction": 0.0}
    return small_settings(tiny_base, tmp_path, rows=12, **numbers)


def spoil(monkeypatch, step: int, change) -> None:
    """From `step` on, `change(loss)` takes the place of the loss."""
    compute = StudioTrainer.compute_loss

    def spoiled(self, *arguments, **more):
        loss = compute(self, *arguments, **more)
        return change(loss) if self.state.global_step + 1 >= step else loss

    monkeypatch.setattr(StudioTrainer, "compute_loss", spoiled)


def the_failure(run) -> dict:
    assert run_main(run) == 1
    (failed,) = events(run, "failed")
    assert not adapters_folder().exists() or not list(adapters_folder().iterdir()), "nothing is published"
    return failed


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda loss: loss * 0.0, "loss_zero", "exactly 0"),
        (lambda loss: loss * torch.nan, "loss_nan", "loss is not a number"),
        (lambda loss: loss * torch.inf, "loss_nan", "loss is not a number"),
        (lambda loss: loss + ((loss - loss.detach()) * 1e38) * 1e38, "loss_nan", "not a number"),
    ],
    ids=["zero", "nan", "infinite", "gradients-overflow"],
)
def test_a_spoiled_loss_ends_the_run_within_20_steps(settings, monkeypatch, change, code, words):
    """With a point of the curve every 50 steps: the watch does not depend on what is logged."""
    spoil(monkeypatch, 6, change)
    run = create_run(TrainConfig(name="spoiled", **settings))
    failed = the_failure(run)
    assert failed["code"] == code and words in failed["message"] and " is kept." in failed["hint"]
    assert failed["cure"]["changes"] == {"learning_rate": 5e-5, "max_grad_norm": 1.0}
    kept = last_checkpoint(run.checkpoints_folder)
    assert 5 <= int(kept.name.split("-")[1]) < 26
    assert all(weight.isfinite().all() for weight in load_file(kept / "adapter_model.safetensors").values())


def test_a_learning_rate_that_explodes_ends_the_run_and_keeps_the_last_good_checkpoint(settings, monkeypatch):
    """No clipping, the highest rate that is allowed, and a scale that makes every update enormous."""
    change = {"max_grad_norm": 0.0, "lora_r": 1, "lora_alpha": 1024, "lr_scheduler_type": "constant"}
    arguments = recipe.training_arguments

    def exploding(*given, **more):
        made = arguments(*given, **more)
        made.learning_rate = 1e30
        return made

    monkeypatch.setattr(recipe, "training_arguments", exploding)
    run = create_run(TrainConfig(name="exploding", learning_rate=0.1, **settings, **change))
    failed = the_failure(run)
    assert failed["code"] == "loss_nan" and failed["cure"]["changes"]["learning_rate"] == 0.01
    first = int(failed["message"].split("from step ")[1].split()[0])
    assert first + 3 <= 20
