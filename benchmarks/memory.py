"""The peak memory of real runs against the estimate that the Train tab shows before the start.

    python -m benchmarks.memory [--full] [--only WORD]

Each run is two optimiser steps of the real training process behind the real launcher, on the embedded base or on a model of
TinyLlama's shape with a few layers and random weights: the peak is the resident size on a CPU, what torch allocated on a GPU.
A ratio of 1 is an estimate that is exact; the note says on which side it errs. An estimate over the peak costs a person some
memory, one under it costs the run, so the constants in `trainer/forecast/memory.py` are chosen to err above.
"""

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.rows import Row, table
from benchmarks.train_speed import wait
from common.files import read_json_lines
from common.paths import REPOSITORY, home
from models.hardware import Hardware, find_gpus
from trainer.config import EXAMPLE, TrainConfig
from trainer.forecast.estimate import EMBEDDED_SHAPE, EXAMPLE_FACTS, estimate_memory, shape_of
from trainer.queue import launch

STEPS = 2
ACCURACY = 0.85  # 15 % off at most, on either side
TOKENIZER = REPOSITORY / "tests" / "data" / "tinyllama-tokenizer"


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

    def facts(self) -> dict:
        """The example's facts, or those of rows of one length of which every token is trained."""
        if self.settings.get("data") == EXAMPLE:
            return EXAMPLE_FACTS
        rows = self.batch * STEPS
        counts = {"train_rows": rows, "held_out_rows": 0, "longest": self.length, "mean_length": self.length}
        return {**counts, "tokens": rows * self.length, "trained_tokens": rows * self.length}


ON = {"gradient_checkpointing": "on"}
IN_8BIT = {"precision": "8bit"}
QUICK = (
    Case(),
    Case(length=1024, settings={"data": EXAMPLE}),
    Case(1, 512, settings=ON),
    Case(layers=2),
    Case(layers=2, settings=IN_8BIT),
)
MORE = (
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
)


def make_base(layers: int, stored: str, folder: Path) -> Path:
    """A folder with a model of TinyLlama's shape, less layers, random weights, saved in the dtype `stored`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    numbers = {"hidden_size": 2048, "intermediate_size": 5632, "num_attention_heads": 32, "num_key_value_heads": 4}
    tokens = {"vocab_size": 32000, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    config = LlamaConfig(**numbers, **tokens, num_hidden_layers=layers, max_position_embeddings=2048)
    LlamaForCausalLM(config).to(getattr(torch, stored)).save_pretrained(folder)
    for file in TOKENIZER.iterdir():
        shutil.copy(file, folder)
    return folder


def make_data(case: Case, folder: Path) -> str:
    """Rows of exactly `length` tokens, every one trained: text, which the trainer cuts into such pieces."""
    if "data" in case.settings:
        return case.settings["data"]
    words = " ".join(f"word{number % 90 + 10}" for number in range(case.batch * case.length * STEPS))
    file = folder / f"{case.batch}x{case.length}.jsonl"
    file.write_text(json.dumps({"text": words}) + "\n")
    return str(file)


@dataclass(frozen=True)
class Measured:
    """What one run needed, and what was estimated for it: bytes; and its last speed."""

    peak: int
    estimate: int
    tokens_per_second: float


def measure(case: Case, folder: Path) -> Measured:
    """Train and wait. Raises RuntimeError with the log when the run fails."""
    base = "embedded"
    if case.layers:
        base = folder / f"{case.layers}-{case.stored}"
        base = str(base if base.exists() else make_base(case.layers, case.stored, base))
    config = case.config(base, make_data(case, folder))
    run = launch(config)
    state = wait(run)
    last = [event for event in read_json_lines(run.events_file) if event["event"] == "step"][-1]
    shutil.rmtree(run.folder)
    hardware = Hardware(find_gpus(), 0, 10**15, "")
    expected = estimate_memory(config, shape_of(base) if case.layers else EMBEDDED_SHAPE, case.facts(), hardware)
    return Measured(state.metrics["peak_memory_bytes"], expected.total, last["tokens_per_second"])


def row_of(case: Case, measured: Measured) -> Row:
    """The peak beside the estimate, in GB; the ratio is the smaller of the two over the larger."""
    peak, expected = measured.peak / 1e9, measured.estimate / 1e9
    error = expected / peak - 1
    note = f"the estimate is {abs(error):.0%} {'over' if error >= 0 else 'under'} the peak"
    return Row(f"memory: {case.name}", peak, expected, "GB", min(peak, expected) / max(peak, expected), ACCURACY, note)


def rows(quick: bool, only: str = "") -> list[Row]:
    """A row for each configuration: a handful, or all."""
    with tempfile.TemporaryDirectory() as folder:
        cases = [case for case in (QUICK if quick else QUICK + MORE) if only in case.name]
        return [_measured_row(case, Path(folder)) for case in cases]


def _measured_row(case: Case, folder: Path) -> Row:
    row = row_of(case, measure(case, folder))
    print(f"{row.name}: {row.ours:.3f} {row.unit}, {row.note}", file=sys.stderr, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all configurations: ten minutes")
    parser.add_argument("--only", default="", metavar="WORD", help="configurations with this in their name")
    options = parser.parse_args()
    home().mkdir(parents=True, exist_ok=True)
    print(table(rows(not options.full, options.only)))


if __name__ == "__main__":
    main()
