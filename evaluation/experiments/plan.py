"""What an experiment takes, before its start or of what is left of it: runs, hours, memory, dollars. Imports no torch.

    plan(config, owner).words                18 runs, 19 evaluations. That takes about 52 min. ...
    plan(config, owner, machine=flavor)      with its runs as jobs on that machine of Hugging Face
    plan_left(experiment).seconds            of what is not done, by what its cells took so far

Runs are forecast as on the Train tab (runs/forecast), evaluations as on the Evaluate tab (evaluation/pace.py).
"""

import math
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import mean
from typing import NamedTuple

from common.errors import UserError
from common.language import Sentence, _, joined, n_
from common.paths import LOCAL_OWNER, home
from common.words import duration
from data.test_sets import find_test_set
from evaluation.experiments.arms import ONE_RATE, Arm, arms_of, data_of, has_one_rate, needs_rate, train_config
from evaluation.experiments.cells import read_cells
from evaluation.experiments.config import HELD_OUT, ExperimentConfig
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.facts import all_rows, checked_facts, facts_of_some
from evaluation.experiments.start import check_kept
from evaluation.experiments.start import resolve as resolve_experiment
from evaluation.pace import seconds_a_question
from evaluation.run import Evaluation, list_evaluations
from jobs.prices import MIN_MINUTES, Flavor
from jobs.prices import JobPlan as JobPlan
from models.base import shape_for
from models.hardware import find_hardware
from runs.config import TrainConfig
from runs.forecast.estimate import estimate_cost, memory_words
from runs.forecast.memory import TRAINED_BYTES
from runs.forecast.plan import DataFacts
from runs.forecast.presets import Forecast, forecast_each
from runs.resolve import ResolvedConfig, base_in_minute, resolve

START_SECONDS = 8.0  # of a process until its first step or answer, on two CPU cores: benchmarks/results/bench.md
SEARCH = " search"  # after the id of an arm, which has no spaces: the forecast of a training for its learning rate


@dataclass(frozen=True)
class ExperimentPlan:
    """What is to be done, and what it takes: `runs` of cells, `searches` are the trainings for learning rates.

    `seconds` are None while the size of the base is not known, `dollars` where no price is. `problems` prevent a
    start, `notes` do not.
    """

    runs: int
    searches: int
    evaluations: int
    seconds: float | None
    dollars: float | None
    problems: list[Sentence]
    notes: list[Sentence]
    words: Sentence


class Work(NamedTuple):
    """What is to be done of one arm, and the seconds that its trainings took which are done."""

    arm: Arm
    searches: int
    runs: int
    evaluations: int
    took: tuple[float, ...] = ()


def plan(
    config: ExperimentConfig, owner: str = LOCAL_OWNER, facts: DataFacts | None = None, machine: Flavor | None = None
) -> ExperimentPlan:
    """Plan an experiment that `owner` may start; what is wrong with it is among the problems, nothing is raised.

    `facts` of its data spare the check of it, which takes seconds. With a `machine` its runs are jobs there.
    """
    try:
        config.check()
        stops = []
        try:
            config = config if machine else resolve_experiment(config, owner, choose=base_in_minute)
            check_kept(owner, config)
        except UserError as error:
            stops.append(joined([error.message, error.hint]))
        shared = TrainConfig.from_dict({name: one for name, one in config.settings.items() if name != "method"})
        first = data_of(config)[0]
        whole = facts or checked_facts(replace(shared.data_settings(), data=first))
        rows = min(all_rows(whole), shared.max_rows or all_rows(whole))
        held_out, validation = (round(rows * part) for part in (config.test_fraction, config.validation_fraction))
        asked = _count_questions(config, owner, held_out)
    except UserError as error:
        words = joined([error.message, error.hint])
        return ExperimentPlan(0, 0, 0, None, None, [words], [], words)

    def facts_of(settings: TrainConfig) -> DataFacts:
        is_first = settings.data == first  # rows of no other one are held out
        found = facts if facts and is_first and not settings.text_data else checked_facts(settings.data_settings())
        rows = min(all_rows(found), shared.max_rows or all_rows(found))
        return facts_of_some(found, rows - is_first * (held_out + validation), validation, settings.max_rows)

    seeds = len(config.seeds)
    work = [
        Work(arm, needs_rate(config, arm) * len(config.rates), arm.is_trained * seeds, seeds if arm.is_trained else 1)
        for arm in arms_of(config)
    ]
    found = _plan(config, owner, work, facts_of, asked, list_evaluations(owner), machine)
    return replace(found, problems=[*dict.fromkeys([*found.problems, *stops])])


def plan_left(experiment: Experiment) -> ExperimentPlan:
    """Plan what is not done of an experiment that was started; what failed is tried again. Raises UserError."""
    config, cells, searches = experiment.config(), read_cells(experiment), experiment.searches()
    split, versions = experiment.split(), experiment.asked.versions()
    if split is None or versions is None:
        return plan(config, experiment.owner)

    def facts_of(settings: TrainConfig) -> DataFacts:
        rows, texts = split["train"][settings.data], split["texts"].get(settings.text_data or "")
        text_data = str(experiment.data_folder / texts["file"]) if texts else None
        data = str(experiment.data_folder / rows["file"])
        reading = {"columns": "", "data_config": None, "data_split": "train", "data_revision": None}  # that is done
        found = checked_facts(replace(settings.data_settings(), data=data, text_data=text_data, **reading))
        return facts_of_some(found, rows["rows"], split["validation"]["rows"], settings.max_rows)

    work = []
    for arm in arms_of(config):
        own = [cell for cell in cells if cell.arm.id == arm.id]
        left = [cell for cell in own if cell.status != "done"]
        search = searches.get(arm.id)
        is_found = not needs_rate(config, arm) or (search is not None and search["chosen"] is not None)
        tried = [loss for loss in search["losses"].values() if loss is not None] if search else []
        work.append(
            Work(
                arm,
                searches=0 if is_found else len(config.rates) - len(tried),
                runs=sum(arm.is_trained and cell.seconds is None for cell in left),
                evaluations=len(left),
                took=tuple(cell.seconds for cell in own if cell.seconds is not None),
            )
        )
    asked = sum(one["asked"] for one in versions["test_sets"].values())
    evaluations = [cell.evaluation for cell in cells if cell.status == "done"] + list_evaluations(experiment.owner)
    return _plan(config, experiment.owner, work, facts_of, asked, evaluations, None)


def _plan(
    config: ExperimentConfig,
    owner: str,
    work: list[Work],
    facts_of: Callable[[TrainConfig], DataFacts],
    asked: int,
    evaluations: Iterable[Evaluation],
    machine: Flavor | None,
) -> ExperimentPlan:
    """Put together what is to be done and what each of it takes; each evaluation asks `asked` questions."""
    hardware = machine.hardware() if machine else find_hardware()
    wanted, problems = _wanted(config, work, facts_of, machine)
    forecasts: dict[str, Forecast] = {}
    for base in {made.base.choice: made.base for made, _facts in wanted.values()}.values():
        alike = {name: (made.config, facts) for name, (made, facts) in wanted.items() if made.base == base}
        forecasts |= forecast_each(alike, base, hardware, owner)
    for one in work:
        if (found := forecasts.get(one.arm.id)) and not found.memory.fits:
            needs = memory_words(found.memory, hardware.has_gpu)
            problems.append(_("{arm}: {problem}", arm=one.arm.name, problem=needs))
    searches, runs, evaluated = (sum(counts) for counts in zip(*(one[1:4] for one in work), strict=True))
    if config.keep_weights:
        problems += _disk_problems((wanted[one.arm.id][0], one.runs) for one in work if one.arm.id in wanted)
    base = next((made.base.choice for made, _facts in wanted.values()), str(config.settings.get("base", "")))
    each = seconds_a_question(evaluations, base)
    seconds = dollars = None
    parts = [_work_words(runs, searches, evaluated)]
    if all(one.arm.id in forecasts for one in work if one.arm.is_trained):
        trainings = _seconds(work, forecasts)
        cards = 1 if machine else max(1, len(hardware.gpus))  # a training takes one; evaluations take turns
        longest = max(trainings, default=0.0)
        seconds = max(sum(trainings) / min(config.parallel or cards, cards), longest)
        seconds += evaluated * (START_SECONDS + asked * (each or 0.0))
        parts.append(_("That takes about {time}.", time=duration(seconds)))
        if machine:
            jobs = [JobPlan(machine, math.ceil(took / 60) + MIN_MINUTES) for took in trainings]
            dollars = sum(job.most_dollars for job in jobs)
            words = _(
                "As jobs on {machine} the runs cost ${dollars:.2f} at most.", machine=machine.name, dollars=dollars
            )
            parts.append(words)
        elif paid := estimate_cost(seconds, hardware):
            dollars = paid.dollars
            parts.append(_("It costs about {cost}.", cost=paid.sentence()))
    largest = max((one.memory for one in forecasts.values()), key=lambda memory: memory.total, default=None)
    parts += [memory_words(largest, hardware.has_gpu)] if largest else []
    words = joined(parts) if runs + searches + evaluated else _("Nothing is left to do.")
    notes = _notes(config, forecasts, each)
    return ExperimentPlan(runs, searches, evaluated, seconds, dollars, problems, notes, words)


def _wanted(
    config: ExperimentConfig, work: list[Work], facts_of: Callable[[TrainConfig], DataFacts], machine: Flavor | None
) -> tuple[dict[str, tuple[ResolvedConfig, DataFacts]], list[Sentence]]:
    """Return what is trained, on which rows, by arm, and by arm with `SEARCH` for its rate; and what prevents it."""
    wanted, problems = {}, []
    for one in work:
        if not one.arm.is_trained:
            continue
        try:
            made = _resolved(train_config(one.arm, config.seeds[0]), machine)
            facts = facts_of(made.config)
        except UserError as error:
            problem = joined([error.message, error.hint])
            problems.append(_("{arm}: {problem}", arm=one.arm.name, problem=problem))
            continue
        wanted[one.arm.id] = made, facts
        if one.searches:
            steps = config.rate_steps or made.config.max_steps
            wanted[one.arm.id + SEARCH] = replace(made, config=replace(made.config, max_steps=steps)), facts
    return wanted, problems


def _resolved(config: TrainConfig, machine: Flavor | None) -> ResolvedConfig:
    """Resolve for this machine, or for a job on another one, which has none of its limits. Raises UserError."""
    if machine is None:
        return resolve(config, base_in_minute)
    config.check()
    if not config.makes_adapter:
        words = _("A job sends home an adapter, and the method {method} makes a whole model.", method=config.method)
        raise UserError(words, _("Choose the method lora, or train here."))
    base = base_in_minute(config.base, config.base_revision)
    return ResolvedConfig(replace(config, num_processes=max(1, machine.gpus)), base, machine.hardware())


def _disk_problems(runs: Iterable[tuple[ResolvedConfig, int]]) -> list[Sentence]:
    """Say when the disk could not keep the models of so many runs of each; adapters are small."""
    shapes = [(shape_for(made.base), count) for made, count in runs if not made.config.makes_adapter]
    needed = sum(TRAINED_BYTES * shape.parameters * count for shape, count in shapes if shape)
    if needed <= (free := shutil.disk_usage(home()).free):
        return []
    words = _(
        "The models take {size:.1f} GB of disk space; {free:.1f} GB are free.", size=needed / 1e9, free=free / 1e9
    )
    return [joined([words, _("Keep no weights, or free some space.")])]


def _seconds(work: list[Work], forecasts: Mapping[str, Forecast]) -> list[float]:
    """Return the seconds of every training that is left.

    An arm takes what its trainings took so far, others what is forecast, as much longer or shorter as it was so far.
    """
    forecast = {name: START_SECONDS + one.seconds for name, one in forecasts.items()}
    expected = sum(forecast[one.arm.id] * len(one.took) for one in work if one.took)
    ratio = sum(sum(one.took) for one in work) / expected if expected else 1.0
    found = []
    for one in work:
        found += [ratio * forecast[one.arm.id + SEARCH]] * one.searches if one.searches else []
        found += [mean(one.took) if one.took else ratio * forecast[one.arm.id]] * one.runs if one.runs else []
    return found


def _notes(config: ExperimentConfig, forecasts: Mapping[str, Forecast], each: float | None) -> list[Sentence]:
    """Return what is good to know before the start."""
    notes = []
    if has_one_rate(config):
        notes.append(joined([ONE_RATE, _("Enter learning rates to search.")]))
    if not all(one.is_measured for one in forecasts.values()):
        notes.append(_("The time is estimated from the size of the model, right to about a factor of two."))
    if each is None:
        notes.append(_("How long an evaluation takes on this GPU is known after the first; it is not counted yet."))
    return notes


def _work_words(runs: int, searches: int, evaluations: int) -> Sentence:
    """Return '18 runs, 30 runs for learning rates, 19 evaluations.'"""
    counted = [
        n_("{count:,} run", "{count:,} runs", runs) if runs else "",
        n_("{count:,} run for learning rates", "{count:,} runs for learning rates", searches) if searches else "",
        n_("{count:,} evaluation", "{count:,} evaluations", evaluations) if evaluations else "",
    ]
    return _("{work}.", work=joined(counted, ", "))


def _count_questions(config: ExperimentConfig, owner: str, held_out: int) -> int:
    """Count the questions of one evaluation, with so many rows held out. Raises UserError."""
    sizes = [held_out if name == HELD_OUT else find_test_set(name, owner).rows for name in config.test_sets]
    return sum(min(size, config.max_items or size) for size in sizes)
