""" "Does not fit" comes with "make it fit": the fewest settings that bring a run into the memory there is. Light: no torch."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, product

from models.precision import resolve_precision
from trainer.config import TrainConfig

FEW_ROWS = 0.05  # max_length is lowered only while at most this part of the rows is longer

Change = dict[str, object]


def make_it_fit(
    config: TrainConfig, fits: Callable[[TrainConfig], bool], on_gpu: bool, lengths: list[int] | None = None
) -> Change | None:
    """The changed fields that make `fits(config)` true, as few as possible; {} when it fits already, None when nothing helps.

    Among changes of equally many fields the earlier kind wins: checkpointing, batch (halved as often as needed, with
    accumulation doubled, so that the effective batch stays), max_length (only where `lengths`, tokens of each row, says that
    few rows are longer), precision. Batch and accumulation count as one change: the second follows from the first.
    """
    if fits(config):
        return {}
    kinds = [
        _checkpointing(config),
        _batches(config),
        _max_lengths(config, lengths),
        _precisions(config, on_gpu),
    ]
    for count in range(1, len(kinds) + 1):
        for chosen in combinations(kinds, count):
            if (change := _first_that_fits(config, fits, chosen)) is not None:
                return change
    return None


def _first_that_fits(config: TrainConfig, fits, kinds) -> Change | None:
    """The mildest combination of one change of each kind; each kind lists its changes from mild to strong."""
    for parts in product(*kinds):
        change = {name: value for part in parts for name, value in part.items()}
        if fits(replace(config, **change)):
            return change
    return None


def _checkpointing(config: TrainConfig) -> list[Change]:
    """None for "auto", which would have switched it on by itself."""
    return [{"gradient_checkpointing": "on"}] if config.gradient_checkpointing == "off" else []


def _batches(config: TrainConfig) -> list[Change]:
    """Halved, halved again, ... while the batch is even and accumulation stays within its limit."""
    changes, batch, accumulation = [], config.per_device_train_batch_size, config.gradient_accumulation_steps
    while batch % 2 == 0 and accumulation * 2 <= 1024:
        batch, accumulation = batch // 2, accumulation * 2
        changes.append({"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation})
    return changes


def _max_lengths(config: TrainConfig, lengths: list[int] | None) -> list[Change]:
    """Halved as long as few rows are longer. Packed rows are always full, so there a lower max_length costs none."""
    changes, length = [], config.max_length // 2
    while length >= 128 and lengths and sum(row > length for row in lengths) <= FEW_ROWS * len(lengths):
        changes.append({"max_length": length})
        length //= 2
    return changes


def _precisions(config: TrainConfig, on_gpu: bool) -> list[Change]:
    order = (
        ["fp32", "bf16", "8bit", "4bit"] if on_gpu else ["fp32", "8bit", "4bit"]
    )  # a CPU trains bf16 90 times slower
    now = {"fp16": "bf16"}.get(resolved := resolve_precision(config.precision, on_gpu), resolved)
    lower = order[order.index(now) + 1 :] if now in order else []
    return [{"precision": precision} for precision in lower if precision in ("8bit", "4bit")]
