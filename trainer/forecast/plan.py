"""How many steps a config makes of so many rows: the rounding of transformers' Trainer, checked against it by a test."""

import math
from dataclasses import dataclass

from trainer.config import TrainConfig


@dataclass(frozen=True)
class Plan:
    """What the Trainer will do. `effective_batch` is rows an optimiser step, over all devices."""

    effective_batch: int
    steps_per_epoch: int
    total_steps: int
    warmup_steps: int
    checkpoints: int
    evaluations: int


def plan_steps(config: TrainConfig, train_rows: int, has_held_out: bool = True) -> Plan:
    """The steps for `train_rows` encoded rows (packed ones when packing: `packed_rows`).

    Source: transformers 5.23 Trainer.set_initial_training_values (steps), TrainingArguments.get_warmup_steps, and
    DefaultFlowCallback (evaluations and checkpoints, both also at the end). The look before the first step is counted.
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
        warmup_steps=_warmup(config, total),
        checkpoints=math.ceil(total / config.save_steps),
        evaluations=_evaluations(config, total, steps_per_epoch) if has_held_out else 0,
    )


def _warmup(config: TrainConfig, total: int) -> int:
    """The recipe hands the fraction to `warmup_steps`, which is one as long as it is below 1."""
    return math.ceil(total * config.warmup_fraction)


def _evaluations(config: TrainConfig, total: int, steps_per_epoch: int) -> int:
    """One before the first step, then every `eval_steps` and at the end, or once an epoch (a broken one counts too)."""
    return 1 + math.ceil(total / (config.eval_steps or steps_per_epoch))


def packed_rows(tokens: int, max_length: int) -> int:
    """The least rows that packing can make of `tokens`: best-fit comes close to it, but not under it."""
    return max(1, math.ceil(tokens / max_length))
