"""The work of an experiment, with trainings and evaluations that only play: what is done, once each, and what is kept."""

import itertools
import math
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest

from common.errors import UserError
from common.files import read_object, write_json
from common.paths import adapters_folder
from data.near_duplicates import text_of
from evaluation.experiments.cells import read_cells
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.prepare import read_rows
from evaluation.experiments.process import Stopped, Work
from evaluation.run import Evaluation, Progress
from runs.history import search
from runs.labels import labels_of
from runs.run import EventLog, Run, list_runs
from tests.evaluation.experiments.experiments import make_experiment
from tests.evaluation.experiments.experiments import write_rows as make_rows

BAD_RANK, BAD_RATE = 13, 9e-2
VARY = {"method": ["none", "few-shot", "lora"], "lora_r": [4, 8]}


class Played:
    """What was trained and evaluated, and the stop that comes with the `stop_at`-th of both."""

    def __init__(self) -> None:
        self.trained: list[tuple] = []
        self.evaluated: list[tuple] = []
        self.rows: dict[str, list] = {}
        self.stop_at = math.inf
        self.results = 0
        self.work: Work | None = None
        self.fails = True

    def step(self) -> bool:
        """Count one; return whether it is the one at which somebody presses Stop."""
        is_stop = len(self.trained) + len(self.evaluated) >= self.stop_at
        if is_stop and self.work:
            self.work.stop.set()
        return is_stop

    def train(self, run: Run, card: int) -> None:
        """Play a training: the loss is lowest at the rate 1e-3."""
        config = run.config()
        self.rows[run.id] = list(read_rows(run.folder / config.data))
        assert config.eval_data and len(list(read_rows(run.folder / config.eval_data))) == 4
        self.trained.append((config.lora_r, config.seed, config.learning_rate, config.max_steps))
        if self.step():
            EventLog(run).write("stopped", message="Stopped.")
            return
        if (config.lora_r == BAD_RANK or config.learning_rate == BAD_RATE) and self.fails:
            EventLog(run).write("failed", message="The loss is no number.")
            return
        folder = adapters_folder(run.owner) / run.id
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "adapter_model.safetensors").write_text(run.id)
        (folder / "training_config.yaml").write_bytes(run.config_file.read_bytes())
        write_json(folder / "adapter_config.json", {"base_model_name_or_path": "HuggingFaceTB/SmolLM2-135M-Instruct"})
        write_json(folder / "metrics.json", {"base_source": "embedded", "created": 1.0})
        loss = abs(math.log10(config.learning_rate) + 3)
        metrics = {"total_seconds": 2.0, "loss_after": loss, "samples_after": [{"prompt": "a", "answer": "b"}]}
        EventLog(run).write("done", adapter=run.id, metrics=metrics)

    def write_results(self, experiment: Experiment) -> None:
        """Play the writing of results, which fails before the last cell."""
        self.results += 1
        if "waiting" in {cell.status for cell in read_cells(experiment)}:
            raise ValueError("too few cells")

    def evaluate(self, evaluation: Evaluation) -> None:
        """Play an evaluation."""
        config = evaluation.config()
        self.evaluated.append((evaluation.id, *config.candidates))
        known = evaluation.known()
        assert known["base"] == config.base == "embedded" and {*known["adapters"]} == {*config.adapters()}
        assert evaluation.owner == "alice" and (evaluation.items_folder / "shots.jsonl").exists()
        evaluation.write_progress(Progress("stopped" if self.step() else "done"))


@pytest.fixture
def played(monkeypatch) -> Played:
    made = Played()
    monkeypatch.setattr("runs.queue.start", made.train)
    monkeypatch.setattr("evaluation.experiments.process.start_process", made.evaluate)
    monkeypatch.setattr("evaluation.experiments.process.POLL_SECONDS", 0.01)
    monkeypatch.setattr("evaluation.experiments.pace.plan_left", lambda experiment: SimpleNamespace(seconds=60.0))
    monkeypatch.setattr("evaluation.experiments.process.write_results", made.write_results)
    return made


@pytest.fixture
def experiment(tmp_path) -> Experiment:
    data = str(make_rows(tmp_path / "rows.jsonl", 40))
    return make_experiment(owner="alice", settings={"base": "embedded", "data": data}, vary=VARY)


def change(experiment: Experiment, **changes) -> None:
    experiment.config_file.write_text(replace(experiment.config(), **changes).to_yaml())


def statuses(experiment: Experiment) -> dict[str, str]:
    return {cell.id: cell.status for cell in read_cells(experiment)}


def do(experiment: Experiment, played: Played) -> list:
    played.work = Work(experiment)
    return [str(words) for words in played.work.do()]


def test_each_arm_is_trained_with_each_seed_and_asked_once_and_its_weights_go(experiment, played):
    assert {*statuses(experiment).values()} == {"waiting"}
    assert do(experiment, played) == []
    assert [(rank, seed) for rank, seed, *_ in played.trained] == [(4, 1), (8, 1), (4, 2), (8, 2)]
    names = ["base", "few-shot", "lora-r4.1", "lora-r8.1", "lora-r4.2", "lora-r8.2"]
    assert [name for name, _candidate in played.evaluated] == names
    assert [*statuses(experiment)] == names and {*statuses(experiment).values()} == {"done"}
    cells = read_cells(experiment)
    assert [cell.seconds for cell in cells] == [None, None, 2.0, 2.0, 2.0, 2.0]
    assert all("samples_after" not in cell.metrics for cell in cells)
    assert not list(adapters_folder("alice").iterdir()), "what was learned is not kept"
    assert search("alice") == [] and len(list_runs("alice")) == 4
    assert labels_of(list_runs("alice")[0]).title == "Ranks: LoRA r8, seed 2"
    assert not list(experiment.folder.glob("rows-*"))
    assert played.results == 7, "after each cell, and at the end"
    assert 0 < read_object(experiment.progress_file)["eta_seconds"] <= 60


def test_weights_are_kept_where_they_are_to_be(experiment, played):
    change(experiment, keep_weights=True)
    do(experiment, played)
    assert len(list(adapters_folder("alice").iterdir())) == 4


@pytest.mark.parametrize("stop_at", range(1, 11))
def test_stopped_anywhere_and_resumed_nothing_is_done_twice_that_was_done(stop_at, experiment, played):
    played.stop_at = stop_at
    with pytest.raises(Stopped):
        do(experiment, played)
    before = {cell.id for cell in read_cells(experiment) if cell.status == "done"}
    played.stop_at = math.inf
    assert do(experiment, played) == []
    assert {*statuses(experiment).values()} == {"done"}
    counts = Counter(name for name, _candidate in played.evaluated)
    assert all(counts[name] == 1 for name in before) and sum(counts.values()) + len(played.trained) <= 11
    assert len(list_runs("alice")) == 4, "a run that was stopped went on"
    assert not list(adapters_folder("alice").iterdir())


def test_a_run_that_nobody_wrote_down_is_found_again_and_one_of_an_earlier_experiment_is_not(experiment, played):
    played.stop_at = 3
    with pytest.raises(Stopped):
        do(experiment, played)
    for cell in experiment.cells_folder.glob("*/cell.json"):
        cell.unlink()
    (run,) = list_runs("alice")
    played.stop_at = math.inf
    do(experiment, played)
    assert run in list_runs("alice") and len(list_runs("alice")) == 4
    again = make_experiment("again", "alice", **{"settings": experiment.config().settings, "vary": VARY})
    for cell in list_runs("alice"):
        write_json(cell.about_file, {**read_object(cell.about_file), "experiment": "again/lora-r4.1"})
    do(again, played)
    assert len(list_runs("alice")) == 8


def test_an_arm_that_fails_fails_alone_and_is_tried_again(experiment, played):
    change(experiment, vary={"lora_r": [4, BAD_RANK]})
    failed = do(experiment, played)
    assert len(failed) == 2 and failed[0] == "LoRA r13, seed 1: The loss is no number."
    assert statuses(experiment) == dict.fromkeys(("lora-r4.1", "lora-r4.2"), "done") | dict.fromkeys(
        ("lora-r13.1", "lora-r13.2"), "failed"
    )
    assert "no number" in read_cells(experiment)[1].message
    played.fails = False
    assert do(experiment, played) == [] and {*statuses(experiment).values()} == {"done"}
    assert Counter(rank for rank, *_ in played.trained) == {4: 2, BAD_RANK: 4}


def test_the_rate_with_the_lowest_validation_loss_is_taken_for_every_seed(experiment, played):
    change(
        experiment, vary={"lora_r": [4, 8]}, rates=[1e-4, 1e-3, BAD_RATE], rate_steps=7, found_rates={"lora-r8": 2e-3}
    )
    assert do(experiment, played) == []
    searched = [(4, 0, 1e-4, 7), (4, 0, 1e-3, 7), (4, 0, BAD_RATE, 7)]
    assert played.trained[:3] == searched
    assert played.trained[3:] == [(4, 1, 1e-3, 0), (8, 1, 2e-3, 0), (4, 2, 1e-3, 0), (8, 2, 2e-3, 0)]
    found = experiment.searches()["lora-r4"]
    assert found["chosen"] == 1e-3 and found["losses"] == {"0.0001": pytest.approx(1), "0.001": 0, "0.09": None}
    assert len(list_runs("alice")) == 5, "of the search only the run that failed is there"
    change(experiment, seeds=[1, 2, 3])
    do(experiment, played)
    assert played.trained[7:] == [(4, 3, 1e-3, 0), (8, 3, 2e-3, 0)], "a new seed searches nothing again"


def test_an_arm_for_which_no_rate_works_fails_alone(experiment, played):
    change(experiment, vary={"method": ["none", "lora"]}, rates=[BAD_RATE])
    failed = do(experiment, played)
    assert ["No learning rate was found" in words for words in failed] == [True, True]
    assert statuses(experiment) == {"base": "done", "lora.1": "failed", "lora.2": "failed"}


def test_fewer_rows_are_a_sample_by_the_seed_and_all_validation_rows_are_used(experiment, played):
    change(experiment, vary={"max_rows": [10, 0]})
    do(experiment, played)
    of = {labels_of(Run(run.folder)).experiment: played.rows[run.id] for run in list_runs("alice")}
    assert [len(rows) for rows in of.values()] == [28, 10, 28, 10]
    one, other = ({text_of(row) for row in of[f"ranks/lora-10-rows.{seed}"]} for seed in (1, 2))
    assert one != other and one | other <= {text_of(row) for row in of["ranks/lora-all-rows.1"]}


def test_where_the_queue_has_no_room_it_waits_until_it_has(experiment, played, monkeypatch):
    from runs.limits import NoRoom
    from runs.queue import launch

    refused = []

    def full_at_first(*given):
        if len(refused) < 3:
            refused.append(given)
            raise NoRoom("The queue is full.")
        return launch(*given)

    monkeypatch.setattr("evaluation.experiments.cells.launch", full_at_first)
    assert do(experiment, played) == [] and len(refused) == 3


def test_an_adapter_that_somebody_deleted_before_it_was_asked_is_trained_again(experiment, played):
    played.stop_at = 4  # the evaluation of the first adapter
    with pytest.raises(Stopped):
        do(experiment, played)
    (adapter,) = adapters_folder("alice").iterdir()
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "training_config.yaml").unlink()
    adapter.rename(adapter.with_name("elsewhere"))
    played.stop_at = math.inf
    assert do(experiment, played) == []
    assert len(played.trained) == 5 and {*statuses(experiment).values()} == {"done"}


def test_no_more_cells_are_worked_on_than_there_are_cards_whatever_is_asked_for(experiment, played, monkeypatch):
    change(experiment, parallel=64)
    asked_for = []

    def pool(workers: int) -> ThreadPoolExecutor:
        asked_for.append(workers)
        return ThreadPoolExecutor(workers)

    monkeypatch.setattr("evaluation.experiments.process.ThreadPoolExecutor", pool)
    assert do(experiment, played) == [] and asked_for == [1]


def test_on_a_space_it_stops_after_hours_so_that_others_have_a_turn(experiment, played, monkeypatch):
    monkeypatch.setenv("STUDIO_MAX_EXPERIMENT_MINUTES", "30")
    now = itertools.count(0, 1000)
    monkeypatch.setattr(
        "evaluation.experiments.process.time", SimpleNamespace(monotonic=lambda: next(now), sleep=time.sleep)
    )
    monkeypatch.setattr("evaluation.experiments.process.LATE_SECONDS", 0.01)
    exits = []
    monkeypatch.setattr("os._exit", exits.append)
    work = Work(experiment)
    work.watch()
    assert work.stop.is_set() and "after 30 minutes" in work.why
    assert exits == [1], "what does not stop is ended"
    work.ended.set()
    work.watch()
    assert exits == [1]


def test_what_all_cells_need_ends_the_work(experiment, played, tmp_path):
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(UserError, match=r"rows\.jsonl"):
        do(experiment, played)
