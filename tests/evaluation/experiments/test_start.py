"""What is refused before an experiment starts, what is written down for its process, and whose it is."""

import os
import shutil
from dataclasses import replace

import pytest

from common.errors import UserError
from common.files import write_json
from common.paths import experiments_folder
from data.reading import EXAMPLE_HELD_OUT
from evaluation.background import request_stop
from evaluation.experiments.cells import read_cells, write_record
from evaluation.experiments.experiment import Experiment, find_experiment, list_experiments
from evaluation.experiments.start import add_seeds, delete_experiment, resume, start
from evaluation.run import Progress, read_progress
from runs.labels import set_labels
from runs.processes import this_process
from runs.run import list_runs
from tests.evaluation.experiments.experiments import CONFIG, make_experiment
from tests.queueing import make_run


@pytest.fixture(autouse=True)
def launched(monkeypatch) -> list[Experiment]:
    """The experiments whose process would have been started; each counts as alive."""
    made: list[Experiment] = []

    def start_process(experiment, secret: str = "") -> None:
        experiment.stop_file.unlink(missing_ok=True)
        write_json(experiment.process_file, {"process": this_process(os.getpid())})
        experiment.write_progress(Progress())
        made.append(experiment)

    monkeypatch.setattr("evaluation.background.start_process", start_process)
    monkeypatch.setattr("evaluation.experiments.start.start_process", start_process)
    return made


def end(experiment: Experiment, status="done") -> None:
    experiment.process_file.unlink()
    experiment.write_progress(Progress(status))


def test_a_start_writes_down_the_base_that_was_chosen_and_where_the_data_lies(launched, monkeypatch):
    monkeypatch.chdir(EXAMPLE_HELD_OUT.parent)
    experiment = start(replace(CONFIG, settings={"base": "embedded", "data": EXAMPLE_HELD_OUT.name}), "alice")
    settings = experiment.config().settings
    assert settings["base"] == "embedded" and settings["data"] == str(EXAMPLE_HELD_OUT)
    assert launched == [experiment] == list_experiments("alice") and read_progress(experiment).is_running
    assert find_experiment(experiment.id, "alice") == experiment


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test_sets": ["held-out", "nobodys"]}, "no test set 'nobodys'"),
        ({"settings": {"base": "/nowhere"}}, "neither a folder"),
        ({"vary": {"precision": ["fp32", "fp16"]}}, "precision fp16"),
        ({"seeds": []}, "1 to 100 seeds"),
        ({"title": "two\nlines"}, "Control characters"),
    ],
)
def test_what_no_arm_could_do_here_is_refused_and_leaves_nothing(changes, words, launched):
    with pytest.raises(UserError, match=words):
        start(replace(CONFIG, **changes))
    assert not launched and list_experiments() == [] and not [*experiments_folder().glob("*")]


def test_what_was_split_before_is_taken_as_it_is(tmp_path):
    for name in ("data", "asked"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.json").write_text("{}")
        os.utime(tmp_path / name / "one.json", (1, 1))
    experiment = start(CONFIG, prepared=tmp_path)
    assert (experiment.data_folder / "one.json").stat().st_mtime > 1e9, "older runs are not of this experiment"
    assert (experiment.asked.folder / "one.json").exists()


def test_seeds_are_added_to_what_is_there_and_it_goes_on(launched):
    experiment = start(CONFIG)
    with pytest.raises(UserError, match="is running"):
        add_seeds(experiment, [3])
    end(experiment)
    with pytest.raises(UserError, match="none twice"):
        add_seeds(experiment, [2])
    add_seeds(experiment, [3, 4])
    assert experiment.config().seeds == [1, 2, 3, 4] and len(launched) == 2
    with pytest.raises(UserError, match="is running"):
        resume(experiment)


def test_on_a_space_each_has_one_under_way_all_guests_one_and_keeps_some(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "me/space")
    monkeypatch.setenv("STUDIO_MAX_KEPT_EXPERIMENTS", "2")
    first = start(CONFIG, "alice")
    with pytest.raises(UserError, match="is under way"):
        start(CONFIG, "alice")
    start(CONFIG, "guest-1")
    with pytest.raises(UserError, match="is under way"):
        start(CONFIG, "guest-2")
    end(first)
    end(start(CONFIG, "alice"))
    with pytest.raises(UserError, match="at most 2 are allowed"):
        start(CONFIG, "alice")
    with pytest.raises(UserError, match="needs 21 runs, and you have 0; at most 20"):
        start(replace(CONFIG, seeds=[*range(21)]), "bob")


def test_nobody_finds_the_experiments_of_somebody_else():
    experiment = start(CONFIG, "alice")
    for name in (experiment.id, f"../alice/{experiment.id}", str(experiment.folder), "x\0", f"{experiment.id}.partial"):
        with pytest.raises(UserError, match=r"no experiment|not a valid name"):
            find_experiment(name, "bob")


def test_everybody_together_has_as_many_under_way_as_runs_may_wait(monkeypatch):
    monkeypatch.setenv("STUDIO_MAX_QUEUE", "3")
    monkeypatch.setattr("evaluation.background.processes_of", lambda module: 3)
    with pytest.raises(UserError, match="3 experiments are under way here"):
        start(CONFIG)


@pytest.mark.parametrize(
    "damage", ["", "[]", '{"lora": 1, "held_out": 1}', '{"run": 5, "message": []}', "\x00", "[" * 9999]
)
def test_damaged_files_of_an_experiment_break_nothing(damage):
    experiment = make_experiment()
    cell = experiment.cells_folder / "lora.1" / "cell.json"
    cell.parent.mkdir(parents=True)
    experiment.data_folder.mkdir()
    for file in (cell, experiment.rates_file, experiment.split_file, experiment.progress_file, experiment.process_file):
        file.write_text(damage)
    assert {one.status for one in read_cells(experiment)} == {"waiting"}
    assert experiment.split() is None and read_progress(experiment).status == "interrupted"
    experiment.config_file.write_text(damage)
    with pytest.raises(UserError):
        read_cells(experiment)
    assert list_experiments() == [experiment]


def test_what_is_deleted_takes_its_runs_with_it_and_no_others():
    experiment, mine = make_experiment("ranks"), make_run("mine")
    cell, other = make_run("ranks-lora"), make_run("ranks-2-lora")
    set_labels(cell, experiment="ranks/lora.1")
    set_labels(other, experiment="ranks-2/lora.1")
    write_record(experiment, "lora.1", {"run": cell.id})
    write_json(cell.process_file, {"launcher": this_process(os.getpid())})
    with pytest.raises(UserError, match="is ending"):
        delete_experiment(experiment)
    assert cell.stop_file.exists() and experiment.folder.exists()
    cell.process_file.unlink()
    delete_experiment(experiment)
    assert not experiment.folder.exists() and {*list_runs()} == {mine, other}


def test_one_that_runs_is_not_deleted_and_stops_first():
    experiment = start(CONFIG)
    with pytest.raises(UserError, match="is running"):
        delete_experiment(experiment)
    request_stop(experiment)
    assert experiment.stop_file.exists()
    shutil.rmtree(experiment.folder)
    assert read_progress(experiment).status == "stopped"
