"""The command line of price and bundle: what it prints, and its exit codes."""

import argparse
from pathlib import Path

import pytest

from common.command_line import run_job
from common.language import _
from evaluation.experiments import commands
from evaluation.experiments.bundle import CellCheck
from evaluation.experiments.commands import add_bundle_jobs
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.plan import ExperimentPlan
from jobs.prices import Flavor

PLAN = ExperimentPlan(6, 0, 8, 60.0, None, [], [_("Only a guess.")], _("6 runs, 8 evaluations: about 1 min."))


def run(*arguments: str) -> int:
    def parser() -> argparse.ArgumentParser:
        made = argparse.ArgumentParser()
        add_bundle_jobs(made.add_subparsers(required=True), lambda experiment: 0 if experiment.id == "again" else 1)
        return made

    return run_job(parser, [*arguments])


@pytest.fixture(autouse=True)
def parts(monkeypatch) -> dict:
    """What was called: nothing is planned, written or started."""
    called: dict = {}
    monkeypatch.setattr(commands, "find_experiment", lambda name: Experiment(Path(name)))
    monkeypatch.setattr(commands, "flavors", lambda token: [Flavor("t4-small", 0.01, 1, "Nvidia T4 - small, 16 GB")])
    monkeypatch.setattr(commands, "plan", lambda config, machine: called.update(config=config, machine=machine) or PLAN)
    monkeypatch.setattr(commands, "plan_left", lambda experiment: called.update(left=experiment.id) or PLAN)
    monkeypatch.setattr(commands, "rerun", lambda file: Experiment(Path("again")))
    return called


def test_a_file_is_planned_and_of_an_experiment_what_is_left(parts, tmp_path, capsys):
    (tmp_path / "grid.yaml").write_text("seeds: [7]")
    assert run("plan", str(tmp_path / "grid.yaml")) == 0 and parts["config"].seeds == [7]
    assert capsys.readouterr().out == "6 runs, 8 evaluations: about 1 min.\nOnly a guess.\n"
    assert run("plan", "grid") == 0 and parts["left"] == "grid"
    assert run("plan", str(tmp_path / "grid.yaml"), "--job", "t4-small") == 0 and parts["machine"].gpus == 1
    assert run("plan", str(tmp_path / "grid.yaml"), "--job", "t5") == 1
    assert "There is no machine 't5'. Choose one of these: t4-small." in capsys.readouterr().err


def test_what_prevents_a_start_is_printed_and_is_no_success(monkeypatch, tmp_path, capsys):
    (tmp_path / "grid.yaml").write_text("seeds: []")
    problems = [_("Choose 1 to 100 seeds, none twice.")]
    found = ExperimentPlan(0, 0, 0, None, None, problems, [], problems[0])
    monkeypatch.setattr(commands, "plan", lambda config, machine: found)
    assert run("plan", str(tmp_path / "grid.yaml")) == 1
    assert capsys.readouterr().out == "Choose 1 to 100 seeds, none twice.\n"


def test_a_bundle_goes_where_it_is_told_and_is_started_again(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(
        commands,
        "write_bundle",
        lambda experiment, folder, include_data: folder / f"{experiment.id}-{include_data}.zip",
    )
    assert run("bundle", "grid", "--folder", str(tmp_path), "--without-data") == 0
    assert capsys.readouterr().out == f"Written: {tmp_path / 'grid-False.zip'}\n"
    assert run("rerun", "grid.zip") == 0, "what was started is followed"


@pytest.mark.parametrize(
    ("again", "is_equal", "code", "words"),
    [
        (0.7, True, 0, "equal\nAll 2 scores are equal."),
        (0.65, False, 0, "inside\nAll 2 scores lie inside their intervals; 1 of them equal."),
        (0.9, False, 1, "outside\n1 of 2 scores lie outside, or are not there."),
        (None, False, 1, "not there\n1 of 2 scores lie outside, or are not there."),
    ],
)
def test_a_score_outside_of_its_interval_is_no_success(monkeypatch, capsys, again, is_equal, code, words):
    base = CellCheck("base", "exam", "exact", 0.5, 0.4, 0.6, 0.5, True)
    checks = [base, CellCheck("lora", "exam", "exact", 0.7, 0.6, 0.8, again, is_equal)]
    monkeypatch.setattr(commands, "check_against", lambda file, experiment: checks)
    assert run("verify", "grid.zip", "again") == code
    shown = capsys.readouterr().out
    assert words in shown and "70.0 (60.0 – 80.0)" in shown
