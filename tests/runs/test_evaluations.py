"""Which evaluation is the best, when the patience is over, and the checkpoint that is never removed."""

import json
import math

import pytest

from common.files import write_json
from runs.checkpoints import clean, publish_checkpoint, whole_steps, writing_folder
from runs.config import TrainConfig
from runs.evaluations import (
    STATE,
    best_beside,
    best_step,
    evaluations_in,
    evaluations_of,
    is_patience_over,
)
from runs.fields import label_of


@pytest.mark.parametrize(
    ("losses", "best", "over_after"),
    [
        ([], None, 0),
        ([2.0, 1.5, 1.2], 30, 0),
        ([2.0, 1.5, 1.6, 1.7], 20, 2),
        ([1.5, 1.5, 1.5], 10, 2),
        ([1.0, 1.2, 1.1, 1.3], 10, 3),
    ],
    ids=["none", "falling", "rising", "equal", "noisy"],
)
def test_the_best_is_the_first_of_the_lowest_and_patience_counts_the_evaluations_after_it(losses, best, over_after):
    evaluations = {10 * number: loss for number, loss in enumerate(losses, 1)}
    assert best_step(evaluations) == best
    assert [patience for patience in range(6) if is_patience_over(evaluations, patience)] == [*range(1, over_after + 1)]


@pytest.mark.parametrize("odd", [None, "x", {}, [1, None, {"step": "3", "eval_loss": 1.0}, {"step": 3}]])
def test_a_log_is_read_without_step_0_and_without_what_is_no_number(odd, tmp_path):
    log = [{"step": 0, "eval_loss": 0.1}, {"step": 1, "loss": 3.0}, {"step": 2, "eval_loss": 1.5}]
    assert evaluations_in([*log, {"step": 4, "eval_loss": math.nan}]) == {2: 1.5} and evaluations_in(odd) == {}
    (tmp_path / STATE).write_text(json.dumps({"log_history": odd}))
    assert evaluations_of(tmp_path) == {} and evaluations_of(tmp_path / "nothing") == {}


def test_the_best_checkpoint_is_never_removed_and_gives_way_to_a_better_one(tmp_path):
    log: list = []
    kept = []
    for step, loss in enumerate([3.0, 2.0, 2.5, 2.6, 2.7, 1.9, 2.0, 2.1, 2.2], 1):
        log.append({"step": step, "eval_loss": loss})
        checkpoint = writing_folder(tmp_path) / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        write_json(checkpoint / STATE, {"log_history": log})
        publish_checkpoint(tmp_path, step, best_step(evaluations_in(log)))
        clean(tmp_path)
        kept.append(whole_steps(tmp_path))
    assert kept == [[1], [1, 2], [2, 3], [2, 3, 4], [2, 4, 5], [5, 6], [6, 7], [6, 7, 8], [6, 8, 9]]
    assert best_beside(tmp_path / "checkpoint-9") == tmp_path / "checkpoint-6"
    assert best_beside(tmp_path / "checkpoint-6") is None, "it is the best itself"


@pytest.mark.parametrize("settings", [{"keep": "best"}, {"early_stopping_patience": 2}])
def test_without_held_out_rows_the_best_cannot_be_known(settings):
    def problems(**more):
        return [str(problem) for problem in TrainConfig(**{"data": "mine.jsonl", **settings, **more}).problems()]

    words = "This needs held-out examples: choose some, or set the held-out fraction above 0."
    assert problems(eval_fraction=0.0) == [f"{label_of(next(iter(settings)))}: {words}"]
    assert problems() == problems(eval_fraction=0.0, eval_data="theirs.jsonl") == []
    assert problems(eval_fraction=0.0, data="example") == [], "the example has held-out rows of its own"
