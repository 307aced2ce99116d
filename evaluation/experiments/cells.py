"""The cells of an experiment, arms times seeds: how far each is, by its files; its run and its evaluation, made of them."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, cast

from adapters.library import find_adapter
from common.errors import UserError
from common.files import read_object, write_json, write_text
from common.language import _, joined, packed, unpacked
from common.paths import contained
from data.sampling import draw
from evaluation.asked import digest_of
from evaluation.config import ADAPTER, BASE, FEW_SHOT, EvaluationConfig
from evaluation.experiments.arms import Arm, cells_of, needs_rate, train_config
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Cell, Experiment, Status
from evaluation.experiments.prepare import VALIDATION_FILE, read_rows, write_rows
from evaluation.run import Evaluation, read_progress
from models.base import AUTO, choose_base
from runs.config import TrainConfig
from runs.events import Metrics
from runs.labels import EXPERIMENT, MAX_TITLE, Labels, labels_of
from runs.limits import limits
from runs.queue import launch
from runs.run import UNFINISHED, Run, find_run, list_runs, read_state, settings_written_at

MAX_RECORD_BYTES = 1_000_000
# what the status of its evaluation, or of its run, says of a cell; a run that is done waits to be evaluated
BY_EVALUATION: dict[str, Status] = {
    "waiting": "evaluating",
    "running": "evaluating",
    "done": "done",
    "stopped": "stopped",
}
BY_EVALUATION |= {"failed": "failed", "interrupted": "interrupted"}
BY_RUN: dict[str, Status] = {"queued": "waiting", "done": "waiting", "stopped": "stopped", "interrupted": "interrupted"}
BY_RUN |= {"preparing": "training", "training": "training", "evaluating": "training", "saving": "training"}
BY_RUN |= {"failed": "failed", "unreadable": "failed"}


class Record(TypedDict, total=False):
    """What cell.json keeps: its run, or why it has none; and once its scores are there, what its training said of itself."""

    run: str
    message: str
    metrics: Metrics


def cell_id(arm: Arm, seed: int | None) -> str:
    """Return the name of a cell's folder."""
    return arm.id if seed is None else f"{arm.id}.{seed}"


def read_cells(experiment: Experiment) -> list[Cell]:
    """Return all cells as they are now, in the order in which they are worked on. Raises UserError for damaged settings."""
    config, searches = experiment.config(), experiment.searches() if experiment.is_alive() else {}
    found = []
    for arm, seed in cells_of(config):
        is_searching = arm.id in searches and searches[arm.id].get("chosen") is None
        found.append(_read_cell(experiment, arm, seed, "searching" if is_searching else "waiting"))
    return found


def _read_cell(experiment: Experiment, arm: Arm, seed: int | None, untouched: Status) -> Cell:
    """Return a cell; `untouched` is its status before it has a run, or an evaluation."""
    id = cell_id(arm, seed)
    record, evaluation = read_record(experiment, id), experiment.evaluation(id)
    metrics, status, message = record.get("metrics", Metrics()), untouched, record.get("message", "")
    if evaluation.config_file.exists():
        progress = read_progress(evaluation)
        status, message = BY_EVALUATION[progress.status], joined([progress.activity, progress.message, progress.hint])
    elif run := run_of(experiment, record):
        state = read_state(run, with_curves=False)
        message = state.activity if state.is_running else joined([state.message, state.hint])
        status, metrics = BY_RUN[state.status], state.metrics
    if record.get("message") and status == "waiting":
        status, message = "failed", record["message"]
    return Cell(arm, seed, status, message, metrics.get("total_seconds"), evaluation, metrics)


def read_record(experiment: Experiment, id: str) -> Record:
    """Return what cell.json keeps of a cell, as far as it is whole; {} before there is anything."""
    found = unpacked(read_object(_record_file(experiment, id), MAX_RECORD_BYTES))
    kinds = {"run": str, "message": str, "metrics": dict}
    return cast(Record, {name: found[name] for name, kind in kinds.items() if isinstance(found.get(name), kind)})


def write_record(experiment: Experiment, id: str, record: Record) -> None:
    """Replace what is kept of a cell."""
    file = _record_file(experiment, id)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, packed(record))


def _record_file(experiment: Experiment, id: str) -> Path:
    return contained(experiment.cells_folder, id) / "cell.json"


def run_of(experiment: Experiment, record: Record) -> Run | None:
    """Return the run of a cell; None where it has none, or none any more."""
    try:
        return find_run(record.get("run", ""), experiment.owner)
    except UserError:
        return None


def run_at(experiment: Experiment, place: str) -> Run | None:
    """Return the run that was made for `place` in the experiment, though nobody may have written down which one it is.

    One from before the data was split is of another experiment that had this name.
    """
    made = experiment.split_file.stat().st_mtime_ns
    labelled = f"{experiment.id}/{place}"
    return next(
        (
            run
            for run in list_runs(experiment.owner)
            if labels_of(run).experiment == labelled and (settings_written_at(run.folder) or 0) >= made
        ),
        None,
    )


def rate_of(experiment: Experiment, arm: Arm) -> float | None:
    """Return the learning rate of the runs of an arm: from an earlier search, from this one, else its own or what runs have.

    None while the search has not found one.
    """
    config = experiment.config()
    if arm.id in config.found_rates:
        return config.found_rates[arm.id]
    if needs_rate(config, arm):
        search = experiment.searches().get(arm.id)
        return search.get("chosen") if search else None
    return train_config(arm, seed=0).learning_rate


def make_run(experiment: Experiment, place: str, arm: Arm, seed: int, rate: float | None, max_steps: int = 0) -> Run:
    """Queue the run of an arm with this seed and rate. Raises UserError, and NoRoom while it may not join."""
    title = _("{experiment}: {arm}, seed {seed}", experiment=experiment.config().title, arm=arm.name, seed=seed)
    labels = Labels(str(title)[:MAX_TITLE], "", (EXPERIMENT,), experiment=f"{experiment.id}/{place}")
    with tempfile.TemporaryDirectory(prefix="rows-", dir=experiment.folder) as folder:
        config = _with_data(experiment, train_config(arm, seed, rate), Path(folder))
        named = replace(config, name=f"{experiment.id}-{place}", max_steps=max_steps or config.max_steps)
        return launch(named, experiment.owner, labels)


def _with_data(experiment: Experiment, config: TrainConfig, folder: Path) -> TrainConfig:
    """Return `config` with the files of the split as its data; fewer rows are drawn with its seed, into `folder`.

    All validation rows are used, however few are trained on.
    """
    split, data = experiment.known_split(), experiment.data_folder
    rows = split["train"][config.data]
    file = data / rows["file"]
    if 0 < config.max_rows < rows["rows"]:
        drawn = (row for _number, row in draw(read_rows(file), rows["rows"], config.max_rows, f"{config.seed} rows"))
        file = folder / "train.jsonl"
        write_rows(file, drawn)
    text = str(data / split["texts"][config.text_data]["file"]) if config.text_data else None
    as_read = TrainConfig()  # what decided how the rows were read is done
    done = {name: getattr(as_read, name) for name in ("data_config", "data_split", "data_revision", "columns", "sheet")}
    files = {"data": str(file), "text_data": text, "eval_data": str(data / VALIDATION_FILE), "text_data_revision": None}
    return replace(config, **done, **files, max_rows=0)


def make_evaluation(experiment: Experiment, arm: Arm, seed: int | None, run: Run | None) -> Evaluation:
    """Make the folder of a cell's evaluation with a copy of what is asked. Raises UserError for an adapter that is gone."""
    id = cell_id(arm, seed)
    evaluation = experiment.evaluation(id)
    partial = Evaluation(evaluation.folder.with_name(f"{id}{UNFINISHED}"))
    shutil.rmtree(partial.folder, ignore_errors=True)
    partial.folder.mkdir(parents=True)
    config = _evaluation_config(experiment, arm, run)
    config = replace(config, title=f"{arm.name}, {seed}" if seed is not None else arm.name)
    adapters = {name: digest_of(find_adapter(name, experiment.owner)) for name in config.adapters()}
    of_base = {"base": config.base, "base_revision": config.base_revision}
    shutil.copytree(experiment.items_folder, partial.items_folder)
    write_json(partial.versions_file, read_object(experiment.versions_file) | of_base | {"adapters": adapters})
    write_text(partial.config_file, config.to_yaml())
    partial.folder.rename(evaluation.folder)
    return evaluation


def _evaluation_config(experiment: Experiment, arm: Arm, run: Run | None) -> EvaluationConfig:
    """Return what is evaluated: the base, with or without examples, the adapter of a run, or the model that it made."""
    config: ExperimentConfig = experiment.config()
    if run is None:
        revision = arm.settings.get("base_revision")
        base = choose_base(str(arm.settings.get("base") or AUTO), str(revision) if revision else None)
        named, found = (base.choice, base.revision), [FEW_SHOT if arm.method == "few-shot" else BASE]
    elif arm.method == "lora":
        trained = run.config()
        named, found = (trained.base, trained.base_revision), [f"{ADAPTER}{read_state(run, with_curves=False).adapter}"]
    else:
        named, found = (str(run.model_folder), None), [BASE]
    return EvaluationConfig(
        candidates=found,
        test_sets=config.test_sets,
        scores=config.scores,
        shots=config.shots,
        max_new_tokens=config.max_new_tokens,
        max_minutes=limits().minutes,
        seed=config.split_seed,
        precision=str(arm.settings.get("precision") or "auto"),
        base=named[0],
        base_revision=named[1] or "",
    )
