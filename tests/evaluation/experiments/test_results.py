"""What a paper takes of an experiment: all files, in English, from the cells that are done, and the same again."""

import pytest

from common.language import KOREAN, language
from evaluation.experiments import figures
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.results import write_results
from tests.evaluation.experiments.making import make_cells, make_experiment

ARMS = [{"name": "Base", "method": "none"}, {"name": "LoRA r4", "lora_r": 4}]
CONFIG = ExperimentConfig("Results", settings={"data": "example"}, arms=ARMS, seeds=[1, 2, 3], scores=["loss", "exact"])
FILES = [
    "comparisons.csv",
    "methods.md",
    "references.bib",
    "summary.md",
    "table.csv",
    "table.json",
    "table.md",
    "table.tex",
]


@pytest.fixture(autouse=True)
def one_format(monkeypatch):
    """A figure is drawn once: it takes a third of the time."""
    monkeypatch.setattr(figures, "FORMATS", {"svg": {"Date": None}})


def files_of(experiment: Experiment) -> dict[str, bytes]:
    """The results but for the figures."""
    return {file.name: file.read_bytes() for file in sorted(experiment.results_folder.iterdir()) if file.is_file()}


def test_all_files_are_written_in_english_whoever_asks_and_are_the_same_again():
    experiment = make_experiment("whole", CONFIG)
    make_cells(experiment, {"base": 0.1, "lora-r4": 0.9})
    write_results(experiment)
    files = files_of(experiment)
    assert list(files) == FILES and all(files.values())
    assert (experiment.results_folder / "figures" / "learned-forgotten.svg").exists()
    with language(KOREAN):
        write_results(experiment)
    assert files_of(experiment) == files
    summary = files["summary.md"].decode()
    assert "LoRA r4 beside Base: Better by" in summary and "on 40 rows." in summary
    assert b"@article{holm1979," in files["references.bib"]


def test_the_order_in_which_cells_come_changes_nothing():
    whole, slow = (make_experiment(name, CONFIG) for name in ("whole", "slow"))
    make_cells(whole, {"base": 0.1, "lora-r4": 0.9})
    write_results(whole)
    write_results(slow)
    assert files_of(slow)["methods.md"] == b""
    make_cells(slow, {"base": 0.1, "lora-r4": 0.9}, missing=["base", "lora-r4.1"])
    write_results(slow)
    assert b"LoRA r4" in files_of(slow)["table.csv"] and b"Base" not in files_of(slow)["table.csv"]
    make_cells(slow, {"base": 0.1, "lora-r4": 0.9})
    write_results(slow)
    assert files_of(slow)["table.json"] == files_of(whole)["table.json"]
