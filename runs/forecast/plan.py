"""How many steps a config makes of so many rows: the rounding of transformers' Trainer, checked against it by a test."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict, cast

from common.language import Sentence, _, n_
from data.report import Histogram
from runs.config import TrainConfig

FORWARD_SHARE = 1 / 3  # of the work of training on a token: evaluating it
MAX_EVALUATION_SHARE = 0.09  # of the time of a short training: its evaluations
MIN_EVALUATED_ROWS = 16
# of each test set, at every evaluation; and of the time of a short training, all of them at all evaluations
MAX_TEST_TOKENS, MIN_TEST_TOKENS, MAX_TEST_SHARE = 4000, 500, 0.04


class TextFacts(TypedDict):
    """Stage 1: its rows of `max_length` tokens, and the tokens of all its text."""

    train_rows: int
    tokens: int


class DataFacts(TypedDict):
    """What a forecast needs to know: one pass over the rows to train on, and the lengths of all rows in tokens."""

    train_rows: int
    tokens: int
    trained_tokens: int
    longest: int
    mean_length: float
    held_out_rows: NotRequired[int]
    lengths: NotRequired[Histogram]
    text: NotRequired[TextFacts | None]


def facts_in(report: Mapping[str, Any]) -> DataFacts:
    """Take from the report of a check what a forecast needs."""
    return cast("DataFacts", {name: report[name] for name in DataFacts.__annotations__})


@dataclass(frozen=True)
class Plan:
    """The steps that the Trainer will make. `effective_batch` is rows per optimizer step, over all devices."""

    effective_batch: int
    steps_per_epoch: int
    total_steps: int
    warmup_steps: int
    checkpoints: int
    evaluations: int

    def sentence(self) -> Sentence:
        """Return '110 steps (2 epochs of 55) with 6 warm-up steps and 3 evaluations'."""
        epochs, rest = divmod(self.total_steps, self.steps_per_epoch)
        steps = n_("{count:,} step", "{count:,} steps", self.total_steps)
        passes = n_("{count:,} epoch of {steps:,}", "{count:,} epochs of {steps:,}", epochs, steps=self.steps_per_epoch)
        if rest:
            part = self.total_steps / self.steps_per_epoch
            passes = _("{part:.1f} epochs of {steps:,}", part=part, steps=self.steps_per_epoch)
        warmup = n_("{count:,} warm-up step", "{count:,} warm-up steps", self.warmup_steps)
        if not self.evaluations:
            return _("{steps} ({epochs}) with {warmup}", steps=steps, epochs=passes, warmup=warmup)
        evaluations = n_("{count:,} evaluation", "{count:,} evaluations", self.evaluations)
        words = {"steps": steps, "epochs": passes, "warmup": warmup, "evaluations": evaluations}
        return _("{steps} ({epochs}) with {warmup} and {evaluations}", **words)


def plan_steps(config: TrainConfig, train_rows: int, has_held_out: bool = True) -> Plan:
    """Count the steps for `train_rows` encoded rows (packed ones when packing: `packed_rows`).

    Source: transformers 5.23 Trainer.set_initial_training_values (steps), TrainingArguments.get_warmup_steps, and
    DefaultFlowCallback (evaluations and checkpoints, both also at the end).
    """
    rows_a_process = math.ceil(train_rows / config.num_processes)  # accelerate gives every process as many batches
    batches = math.ceil(rows_a_process / config.per_device_train_batch_size)
    accumulation = config.gradient_accumulation_steps
    steps_per_epoch = max(1, math.ceil(batches / accumulation))
    total = config.max_steps or math.ceil(config.num_train_epochs * steps_per_epoch)
    return Plan(
        effective_batch=config.per_device_train_batch_size * accumulation * config.num_processes,
        steps_per_epoch=steps_per_epoch,
        total_steps=total,
        warmup_steps=math.ceil(total * config.warmup_fraction),
        checkpoints=math.ceil(total / config.save_steps),
        # one before the first step, then every `eval_steps` and at the end, or once an epoch (a broken one counts too)
        evaluations=1 + math.ceil(total / (config.eval_steps or steps_per_epoch)) if has_held_out else 0,
    )


def evaluated_rows(config: TrainConfig, train_rows: int, held_out_rows: int) -> int:
    """Count the held-out rows that each evaluation uses: all, or fewer where evaluations would take too much of a short run.

    Evaluations and rows that were asked for (`eval_steps`, `eval_data`, `eval_split`) are made as they were.
    """
    if config.eval_steps or config.eval_data or config.eval_split:
        return held_out_rows
    plan = plan_steps(config, train_rows)
    trained = plan.total_steps * min(plan.effective_batch, train_rows)
    most = round(MAX_EVALUATION_SHARE / FORWARD_SHARE * trained / plan.evaluations)
    return min(held_out_rows, max(most, MIN_EVALUATED_ROWS))


def tokens_a_test_set(test_sets: int, trained_tokens: float, evaluations: int) -> int:
    """Count the tokens of each of so many test sets that every evaluation of a run uses: MAX_TEST_TOKENS, or fewer where they
    would take too much of a short run; 0 where nothing is tested.

    `trained_tokens` are those of all steps.
    """
    if not test_sets or not evaluations:
        return 0
    most = MAX_TEST_SHARE / FORWARD_SHARE * trained_tokens / (evaluations * test_sets)
    return round(min(max(most, MIN_TEST_TOKENS), MAX_TEST_TOKENS))


def packed_rows(tokens: int, max_length: int) -> int:
    """Return the least rows that packing can make of `tokens`: best-fit comes close to it, but not under it."""
    return max(1, math.ceil(tokens / max_length))
