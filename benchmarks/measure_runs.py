"""Trains for two steps in each of many configurations, as the app does, and writes what each run needed, one JSON line a run.

    python -m benchmarks.measure_runs OUT.jsonl [--only WORD]

Each run is the real training process behind the real launcher, on the embedded base or on a TinyLlama-shaped model of a few
layers with random weights. `benchmarks.estimate` compares the lines with what `trainer.forecast.estimate` predicts. On a
machine with a GPU the same cases run on the GPU. Needs the embedded base (`python -m models.embedded`).
"""

import argparse
import json
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from common.files import append_json_line, read_json_lines
from common.paths import REPOSITORY, home
from trainer.config import EXAMPLE, TrainConfig
from trainer.queue import launch
from trainer.run import Run, read_state

STEPS = 2
WAIT_SECONDS = 900
TOKENIZER = REPOSITORY / "tests" / "data" / "tinyllama-tokenizer"


@dataclass(frozen=True)
class Case:
    """One configuration. `layers` 0 is the embedded base, else TinyLlama's shape; `stored` is the dtype on disk."""

    name: str
    batch: int = 4
    length: int = 128
    layers: int = 0
    stored: str = "bfloat16"
    settings: dict = field(default_factory=dict)

    def config(self, base: str, data: str) -> TrainConfig:
        values = {"gradient_checkpointing": "off", "max_steps": STEPS, "eval_fraction": 0.0, **self.settings}
        values = {"per_device_train_batch_size": self.batch, "max_length": self.length, **values}
        return TrainConfig.from_dict({"name": self.name, "base": base, "data": data, **values})


CKPT = {"gradient_checkpointing": "on"}
CASES = (
    Case("embedded-4x128"),
    Case("embedded-example", length=1024, settings={"data": EXAMPLE}),
    Case("tiny2-4x128", layers=2),
    Case("tiny2-1x512", 1, 512, layers=2),
    Case("tiny2-4x128-8bit", layers=2, settings={"precision": "8bit"}),
    Case("tiny2-4x128-4bit", layers=2, settings={"precision": "4bit"}),
    Case("embedded-1x128", 1),
    Case("embedded-1x512", 1, 512),
    Case("embedded-8x128", 8),
    Case("embedded-4x128-on", settings=CKPT),
    Case("embedded-2x512-on", 2, 512, settings=CKPT),
    Case("embedded-1x1024", 1, 1024),
    Case("embedded-1x1024-on", 1, 1024, settings=CKPT),
    Case("embedded-4x128-r64", settings={"lora_r": 64}),
    Case("embedded-4x128-r8", settings={"lora_r": 8}),
    Case("embedded-4x128-nodrop", settings={"lora_dropout": 0.0}),
    Case("embedded-1x128-8bit", 1, settings={"precision": "8bit"}),
    Case("embedded-4x128-8bit-on", settings={"precision": "8bit", **CKPT}),
    Case("tiny2-1x128-r64", 1, layers=2, settings={"lora_r": 64}),
    Case("tiny4-4x128", layers=4),
    Case("tiny4-4x128-on", layers=4, settings=CKPT),
    Case("tiny4-4x128-float32", layers=4, stored="float32"),
    Case("tiny4-1x1024", 1, 1024, layers=4),
    Case("tiny4-1x1024-on", 1, 1024, layers=4, settings=CKPT),
    Case("tiny4-4x512-on", 4, 512, layers=4, settings=CKPT),
    Case("tiny4-1x128-8bit", 1, layers=4, settings={"precision": "8bit"}),
    Case("tiny4-8x128-8bit-on", 8, layers=4, settings={"precision": "8bit", **CKPT}),
    Case("tiny8-1x128", 1, layers=8),
    Case("tiny8-1x128-8bit", 1, layers=8, settings={"precision": "8bit"}),
    Case("tiny4-2x256", 2, 256, layers=4),
    Case("embedded-2x512", 2, 512),
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
    if case.settings.get("data"):
        return case.settings["data"]
    words = " ".join(f"word{number % 90 + 10}" for number in range(case.batch * case.length * STEPS))
    file = folder / f"{case.name}.jsonl"
    file.write_text(json.dumps({"text": words}) + "\n")
    return str(file)


def measure(case: Case, folder: Path) -> dict:
    """Train and wait. Returns what the run needed."""
    base = "embedded"
    if case.layers:
        base = folder / f"tiny-{case.layers}-{case.stored}"
        base = str(base if base.exists() else make_base(case.layers, case.stored, base))
    run = launch(case.config(base, make_data(case, folder)))
    state = _wait(run)
    steps = [event for event in read_json_lines(run.events_file) if event["event"] == "step"]
    shutil.rmtree(run.checkpoints_folder, ignore_errors=True)
    facts = {name: state.metrics.get(name) for name in ("peak_memory_bytes", "train_seconds", "hardware", "precision")}
    return {
        "name": case.name,
        "status": state.status,
        "message": state.message,
        "shape": json.loads((Path(base) / "config.json").read_text()) if case.layers else None,
        "config": {**run.config().to_dict(), **_names(case)},
        "batch": case.batch,
        "length": case.length,
        "tokens_per_second": [step["tokens_per_second"] for step in steps],
        **facts,
    }


def _names(case: Case) -> dict:
    """What base and data are, in place of where they lay."""
    base = f"TinyLlama's shape, {case.layers} layers, stored as {case.stored}" if case.layers else "embedded"
    return {"base": base, "base_reason": "", "data": case.settings.get("data", "rows of one length")}


def _wait(run: Run):
    deadline = time.monotonic() + WAIT_SECONDS
    while (state := read_state(run)).is_running and time.monotonic() < deadline:
        time.sleep(0.3)
    return state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    home().mkdir(parents=True, exist_ok=True)
    done = {line["name"] for line in read_json_lines(options.out) if line["status"] == "done"}
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if options.only in case.name and case.name not in done:
                line = measure(case, Path(folder))
                append_json_line(options.out, line)
                print(f"{case.name:28} {line['status']:8} {(line['peak_memory_bytes'] or 0) / 1e6:8.0f} MB", flush=True)


if __name__ == "__main__":
    main()
