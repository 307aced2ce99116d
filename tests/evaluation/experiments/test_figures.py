"""Figures are drawn where there are numbers for them, whatever the arms are called, and the same numbers give the same bytes."""

from common.files import write_json
from evaluation.experiments.arms import arms_of
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.figures import write_figures
from evaluation.experiments.table import Table, write_table
from tests.evaluation.experiments.making import make_cells, make_experiment

BASE = {"name": "Base", "method": "none"}


def drawn(arms, search=None) -> tuple[Experiment, Table]:
    """An experiment of these arms with its figures, and its table; `search` is of the last one's rate."""
    config = ExperimentConfig("Figures", arms=arms, seeds=[1, 2], scores=["loss", "exact"])
    experiment = make_experiment("figures", config)
    ids = [arm.id for arm in arms_of(config)]
    if search:
        write_json(experiment.rates_file, {ids[-1]: search})
    table = write_table(experiment, make_cells(experiment, dict.fromkeys(ids, 0.5)))
    write_figures(experiment, table)
    return experiment, table


def files_of(experiment: Experiment) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (experiment.results_folder / "figures").iterdir()}


def test_each_figure_is_a_pdf_an_svg_and_a_png_and_the_same_again():
    experiment, table = drawn([BASE, {"name": "LoRA"}])
    files = files_of(experiment)
    assert {name.rpartition(".")[0] for name in files} == {"scores-held-out", "scores-general", "learned-forgotten"}
    begins = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}
    assert len(files) == 9 and all(file.startswith(begins[name.rpartition(".")[2]]) for name, file in files.items())
    write_figures(experiment, table)
    assert files_of(experiment) == files
    write_figures(experiment, Table())
    assert files_of(experiment) == {}, "nothing of before is left"


def test_rows_that_vary_and_a_search_for_a_rate_have_a_figure_and_no_name_is_read_as_mathematics():
    arms = [BASE, {"name": r"$\frac{$ 미세조정", "max_rows": 10}, {"name": "100 rows_^", "max_rows": 100}]
    search = {"losses": {"0.001": 1.5, "0.0001": 2.0, "0.5": None}, "chosen": 0.001}
    experiment, _table = drawn(arms, search)
    assert {"learning-curve.pdf", "learning-rates.svg"} <= {*files_of(experiment)}


def test_without_an_untrained_base_nothing_is_said_of_forgetting():
    experiment, _table = drawn([{"name": "One", "lora_r": 4}])
    assert {name.rpartition(".")[0] for name in files_of(experiment)} == {"scores-held-out", "scores-general"}
