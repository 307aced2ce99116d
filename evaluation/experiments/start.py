"""Starts, resumes and deletes experiments. Light: no torch; all that takes long is done in a process of its own.

What is compared is checked here, once, arm by arm, as the start of a run checks it; the base that was chosen stands in
config.yaml: all arms have the same one, now and after a resume.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from common.errors import UserError
from common.files import write_text
from common.language import _, n_
from common.limits import limit
from common.mix import with_whole_paths
from common.paths import LOCAL_OWNER, as_title, experiments_folder
from evaluation.asked import check_test_set
from evaluation.background import check_turn as check_turn_of
from evaluation.background import delete_work, has_ended, make_and_start, request_stop, start_process
from evaluation.experiments.arms import Arm, arms_of, cells_of, train_config
from evaluation.experiments.config import HELD_OUT, ExperimentConfig, Scalar
from evaluation.experiments.experiment import Experiment, all_experiments, list_experiments
from models.base import AUTO, Base, choose_base
from models.hardware import find_gpus, on_zero_gpu
from runs.disk import check_room_on_disk
from runs.history import remove
from runs.labels import labels_of
from runs.limits import limits
from runs.queue import lock, stop
from runs.resolve import resolve as resolve_run
from runs.run import list_runs

PRECISION = "bf16"  # on a GPU, where weights of the base itself are trained


def start(config: ExperimentConfig, owner: str = LOCAL_OWNER, prepared: Path | None = None) -> Experiment:
    """Make an experiment's folder, start its process, and return at once. Raises UserError, leaving nothing.

    `prepared` has the folders `data` and `asked` of an experiment, which are taken as they are: the rows are split already.
    """
    if on_zero_gpu():
        words = _("Experiments need a GPU of their own, which ZeroGPU does not have.")
        raise UserError(words, _("Use a Space with a GPU, or your own machine."))
    config = resolve(config, owner, has_questions=prepared is not None)
    check_kept(owner, config)
    check_room_on_disk(owner)

    def fill(folder: Path) -> None:
        for name in ("data", "asked") if prepared else ():
            # files are as new as the experiment: runs from before are not of it
            shutil.copytree(f"{prepared}/{name}", folder / name, copy_function=shutil.copyfile)

    root = experiments_folder(owner)
    return make_and_start(Experiment, root, config.title, config.to_yaml(), lambda: check_turn(owner), fill)


def resolve(
    config: ExperimentConfig,
    owner: str = LOCAL_OWNER,
    has_questions: bool = False,
    choose: Callable[[str, str | None], Base] = choose_base,
) -> ExperimentConfig:
    """Check every arm as the start of a run does, and `choose` the base. Raises UserError for the first that cannot start.

    With `has_questions` the test sets need not be there: what they ask is kept already. Where weights of the base itself are
    trained on a GPU, all arms that name no precision compute in bf16: else methods would be compared in different ones.
    """
    config.check()
    for name in config.test_sets:
        if name != HELD_OUT and not has_questions:
            check_test_set(name, owner)
    choose = cache(choose)
    base = choose(str(config.settings.get("base") or AUTO), config.settings.get("base_revision") or None)
    settings = {**config.settings, "base": base.choice, "base_revision": base.revision}
    if find_gpus() and any(arm.method in ("last-n", "full") for arm in arms_of(config)):
        settings["precision"] = PRECISION if settings.get("precision") in (None, "auto") else settings["precision"]
    config = replace(config, settings=settings, max_items=_capped(config.max_items))
    config = config if has_questions else _with_places(config)
    for arm in arms_of(config):
        if arm.is_trained:
            _check_arm(arm, choose)
    names = ", ".join(arm.name for arm in arms_of(config))
    return replace(config, title=config.title or as_title(names))


def _check_arm(arm: Arm, choose: Callable[[str, str | None], Base]) -> None:
    """Raise UserError, with the arm's name, when a run of it could not start here."""
    try:
        resolve_run(train_config(arm, seed=0), choose)
    except UserError as error:
        raise UserError(_("{arm}: {problem}", arm=arm.name, problem=error.message), error.hint) from error


def _capped(wanted: int) -> int:
    """Return the questions of each test set within this machine's limit. Raises UserError for more."""
    most = limits().rows
    if most and wanted > most:
        words = _("{value:,} is too high; the maximum on this machine is {limit:,}.", value=wanted, limit=most)
        raise UserError(_("{setting}: {problem}", setting="max_items", problem=words))
    return wanted or most


def _with_places(config: ExperimentConfig) -> ExperimentConfig:
    """Return `config` with whole paths in the place of files' names: its process works in another folder."""

    def place(name: str, value: Scalar) -> Scalar:
        is_line = name in ("data", "text_data") and isinstance(value, str)
        return with_whole_paths(value) if is_line else value

    def places(settings: dict[str, Scalar]) -> dict[str, Scalar]:
        return {name: place(name, value) for name, value in settings.items()}

    vary = {name: [place(name, value) for value in values] for name, values in config.vary.items()}
    return replace(config, settings=places(config.settings), vary=vary, arms=[*map(places, config.arms)])


def resume(experiment: Experiment) -> None:
    """Go on where it stopped, also with cells that failed, and return at once. Raises UserError while it is running."""
    _go_on(experiment, lambda: None)


def add_seeds(experiment: Experiment, seeds: list[int]) -> None:
    """Add seeds and go on: what is there stays as it is. Raises UserError while it is running, and for seeds that are there."""
    config = experiment.config()
    more = replace(config, seeds=[*config.seeds, *seeds])
    more.check()
    check_kept(experiment.owner, more, experiment)
    _go_on(experiment, lambda: write_text(experiment.config_file, more.to_yaml()))


def _go_on(experiment: Experiment, change: Callable[[], None]) -> None:
    experiment.config()  # that it can be read
    with lock():
        if not has_ended(experiment):
            raise _running(experiment)
        check_room_on_disk(experiment.owner)
        check_turn(experiment.owner)
        change()
        start_process(experiment)


def _running(experiment: Experiment) -> UserError:
    return UserError(_("The experiment '{name}' is running.", name=experiment.id), _("Stop it first."))


def delete_experiment(experiment: Experiment) -> None:
    """Delete an experiment with its runs and what they have learned, for good. Raises UserError while it is running."""
    if not has_ended(experiment):
        raise _running(experiment)
    runs = [run for run in list_runs(experiment.owner) if labels_of(run).experiment.startswith(f"{experiment.id}/")]
    evaluations = [experiment.evaluation(folder.name) for folder in experiment.cells_folder.glob("*")]
    for run in runs:
        if run.is_queued() or run.is_alive():
            stop(run)
    for evaluation in evaluations:
        if evaluation.is_alive():
            request_stop(evaluation)
    if any(run.is_queued() or run.is_alive() for run in runs) or any(one.is_alive() for one in evaluations):
        raise UserError(
            _("A training or evaluation of '{name}' is ending.", name=experiment.id), _("Try again in a moment.")
        )
    for run in runs:
        remove(run)
    delete_work(experiment)


def check_kept(owner: str, config: ExperimentConfig, known: Experiment | None = None) -> None:
    """Raise UserError when `owner` keeps as many experiments as STUDIO_MAX_KEPT_EXPERIMENTS allows, or would too many runs."""
    most, kept = limit("STUDIO_MAX_KEPT_EXPERIMENTS", 10), len(list_experiments(owner))
    if most and not known and kept >= most:
        words = n_(
            "You have {count} experiment; at most {limit} are allowed here.",
            "You have {count} experiments; at most {limit} are allowed here.",
            kept,
            limit=most,
        )
        raise UserError(words, _("Delete old experiments."))
    own = f"{known.id}/" if known else "/"
    runs = [run for run in list_runs(owner) if not labels_of(run).experiment.startswith(own)]
    more = sum(seed is not None for _arm, seed in cells_of(config))
    if limits().kept_runs and len(runs) + more > limits().kept_runs:
        words = _(
            "This needs {count:,} runs, and you have {kept:,}; at most {limit:,} are allowed here.",
            count=more,
            kept=len(runs),
            limit=limits().kept_runs,
        )
        raise UserError(words, _("Delete old runs and experiments, or compare fewer arms or seeds."))


def check_turn(owner: str) -> None:
    """Raise UserError when `owner` has to wait: STUDIO_MAX_EXPERIMENTS_PER_USER."""
    check_turn_of(
        owner,
        all_experiments,
        Experiment,
        limit("STUDIO_MAX_EXPERIMENTS_PER_USER", 1),
        lambda count: n_(
            "{count} experiment is under way here, the maximum.",
            "{count} experiments are under way here, the maximum.",
            count,
        ),
        lambda most: n_(
            "{limit} experiment of yours, or of all guests together, is under way, the maximum here.",
            "{limit} experiments of yours, or of all guests together, are under way, the maximum here.",
            most,
            limit=most,
        ),
    )
