"""Where a training step's time goes: the dearest operations of a few steps, in this process, by torch's profiler.

python -m benchmarks.profile_step [--base embedded] [--precision auto] [--steps 3] [--set lora_dropout=0.0 ...]
"""

import argparse
import tempfile
from pathlib import Path

import yaml

from common.paths import home
from trainer.config import TrainConfig


def profile(config: TrainConfig, rows: int = 12) -> str:
    """torch's table of the operations with the most time of their own, on the GPU where there is one."""
    import torch
    from torch.profiler import ProfilerActivity

    trainer = _trainer(config)
    on_gpu = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with torch.profiler.profile(activities=activities) as measured:
        trainer.train()
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    return measured.key_averages().table(sort_by=order, row_limit=rows, max_name_column_width=45)


def _trainer(config: TrainConfig):
    """The trainer as the training process builds it, in a run of its own that writes no event."""
    import torch

    from models.base import choose_base, fetch_base
    from models.precision import load_base_model, resolve_precision
    from models.tokenizer import load_tokenizer
    from trainer.data.intake import load_data
    from trainer.process.recipe import build_trainer
    from trainer.progress import ProgressCallback, StopWatch
    from trainer.run import EventLog, Run

    run = Run(Path(tempfile.mkdtemp(prefix="profile-")))
    base = fetch_base(choose_base(config.base))
    precision = resolve_precision(config.precision, torch.cuda.is_available())
    tokenizer = load_tokenizer(base)
    data = load_data(config, run.folder, tokenizer)
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
    print(profile(TrainConfig.from_dict({**values, "save_steps": 10_000_000, **settings})))


if __name__ == "__main__":
    main()
