"""Makes what a person has after years: thousands of finished runs with their adapters, a run of a million steps, a file of rows.

Only the files that lists, searches and the run's view read are there, written as the trainer writes them; weights are empty.
"""

import json
import os
import time
from pathlib import Path

from common.paths import LOCAL_OWNER, adapters_folder, runs_folder
from models.embedded import HUB_ID
from trainer.config import TrainConfig
from trainer.run import Run

STEPS = 20
NUMBERS = {"learning_rate": 1e-4, "grad_norm": 1.25, "tokens_per_second": 99.5, "peak_memory_bytes": 2**30}


def make_library(count: int, owner: str = LOCAL_OWNER) -> None:
    """`count` finished runs, each with a title, and the adapters that came out of them; the last one is the newest."""
    settings = TrainConfig(name="run", base="embedded").to_yaml()
    began = time.time() - 86400 - count
    for number in range(count):
        _make_run(Run(runs_folder(owner) / f"run-{number}"), number, settings, began + number)
        _make_adapter(adapters_folder(owner) / f"run-{number}", settings, began + number)


def _make_run(run: Run, number: int, settings: str, created: float) -> None:
    run.folder.mkdir(parents=True)
    metrics = {"loss_before": 3.0, "loss_after": 2.0, "rows": 220, "tokens_per_second": 99.5, "base": "another"}
    events = [{"event": "queued", "base": "embedded"}, {"event": "training"}, {"event": "eval", "step": 0, "loss": 3.0}]
    events += [step_event(step, STEPS) for step in range(1, STEPS + 1)]
    events += [{"event": "eval", "step": STEPS, "loss": 2.0}, {"event": "done", "metrics": metrics, "adapter": run.id}]
    run.events_file.write_text(_lines({"time": created, **event} for event in events))
    run.about_file.write_text(json.dumps({"title": f"Attempt {number}", "notes": "with small batches"}))
    run.process_file.write_text(json.dumps({"trainer": {"pid": 4_000_000 + number, "started": 1.0}}))
    run.log_file.write_text("done\n")
    run.config_file.write_text(settings)
    for file in run.folder.iterdir():
        os.utime(file, (created, created))


def _make_adapter(folder: Path, settings: str, created: float) -> None:
    folder.mkdir(parents=True)
    config = {"base_model_name_or_path": HUB_ID, "revision": None, "r": 16, "target_modules": ["q_proj", "v_proj"]}
    metrics = {"created": created, "loss_before": 3.0, "loss_after": 2.0, "rows": 220, "base_source": "embedded"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "training_config.yaml").write_text(settings)
    for name in ("adapter_model.safetensors", "tokenizer.json", "chat_template.jinja"):
        (folder / name).write_bytes(b"")
    for file in folder.iterdir():
        os.utime(file, (created, created))


def step_event(step: int, total: int) -> dict:
    """A step as `trainer.progress` writes it."""
    return {"event": "step", "step": step, "total_steps": total, "epoch": 0.1, "loss": 3 - step / total, **NUMBERS}


def _lines(events) -> str:
    return "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in events)


def make_long_run(steps: int, owner: str = LOCAL_OWNER) -> Run:
    """A run that trains, with so many steps behind it and a look at the held-out rows at every thousandth."""
    run = Run(runs_folder(owner) / "long")
    run.folder.mkdir(parents=True)
    run.config_file.write_text(TrainConfig(name="long").to_yaml())
    run.process_file.write_text(json.dumps({"trainer": {"pid": 4_000_000, "started": 1.0}}))
    with open(run.events_file, "w") as file:
        file.write(_lines([{"time": 1.0, "event": "training"}]))
        for step in range(1, steps + 1):
            events = [{"time": 1.7e9 + step, **step_event(step, steps)}]
            if not step % 1000:
                events.append({"time": 1.7e9 + step, "event": "eval", "step": step, "loss": 2.0})
            file.write(_lines(events))
    return run


def make_rows(file: Path, count: int) -> Path:
    """A JSONL file of `count` different rows, 150 characters each."""
    with open(file, "w") as out:
        for number in range(count):
            prompt = f"What is {number} plus {number}, and why does it matter to anybody?"
            answer = f"It is {2 * number}, because that is how the addition of whole numbers has been defined."
            out.write(f'{{"prompt": "{prompt}", "completion": "{answer}"}}\n')
    return file
