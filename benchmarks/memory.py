"""Does the estimate before the start hold: the peak memory of real runs, and the time of a run.

    python -m benchmarks.memory --full

Each run is two optimiser steps of the real training process behind the real launcher, on the embedded base or on a model of
TinyLlama's shape with a few layers and random weights: the peak is the resident size on a CPU, what torch allocated on a GPU.
A ratio of 1 is an estimate that is exact; the note says on which side it errs. An estimate over the peak costs a person some
memory, one under it costs the run, so the constants in `runs/forecast/memory.py` are chosen to err above. Times: "Measure
the time" and a short run right after it, so that both see the same load.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from benchmarks.inputs import make_base
from benchmarks.rows import Row, main
from benchmarks.train_speed import wait
from common.files import read_json_lines
from common.paths import home
from models.family import EMBEDDED_SHAPE, ModelShape, shape_of
from models.hardware import find_hardware
from runs.config import EXAMPLE, TrainConfig
from runs.forecast import speed
from runs.forecast.estimate import EXAMPLE_FACTS
from runs.forecast.memory import estimate_memory
from runs.forecast.plan import DataFacts
from runs.queue import launch

STEPS = 2
ACCURACY = 0.85  # 15 % off at most, on either side


@dataclass(frozen=True)
class Case:
    """One configuration: rows x length. `layers` 0: the embedded base, else TinyLlama's shape; `stored`: its dtype on disk."""

    batch: int = 4
    length: int = 128
    layers: int = 0
    stored: str = "bfloat16"
    settings: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        base = f"{self.layers} layers of TinyLlama" if self.layers else "SmolLM2-135M"
        stored = f" stored as {self.stored}" if self.stored != "bfloat16" else ""
        said = "".join(f", {name} {value}" for name, value in self.settings.items() if name != "data")
        return f"{base}{stored}, {'example data' if 'data' in self.settings else f'{self.batch} x {self.length}'}{said}"

    def config(self, base: str, data: str) -> TrainConfig:
        values = {"gradient_checkpointing": "off", "max_steps": STEPS, "eval_fraction": 0.0, **self.settings}
        values = {"per_device_train_batch_size": self.batch, "max_length": self.length, **values}
        return TrainConfig.from_dict({"name": "memory", "base": base, "data": data, **values})

    def facts(self) -> DataFacts:
        """The example's facts, or those of rows of one length of which every token is trained."""
        if self.settings.get("data") == EXAMPLE:
            return EXAMPLE_FACTS
        rows = self.batch * STEPS
        tokens, length = rows * self.length, self.length
        counts = {"train_rows": rows, "held_out_rows": 0, "tokens": tokens, "trained_tokens": tokens}
        return DataFacts(**counts, longest=length, mean_length=length)


ON = {"gradient_checkpointing": "on"}
IN_8BIT = {"precision": "8bit"}
EXAMPLE_CASE = Case(length=1024, settings={"data": EXAMPLE})
MORE = (
    Case(),
    Case(1, 512, settings=ON),
    Case(layers=2),
    Case(layers=2, settings=IN_8BIT),
    Case(1),
    Case(1, 512),
    Case(8),
    Case(settings=ON),
    Case(2, 512, settings=ON),
    Case(1, 1024),
    Case(settings={"lora_r": 64}),
    Case(settings={"lora_dropout": 0.0}),
    Case(settings={**IN_8BIT, **ON}),
    Case(settings={"packing": True}, length=512),
    Case(settings={"neftune_noise_alpha": 5.0}),
    Case(layers=2, settings={"precision": "4bit"}),
    Case(layers=4, settings=ON),
    Case(layers=4, stored="float32"),
    Case(1, 1024, layers=4),
    Case(4, 512, layers=4, settings=ON),
    Case(8, layers=4, settings={**IN_8BIT, **ON}),
    Case(1, layers=8),
    Case(settings={"method": "full"}),
    Case(settings={"method": "last-n", "last_layers": 4}),
    Case(layers=2, settings={"method": "full"}),
    Case(1, 512, settings={"method": "full", **ON}),
)


def make_data(case: Case, folder: Path) -> str:
    """Write rows of exactly `length` tokens, every one trained: text, which the trainer cuts into such pieces."""
    if "data" in case.settings:
        return case.settings["data"]
    words = " ".join(f"word{number % 90 + 10}" for number in range(case.batch * case.length * STEPS))
    file = folder / f"{case.batch}x{case.length}.jsonl"
    file.write_text(json.dumps({"text": words}) + "\n")
    return str(file)


def row_of(name: str, config: TrainConfig, shape: ModelShape, facts: DataFacts, peak_bytes: int) -> Row:
    """Make the row of a peak in GB beside its estimate; the ratio is the smaller of the two over the larger."""
    peak, expected = peak_bytes / 1e9, estimate_memory(config, shape, facts, find_hardware()).total / 1e9
    error = expected / peak - 1
    note = f"the estimate is {abs(error):.0%} {'over' if error >= 0 else 'under'} the peak"
    return Row(f"memory: {name}", peak, expected, "GB", min(peak, expected) / max(peak, expected), ACCURACY, note)


def measure(case: Case, folder: Path) -> tuple[Row, float]:
    """Train and wait; returns the row of the peak, and the run's tokens a second. Raises RuntimeError with the log."""
    base = "embedded"
    if case.layers:
        base = folder / f"{case.layers}-{case.stored}"
        base = str(base if base.exists() else make_base(base, case.layers, case.stored))
    config = case.config(base, make_data(case, folder))
    run = launch(config)
    peak = wait(run).metrics["peak_memory_bytes"]
    last = [event for event in read_json_lines(run.events_file) if event["event"] == "step"][-1]
    shutil.rmtree(run.folder)
    shape = shape_of(base) if case.layers else EMBEDDED_SHAPE
    return row_of(case.name, config, shape, case.facts(), peak), last["tokens_per_second"]


def time_row(case: Case, folder: Path, pairs: int) -> Row:
    """The speed of a short run beside the one that was measured right before it; medians of the pairs."""
    case, found = replace(case, settings={**case.settings, "max_steps": 6}), []
    for _ in range(pairs):
        (home() / speed.FILE).unlink(missing_ok=True)
        predicted = speed.measure(case.config("embedded", EXAMPLE), EMBEDDED_SHAPE, EXAMPLE_FACTS, find_hardware())
        found.append((measure(case, folder)[1], 1 / predicted.seconds_per_token))
    real, expected = (median(side) for side in zip(*found, strict=True))
    ratio = min(real, expected) / max(real, expected)
    return Row(f"time: {case.name}", real, expected, "tokens/s", ratio, ACCURACY, f"{pairs} pairs")


def rows(quick: bool) -> Iterator[Row]:
    """A row for each configuration and for the time; quick none: `quick_try.py` has the row of its run."""
    if quick:
        return
    with tempfile.TemporaryDirectory() as folder:
        for case in (EXAMPLE_CASE, *MORE):
            yield measure(case, Path(folder))[0]
        slow = replace(EXAMPLE_CASE, batch=1, settings={**EXAMPLE_CASE.settings, **ON})
        for case in (EXAMPLE_CASE, slow):
            yield time_row(case, Path(folder), 3)


if __name__ == "__main__":
    main(rows, __doc__)
