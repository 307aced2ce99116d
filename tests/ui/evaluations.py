"""Evaluations and adapters as they lie on the disk, made without a model, for the tests of the page."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from common.files import write_json, write_text
from common.language import packed
from common.paths import LOCAL_OWNER, adapters_folder, evaluations_folder, runs_folder
from evaluation.config import EvaluationConfig
from evaluation.results import Difference, Line, ScoreEstimate
from evaluation.run import Evaluation, Progress, Status
from models.base import EMBEDDED
from models.embedded import HUB_ID

SET, ADAPTER = "exam", "adapter:coach"
LINES = [
    Line(SET, "loss", "base", ScoreEstimate(2.5, 2.3, 2.7, 40), None),
    Line(SET, "loss", ADAPTER, ScoreEstimate(1.5, 1.4, 1.6, 40), Difference(-1.0, -1.2, -0.8, 40, 0.001, "better")),
    Line(SET, "exact", "base", ScoreEstimate(0.5, 0.4, 0.6, 40), None),
    Line(
        SET,
        "exact",
        ADAPTER,
        ScoreEstimate(0.45, 0.35, 0.55, 40),
        Difference(-0.05, -0.15, 0.05, 40, 0.4, "undecided", needed=1234),
    ),
]


def put_adapter(
    name: str = "coach", owner: str = LOCAL_OWNER, title: str = "Study coach", created: float = 1e9
) -> None:
    """An adapter of the embedded base, with the run that it came out of; its weights are none."""
    adapter, run = adapters_folder(owner) / name, runs_folder(owner) / name
    for folder in (adapter, run):
        folder.mkdir(parents=True)
    write_json(adapter / "adapter_config.json", {"base_model_name_or_path": HUB_ID, "r": 4})
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    write_json(
        adapter / "metrics.json", {"title": title, "created": created, "held_out_total": 23, "base_source": EMBEDDED}
    )
    for file in (adapter / "training_config.yaml", run / "config.yaml"):
        write_text(file, f"name: {name}\ndata: example\n")


def put_evaluation(
    name: str = "first",
    owner: str = LOCAL_OWNER,
    status: Status = "done",
    title: str = "First",
    answers: tuple[str, str] = ("forty-one", "forty-two"),
    question: str = "What is it?",
    count: int = 1,
    seconds: float = 0,
) -> Evaluation:
    """An evaluation of one adapter on one question, asked `count` times, with a table of more; it took so many seconds."""
    evaluation = Evaluation(evaluations_folder(owner) / name)
    evaluation.items_folder.mkdir(parents=True)
    config = EvaluationConfig(title, ["base", ADAPTER], [SET])
    write_text(evaluation.config_file, config.to_yaml())
    asked = {
        "title": "My exam",
        "kind": "conversations",
        "labels": [],
        "fingerprint": "f" * 64,
        "rows": count,
        "asked": count,
    }
    asked |= {"dataset": "", "revision": ""}
    versions = {"base": "embedded", "base_revision": "", "adapters": {"coach": "0"}, "unknown_data": [], "seed": 0}
    versions |= {"packages": {}, "test_sets": {SET: asked | {"exact": 0, "near": 0, "shots": []}}}
    write_json(evaluation.versions_file, versions)
    item = {"messages": [{"role": "user", "content": question}], "answer": "forty-two"}
    write_lines(evaluation.items_file(SET), [{"number": number, **item} for number in range(1, count + 1)])
    for candidate, answer in zip(config.candidates, answers, strict=True):
        file = evaluation.results_file(SET, candidate)
        file.parent.mkdir(parents=True, exist_ok=True)
        result = {"needs": "answer", "answer": answer, "new_tokens": 3, "ended": True}
        write_lines(file, [{"item": number, **result} for number in range(1, count + 1)])
    write_json(evaluation.table_file, packed([asdict(line) for line in LINES]))
    ended = evaluation.table_file.stat().st_mtime
    os.utime(evaluation.config_file, (ended - seconds, ended - seconds))
    if answers[0] != answers[1]:
        rows = [[number, 0.0, 1.0] for number in range(1, count + 1)]
        write_json(evaluation.rows_file, {SET: {"exact": {ADAPTER: rows}}})
    evaluation.write_progress(Progress(status, "", 2, 2))
    return evaluation


def write_lines(file: Path, values: list[dict]) -> None:
    write_text(file, "".join(f"{json.dumps(value)}\n" for value in values))
