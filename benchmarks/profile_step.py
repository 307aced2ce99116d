"""Where a training step's time goes: the dearest operations of a few steps, in this process, by torch's profiler.

python -m benchmarks.profile_step [--base embedded] [--precision auto] [--steps 3] [--set lora_dropout=0.0 ...]
"""

import argparse
import tempfile
from pathlib import Path

import yaml

from common.paths import home
from trainer.config import TrainConfig


def profiler():
    """torch's profiler, of the GPU where there is one."""
    import torch
    from torch.profiler import ProfilerActivity

    on_gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
    return torch.profiler.profile(activities=[ProfilerActivity.CPU, *on_gpu])


def dearest(seen, rows: int) -> list[tuple[str, float, int]]:
    """(operation, part of all time, calls) of those with the most time of their own: kernels where there is a GPU."""
    import torch

    def own(event) -> float:
        return event.self_device_time_total if torch.cuda.is_available() else event.self_cpu_time_total

    events = sorted(seen.key_averages(), key=own, reverse=True)
    whole = max(sum(map(own, events)), 1e-9)
    return [(event.key[:60], own(event) / whole, event.count) for event in events[:rows]]


def build(config: TrainConfig):
    """The trainer as the training process builds it, in a run of its own that writes no event."""
    import torch

    from models.base import choose_base, fetch_base
    from models.hardware import find_hardware
    from models.precision import load_base_model, resolve_precision
    from models.tokenizer import load_tokenizer
    from trainer.data.intake import load_data
    from trainer.forecast.memory import decided
    from trainer.forecast.shape import shape_of
    from trainer.process.checkpointing import facts_of
    from trainer.process.recipe import build_trainer
    from trainer.progress import ProgressCallback, StopWatch
    from trainer.run import EventLog, Run

    run = Run(Path(tempfile.mkdtemp(prefix="profile-")))
    base = fetch_base(choose_base(config.base))
    precision = resolve_precision(config.precision, torch.cuda.is_available())
    tokenizer = load_tokenizer(base)
    data = load_data(config, run.folder, tokenizer)
    config = decided(config, shape_of(base), facts_of(data.train), find_hardware())
    progress = ProgressCallback(EventLog(run, writes=False), StopWatch(run))
    made = (precision, data.train.rows, [], progress)
    return build_trainer(load_base_model(base, precision), tokenizer, config, run, *made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="embedded")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other settings of a run")
    options = parser.parse_args()
    home().mkdir(parents=True, exist_ok=True)
    settings = {name: yaml.safe_load(value) for name, value in (pair.split("=", 1) for pair in options.set)}
    values = {"name": "profile", "base": options.base, "precision": options.precision, "max_steps": options.steps}
    trainer = build(TrainConfig.from_dict({**values, "save_steps": 10_000_000, **settings}))
    with profiler() as seen:
        trainer.train()
    for name, part, calls in dearest(seen, 12):
        print(f"{part:6.1%} {calls:7} {name}")


if __name__ == "__main__":
    main()
