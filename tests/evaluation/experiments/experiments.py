"""Experiments for tests, small enough to be split in a moment."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from common.paths import experiments_folder
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Experiment

CONFIG = ExperimentConfig(
    title="Ranks",
    settings={"base": "embedded"},
    vary={"method": ["none", "lora"]},
    seeds=[1, 2],
    test_sets=["held-out", "questions"],
)


def make_experiment(name: str = "ranks", owner: str = "local", **changes) -> Experiment:
    """The folder of an experiment that nobody has started."""
    experiment = Experiment(experiments_folder(owner) / name)
    experiment.folder.mkdir(parents=True)
    experiment.config_file.write_text(replace(CONFIG, **changes).to_yaml())
    return experiment


def write_rows(file: Path, count: int, topic: str = "town") -> Path:
    """Questions and answers that are not near each other."""
    rows = []
    for number in range(count):
        name = sha256(f"{topic} {number}".encode()).hexdigest()
        question = f"Which {topic} is {name[:40]}?"
        rows.append([{"role": "user", "content": question}, {"role": "assistant", "content": f"It is {name[40:]}."}])
    file.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    return file
