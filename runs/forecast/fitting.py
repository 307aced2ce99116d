"""The fewest changes of settings that bring a run into the free memory. Imports no torch."""

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, product

from data.report import Histogram
from runs.config import TrainConfig

FEW_ROWS = 0.05  # max_length is lowered only while at most this part of the rows is longer

Change = dict[str, object]


def make_it_fit(
    config: TrainConfig, fits: Callable[[TrainConfig], bool], on_gpu: bool, lengths: Histogram | None = None
) -> Change | None:
    """Find the changed fields that make `fits(config)` true, as few as possible; {} when it fits, None when nothing helps.

    Among changes of equally many fields the earlier kind wins: checkpointing, batch (halved as often as needed, with
    accumulation doubled, so that the effective batch stays), max_length (only where `lengths` says that few rows are longer),
    precision, an adapter in the place of whole weights. Batch and accumulation count as one change: the second follows from
    the first.
    """
    if fits(config):
        return {}
    # "auto" would have switched checkpointing on by itself
    checkpointing: list[Change] = [{"gradient_checkpointing": "on"}] if config.gradient_checkpointing == "off" else []
    kinds = [checkpointing, _batches(config), _max_lengths(config, lengths), _precisions(config, on_gpu)]
    kinds += [] if config.makes_adapter else [[{"method": "lora"}]]
    for count in range(1, len(kinds) + 1):
        for chosen in combinations(kinds, count):
            for parts in product(*chosen):  # each kind lists its changes from mild to strong
                change = {name: value for part in parts for name, value in part.items()}
                if fits(replace(config, **change)):
                    return change
    return None


def _batches(config: TrainConfig) -> list[Change]:
    """Halve, halve again, ... while the batch is even and accumulation stays within its limit."""
    changes, batch, accumulation = [], config.per_device_train_batch_size, config.gradient_accumulation_steps
    while batch % 2 == 0 and accumulation * 2 <= 1024:
        batch, accumulation = batch // 2, accumulation * 2
        changes.append({"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation})
    return changes


def _max_lengths(config: TrainConfig, lengths: Histogram | None) -> list[Change]:
    """Halve as long as few rows are longer. Packed rows are always full, so there a lower max_length costs none."""
    changes, length = [], config.max_length // 2
    bins = list(zip(lengths["counts"], lengths["edges"][1:], strict=True)) if lengths else []
    few = FEW_ROWS * sum(count for count, _ in bins)
    while length >= 128 and bins and sum(count for count, end in bins if end > length + 1) <= few:
        changes.append({"max_length": length})
        length //= 2
    return changes


def _precisions(config: TrainConfig, on_gpu: bool) -> list[Change]:
    """Return the quantised ones below the present one; a CPU trains 16 bits 90 times slower, and gets none in their place."""
    now = config.precision_on(on_gpu)
    if now == "4bit" or not config.makes_adapter or (now in ("bf16", "fp16") and not on_gpu):
        return []
    return [{"precision": precision} for precision in (("4bit",) if now == "8bit" else ("8bit", "4bit"))]
