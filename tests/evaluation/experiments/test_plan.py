"""The price of an experiment before its start: what is counted, on which rows, and what prevents it."""

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from common.errors import UserError
from common.files import write_json
from common.language import _
from common.paths import home, runs_folder
from evaluation.experiments import facts
from evaluation.experiments import plan as plans
from evaluation.experiments.arms import arms_of
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Cell, Experiment
from evaluation.experiments.plan import START_SECONDS, plan, plan_left
from evaluation.run import Evaluation
from jobs.prices import MIN_MINUTES, Flavor
from models.hardware import Gpu, Hardware
from runs.forecast.memory import Memory
from runs.forecast.plan import DataFacts
from runs.forecast.presets import Forecast
from tests.evaluation.experiments.experiments import write_rows

GRID = ExperimentConfig.from_dict(
    {
        "settings": {"base": "embedded"},
        "arms": [{"method": "none"}, {"method": "few-shot"}, {"method": "lora", "lora_r": 4}, {"lora_r": 16}],
        "test_sets": ["questions"],
    }
)
MINUTE = Forecast(60.0, Memory({}, 10**9, 4 * 10**9), True)
FACTS: DataFacts = {
    "train_rows": 900,
    "held_out_rows": 100,
    "tokens": 90_000,
    "trained_tokens": 45_000,
    "longest": 200,
    "mean_length": 100.0,
}
LINUX = Hardware((), 2, 16 * 2**30, "no GPU, 2 CPU cores")


@pytest.fixture
def asked(monkeypatch) -> dict:
    """What was asked of the forecast: settings and rows by arm. A training takes a minute, a question a second."""
    wanted: dict = {}

    def forecast_each(configs, base, hardware, owner):
        wanted.update(configs)
        return dict.fromkeys(configs, MINUTE)

    monkeypatch.setattr(plans, "forecast_each", forecast_each)
    monkeypatch.setattr(plans, "find_hardware", lambda: LINUX)
    monkeypatch.setattr(plans, "seconds_a_question", lambda evaluations, base: 1.0)
    return wanted


@pytest.mark.parametrize(
    ("changes", "trainings"),
    [
        ({}, 6),
        ({"seeds": [1]}, 2),
        ({"rates": [1e-4, 1e-3]}, 10),
        ({"rates": [1e-4, 1e-3], "found_rates": {"lora-r4": 1e-3}}, 8),
    ],
)
def test_every_training_and_evaluation_of_the_grid_is_counted_once(asked, changes, trainings):
    found = plan(replace(GRID, **changes))
    seeds = len(replace(GRID, **changes).seeds)
    assert (found.runs, found.searches, found.evaluations) == (2 * seeds, trainings - 2 * seeds, 2 * seeds + 2)
    seconds = trainings * (START_SECONDS + 60) + (2 * seeds + 2) * (START_SECONDS + 50)
    assert found.seconds == pytest.approx(seconds) and not found.problems
    assert found.dollars is None


def test_the_plan_is_a_sentence(asked):
    assert str(plan(replace(GRID, rates=[1e-3], found_rates={"lora-r4": 1e-3})).words) == (
        "6 runs, 1 run for learning rates, 8 evaluations. That takes about 16 min. "
        "It needs about 1.0 GB of RAM; 4.0 GB are free."
    )


def test_each_arm_is_forecast_on_what_the_split_leaves_it_and_a_search_on_its_steps(asked):
    config = replace(GRID, vary={"max_rows": [50, 0]}, arms=[], rates=[1e-3], rate_steps=7)
    assert not plan(config).problems
    few, whole = (rows for _config, rows in (asked["lora-50-rows"], asked["lora-all-rows"]))
    assert (few["train_rows"], few["held_out_rows"], few["tokens"]) == (50, 24, 5168)
    assert (whole["train_rows"], whole["held_out_rows"]) == (243 - 24 - 49, 24)
    assert asked["lora-50-rows search"][0].max_steps == 7 and asked["lora-50-rows"][0].max_steps == 0


def test_rows_are_held_out_of_the_first_data_set_and_of_no_more_rows_than_all_arms_read(asked, monkeypatch, tmp_path):
    monkeypatch.setattr(facts, "check", lambda settings: {**FACTS, "lengths": {}, "text": None})
    made = tmp_path / "made.jsonl"
    made.write_text("{}")
    varied = replace(GRID, vary={"data": ["example", str(made)]}, arms=[], test_sets=["held-out"])
    for most, questions, left in ((0, 49, (170, 1000)), (100, 20, (70, 100))):
        found = plan(replace(varied, settings={"base": "embedded", "max_rows": most}))
        assert [rows["train_rows"] for _config, rows in asked.values()] == [*left]
        assert found.seconds == pytest.approx(6 * (2 * START_SECONDS + 60 + questions))


def test_own_data_is_checked_once_until_its_file_changes(asked, monkeypatch, tmp_path):
    checked = []
    monkeypatch.setattr(
        facts,
        "check",
        lambda settings: checked.append(settings) or {**FACTS, "held_out_rows": 0, "lengths": {}, "text": None},
    )
    file = tmp_path / "rows.jsonl"
    file.write_text("{}")
    config = replace(GRID, settings={"base": "embedded", "data": str(file)}, vary={"max_rows": [10, 100]}, arms=[])
    assert plan(config).seconds == plan(config).seconds and len(checked) == 1
    assert checked[0].eval_fraction == 0 and asked["lora-100-rows"][1]["tokens"] == 10_000
    file.write_text("{}\n{}")
    plan(config)
    assert len(checked) == 2
    assert plan(config, facts=FACTS) and len(checked) == 2, "what the page has checked already"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": []}, "Choose 1 to 100 seeds"),
        ({"test_sets": ["gone"]}, "There is no test set 'gone'"),
        ({"arms": [{"lora_r": 4, "num_processes": 5000}]}, "5000 is too high"),
        ({"settings": {"base": "embedded", "data": "/nowhere.jsonl"}}, "nowhere.jsonl"),
    ],
)
def test_what_prevents_a_start_is_said_and_never_raised(asked, monkeypatch, changes, words):
    def check(settings):
        raise UserError(_("There is no file '{file}'.", file=settings.data))

    monkeypatch.setattr(facts, "check", check)
    assert words in " ".join(plan(replace(GRID, **changes)).problems)


def test_an_arm_that_does_not_fit_and_runs_beyond_the_limit_are_problems(asked, monkeypatch):
    large = Forecast(60.0, Memory({}, 8 * 10**9, 4 * 10**9), True)
    monkeypatch.setattr(
        plans, "forecast_each", lambda configs, *_: {**dict.fromkeys(configs, MINUTE), "lora-r16": large}
    )
    monkeypatch.setenv("STUDIO_MAX_KEPT_RUNS", "6")
    assert plan(GRID).problems == ["LoRA r16: It needs about 8.0 GB of RAM; 4.0 GB are free. That is too little."]
    (runs_folder() / "old").mkdir(parents=True)
    (runs_folder() / "old" / "config.yaml").write_text("name: old\n")
    assert "This needs 6 runs, and you have 1; at most 6 are allowed here." in plan(GRID).problems[1]


def test_every_arm_that_cannot_start_here_is_named_once(asked, monkeypatch):
    monkeypatch.setenv("STUDIO_MAX_MINUTES", "15")
    config = replace(GRID, vary={"lora_r": [4, 16, 32]}, settings={**GRID.settings, "max_minutes": 16}, arms=[])
    problems = plan(config).problems
    assert [problem[:8] for problem in problems] == ["LoRA r4:", "LoRA r16", "LoRA r32"]
    assert all("16 is too high; the maximum on this machine is 15." in problem for problem in problems)


def test_a_base_that_is_not_here_has_no_time_but_is_no_problem(asked, monkeypatch):
    monkeypatch.setattr(plans, "forecast_each", lambda *_: {})
    found = plan(GRID)
    assert found.seconds is None and not found.problems and "takes" not in found.words


def test_money_is_told_on_a_space_and_for_jobs(asked, monkeypatch):
    found = plan(GRID, machine=Flavor("t4-small", 0.01, 1, "Nvidia T4 - small, 16 GB"))
    assert found.dollars == pytest.approx(6 * 0.01 * (2 + MIN_MINUTES))  # a minute and the start, and the packages
    assert "As jobs on t4-small the runs cost $0.72 at most." in found.words
    assert asked["lora-r4"][0].num_processes == 1
    monkeypatch.setattr(plans, "find_hardware", lambda: replace(LINUX, space_flavor="t4-small"))
    found = plan(GRID)
    assert found.dollars == pytest.approx(0.4 * found.seconds / 3600, abs=1e-4) and "on this Space" in found.words


def test_a_job_makes_adapters_only_and_a_disk_must_hold_the_models_that_are_to_be_kept(asked, monkeypatch):
    config = replace(GRID, arms=[{"method": "lora"}, {"method": "full"}], keep_weights=True)
    assert not plan(config).problems
    on_t4 = plan(config, machine=Flavor("t4-small", 0.01, 1, "Nvidia T4 - small, 16 GB"))
    assert [problem[:12] for problem in on_t4.problems] == [
        "Full tuning:"
    ] and "A job sends home an adapter" in on_t4.problems[0]
    monkeypatch.setattr(plans.shutil, "disk_usage", lambda folder: SimpleNamespace(free=10**9))
    assert "The models take 1.6 GB of disk space; 1.0 GB are free." in plan(config).problems[0]
    assert not plan(replace(config, keep_weights=False)).problems


def test_no_more_than_two_plans_read_data_at_a_time_whoever_types(asked, monkeypatch, tmp_path):
    monkeypatch.setattr(facts, "facts_in", lambda report: FACTS)
    monkeypatch.setattr(facts, "check", lambda settings: None)
    monkeypatch.setattr(facts, "CHECKS", threading.BoundedSemaphore(1))
    monkeypatch.setattr(facts, "MAX_WAIT_SECONDS", 0.01)
    data = write_rows(tmp_path / "rows.jsonl", 10)
    config = replace(GRID, settings={"base": "embedded", "data": str(data)})
    with facts.CHECKS:
        assert ["is being read at the moment" in words for words in plan(config).problems] == [True]
    assert not plan(config).problems


@pytest.mark.parametrize(("parallel", "trainings"), [(0, 1.5), (2, 3), (1, 6), (64, 1.5)])
def test_on_four_gpus_four_trainings_go_at_a_time_and_one_evaluation(asked, monkeypatch, parallel, trainings):
    monkeypatch.setattr(plans, "find_hardware", lambda: replace(LINUX, gpus=(Gpu("L4", 24 * 10**9, 8.9),) * 4))
    seconds = plan(replace(GRID, parallel=parallel)).seconds
    assert seconds == pytest.approx(trainings * (START_SECONDS + 60) + 8 * (START_SECONDS + 50))


@pytest.mark.parametrize(
    ("changes", "is_void"),
    [
        ({}, True),
        ({"rates": [1e-4, 1e-3]}, False),
        ({"found_rates": {"lora": 1e-3, "full-tuning": 1e-4}}, False),
        ({"arms": [{"method": "lora"}, {"method": "lora", "lora_r": 4}]}, False),
    ],
)
def test_methods_at_one_learning_rate_are_no_comparison_of_methods(asked, changes, is_void):
    config = replace(GRID, **{"arms": [{"method": "lora"}, {"method": "full"}], **changes})
    assert any("LoRA Without Regret" in note for note in plan(config).notes) == is_void


def test_what_is_left_goes_by_what_the_cells_took_so_far(asked, monkeypatch):
    experiment = Experiment(home() / "experiments" / "local" / "grid")
    experiment.items_folder.mkdir(parents=True)
    experiment.data_folder.mkdir()
    config = replace(GRID, rates=[1e-4, 1e-3])
    experiment.config_file.write_text(config.to_yaml())
    arms = {arm.id: arm for arm in arms_of(config)}
    evaluation = Evaluation(experiment.folder)

    def cell(arm: str, seed: int | None, status, seconds: float | None = None) -> Cell:
        return Cell(arms[arm], seed, status, "", seconds, evaluation)

    cells = [cell("base", None, "done"), cell("few-shot", None, "waiting")]
    cells += [cell("lora-r4", 1, "done", 130.0), cell("lora-r4", 2, "evaluating", 142.0), cell("lora-r4", 3, "failed")]
    cells += [cell("lora-r16", seed, "waiting") for seed in (1, 2, 3)]
    monkeypatch.setattr(plans, "read_cells", lambda experiment: cells)
    monkeypatch.setattr(plans, "checked_facts", lambda settings: FACTS)
    assert plan_left(experiment).runs == 6, "nothing was split yet"
    rows = {"file": "train.jsonl", "rows": 700, "fingerprint": ""}
    split = {"train": {"example": rows}, "texts": {}, "validation": rows, "held_out": rows, "left_out": 0, "notes": []}
    write_json(experiment.split_file, split)
    write_json(experiment.versions_file, {"test_sets": {"questions": {"asked": 30}}})
    search = {"losses": {"0.0001": 2.0, "0.001": None}, "chosen": None}
    write_json(experiment.rates_file, {"lora-r4": {**search, "chosen": 0.001}, "lora-r16": search})
    found = plan_left(experiment)
    assert (found.runs, found.searches, found.evaluations) == (4, 1, 6)
    # twice as long as was forecast, for the arm that has no run yet, too
    assert found.seconds == pytest.approx(136 + (3 + 1) * 2 * (START_SECONDS + 60) + 6 * (START_SECONDS + 30))
    assert asked["lora-r16"][1]["train_rows"] == 700
    write_json(experiment.rates_file, {arm: {**search, "chosen": 0.001} for arm in ("lora-r4", "lora-r16")})
    cells[:] = [replace(one, status="done", seconds=130.0 if one.seed else None) for one in cells]
    found = plan_left(experiment)
    assert found.words == "Nothing is left to do." and found.seconds == 0 and not found.problems
