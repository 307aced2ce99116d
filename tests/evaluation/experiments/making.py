"""Experiments whose cells are there, without a training: each arm is right on some of the rows."""

import random
import shutil
from collections.abc import Mapping

from common.files import append_json_line, write_json, write_text
from common.paths import experiments_folder
from data.test_sets import fingerprint
from evaluation.config import EvaluationConfig
from evaluation.experiments.arms import arms_of
from evaluation.experiments.cells import cell_id
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Cell, Experiment
from evaluation.run import Progress
from runs.events import Metrics

ROWS = 40
TITLES = {"held-out": "Held-out rows", "general": "General text & more"}


def make_experiment(name: str, config: ExperimentConfig) -> Experiment:
    """An experiment's folder with its settings, and a split of 200 rows."""
    experiment = Experiment(experiments_folder() / name)
    experiment.folder.mkdir(parents=True)
    experiment.data_folder.mkdir()
    write_text(experiment.config_file, config.to_yaml())
    rows = {"file": "train.jsonl", "rows": 200, "fingerprint": "ab" * 32}
    split = {"train": {"example": rows}, "texts": {}, "validation": rows, "held_out": rows, "left_out": 2, "notes": []}
    write_json(experiment.split_file, split)
    return experiment


def make_cells(
    experiment: Experiment, shares: Mapping[str, float], missing=(), losses: Mapping[str, float] | None = None
) -> list[Cell]:
    """All cells of an experiment: an arm is right on this share of the rows, another sample of them with each seed."""
    config, cells = experiment.config(), []
    for arm in arms_of(config):
        for seed in config.seeds if arm.is_trained else [None]:
            id = cell_id(arm, seed)
            status = "failed" if id in missing else "done"
            cell = Cell(arm, seed, status, "", 12.5, experiment.evaluation(id), Metrics(hardware="CPU"))
            cells.append(cell)
            if status == "done":
                _answer(cell, config, shares[arm.id], (losses or {}).get(arm.id, 3 - 2 * shares[arm.id]))
    return cells


def _answer(cell: Cell, config: ExperimentConfig, share: float, loss: float) -> None:
    """Write what a cell has answered: conversations of held-out rows, and losses of general text."""
    evaluation, draw = cell.evaluation, random.Random(f"{cell.arm.id} {cell.seed}")
    shutil.rmtree(evaluation.folder, ignore_errors=True)
    evaluation.folder.mkdir(parents=True)
    write_text(
        evaluation.config_file, EvaluationConfig(cell.id, ["base"], list(TITLES), scores=config.scores).to_yaml()
    )
    known = {}
    for test_set, title in TITLES.items():
        is_text = test_set == "general"
        items = [
            {"number": number, "text": f"text {number}"}
            if is_text
            else {
                "number": number,
                "messages": [{"role": "user", "content": f"{number}?"}],
                "answer": f"It is {number}.",
            }
            for number in range(1, ROWS + 1)
        ]
        evaluation.items_folder.mkdir(exist_ok=True)
        file = evaluation.results_file(test_set, "base")
        file.parent.mkdir(parents=True)
        hard = [0.3 + random.Random(number).random() for number in range(ROWS)]  # the same rows for every arm
        for item, how_hard in zip(items, hard, strict=True):
            append_json_line(evaluation.items_file(test_set), item)
            is_right = draw.random() < share * min(how_hard + 0.3, 1.2)
            answer = item.get("answer", "") if is_right else "I do not know"
            number, measured = item["number"], loss * how_hard + draw.gauss(0, 0.05)
            append_json_line(file, {"needs": "loss", "item": number, "loss": 5 * max(measured, 0.01), "tokens": 5})
            if not is_text:
                line = {"needs": "answer", "item": number, "answer": answer, "ended": True, "new_tokens": 5}
                append_json_line(file, line)
        known[test_set] = {
            **{
                "title": title,
                "kind": "text" if is_text else "conversations",
                "labels": [],
                "dataset": "",
                "revision": "",
            },
            **{"fingerprint": fingerprint(items), "rows": ROWS, "asked": ROWS, "exact": 0, "near": 0, "shots": []},
        }
    made = {"base": "embedded", "base_revision": "", "adapters": {}, "packages": {"torch": "2.13.0"}, "seed": 0}
    write_json(evaluation.versions_file, {**made, "unknown_data": [], "test_sets": known})
    evaluation.write_progress(Progress("done"))
