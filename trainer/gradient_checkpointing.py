"""Decides by the memory estimate, for the rows as they are and the memory that is free now: gradient checkpointing "auto", and
whether weights of the base itself can be trained here at all.

The estimate is the one of the plan before the start. The losses are the same with and without checkpointing.
"""

from dataclasses import replace
from typing import Any

import psutil
import pyarrow.compute

from common.language import _
from data.dataset import Encoded
from models.family import ModelShape
from models.hardware import Hardware, find_hardware
from runs.failures import TRAIN_ADAPTER, Failure
from runs.forecast.memory import estimate_memory
from runs.forecast.plan import DataFacts
from runs.machines.parallel import local_processes
from runs.run import EventLog
from trainer.ranks import max_over_ranks
from trainer.stages import Stage


def decide(stages: list[Stage], shape: ModelShape, events: EventLog) -> None:
    """Replace "auto" by "on" or "off" in the config of each stage, alike in all processes; write a note where it is on.

    Call it before the base is loaded: the memory that is free then is what the run may take. Raises Failure where whole
    weights do not fit into it: the system would end whatever takes too much, this process or another.
    """
    for stage in stages:
        memory = estimate_memory(stage.config, shape, facts_of(stage.data.train), _hardware(stage))
        is_on, is_too_large = max_over_ranks(memory.checkpointing, not memory.fits)
        if is_too_large and not stage.config.makes_adapter:
            values = {"size": memory.total / 1e9, "free": memory.available / 1e9}
            words = _("Training these weights needs about {size:.1f} GB of memory; {free:.1f} GB are free.", **values)
            hint = _("Choose the method lora, fewer layers (last-n), a smaller batch or a smaller base.")
            raise Failure("out_of_memory", words, hint, TRAIN_ADAPTER)
        if stage.config.gradient_checkpointing != "auto":
            continue
        stage.config = replace(stage.config, gradient_checkpointing="on" if is_on else "off")
        if is_on:
            events.write("note", message=_("Gradient checkpointing is on: without it there is too little memory."))


def facts_of(encoded: Encoded) -> DataFacts:
    """Return what an estimate needs to know of the rows to train on. Takes milliseconds: lengths are columns on disk."""
    rows: Any = encoded.rows  # a datasets.Dataset
    lengths = pyarrow.compute.list_value_length(rows.data.column("input_ids"))
    tokens = pyarrow.compute.sum(lengths).as_py()
    return {
        "train_rows": len(encoded.rows),
        "tokens": tokens,
        "trained_tokens": encoded.trained_tokens,
        "longest": pyarrow.compute.max(lengths).as_py(),
        "mean_length": tokens / len(encoded.rows),
    }


def _hardware(stage: Stage) -> Hardware:
    """Return this machine, with the RAM that this process holds as free: it is part of the estimate."""
    hardware = find_hardware()
    held = 0 if hardware.has_gpu else psutil.Process().memory_info().rss * local_processes(stage.config)
    return replace(hardware, available_bytes=hardware.available_bytes + held)
