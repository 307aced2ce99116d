"""One experiment as a folder, and what can be read from it. Light: no torch, no scipy.

    experiments/<owner>/<id>/config.yaml    the settings, with the base that was chosen
                             data/          train.jsonl, validation.jsonl, held-out.jsonl, texts; split.json says what they are
                             asked/         what every cell is asked: items/, a file for each test set, and versions.json
                             rates.json     what the search for learning rates has found, by arm
                             cells/<cell>/  cell.json: its run, or why there is none; evaluations/<owner>/<cell>/
                             results/       table, figures, methods paragraph
                             progress.json  what it does now, or how it ended
                             process.json   who works on it
                             experiment.log everything it printed
                             stop           exists when a person asked it to stop

Nothing else is known of it: whoever dies, it goes on from what lies there.
"""

from dataclasses import dataclass, field
from typing import Literal, TypedDict, cast

from common.errors import UserError
from common.files import read_object
from common.language import _, unpacked
from common.paths import LOCAL_OWNER, contained, experiments_folder
from evaluation.experiments.arms import Arm
from evaluation.experiments.config import ExperimentConfig
from evaluation.run import Background, Evaluation, folders_with_settings, owners_in
from runs.events import Metrics
from runs.run import UNFINISHED, settings_written_at

Status = Literal["waiting", "searching", "training", "evaluating", "done", "failed", "stopped", "interrupted"]
GO_ON = _("The results so far are kept. Press 'Resume experiment' to go on.")
MAX_SPLIT_BYTES = MAX_RATES_BYTES = 1_000_000


class Rows(TypedDict):
    """A file of rows in the data folder, with the SHA-256 over it."""

    file: str
    rows: int
    fingerprint: str


class Split(TypedDict):
    """How the data was split, once. Rows to train on that say nearly what a held-out or validation row says are `left_out`."""

    train: dict[str, Rows]  # by the value of `data` in the settings of arms
    texts: dict[str, Rows]  # by the value of `text_data`
    validation: Rows
    held_out: Rows
    left_out: int
    notes: list[str]


class Search(TypedDict):
    """The search for the learning rate of one arm: the loss on the validation rows by rate, and the rate that was chosen.

    A training that failed, as one whose loss is no number does, has None; so has an arm of which all failed.
    """

    losses: dict[str, float | None]
    chosen: float | None


@dataclass(frozen=True)
class Cell:
    """An arm with a seed (None where nothing is trained): how far it is, and its evaluation, which may not be there yet.

    `message` says what it does, or why it failed. `seconds` and `metrics` are those of its training, once that is done.
    """

    arm: Arm
    seed: int | None
    status: Status
    message: str
    seconds: float | None
    evaluation: Evaluation
    metrics: Metrics = field(default_factory=Metrics)

    @property
    def id(self) -> str:
        """The name of its folder."""
        return self.evaluation.id


@dataclass(frozen=True)
class Experiment(Background):
    """An experiment's folder, with one name for every file in it."""

    module = "evaluation.experiments.process"
    kind = "experiment"
    killed = _("The experiment ended without a message: it was killed, or the machine was restarted.")
    go_on = GO_ON

    data_folder = property(lambda self: self.folder / "data")
    split_file = property(lambda self: self.folder / "data" / "split.json")
    asked = property(lambda self: Evaluation(self.folder / "asked"))  # without candidates
    items_folder = property(lambda self: self.asked.items_folder)
    versions_file = property(lambda self: self.asked.versions_file)
    rates_file = property(lambda self: self.folder / "rates.json")
    cells_folder = property(lambda self: self.folder / "cells")
    results_folder = property(lambda self: self.folder / "results")

    def config(self) -> ExperimentConfig:
        """Read the settings. Raises UserError when they cannot be read."""
        return ExperimentConfig.from_yaml(self.config_file)

    def split(self) -> Split | None:
        """Return how the data was split; None before its process has done it."""
        found = unpacked(read_object(self.split_file, MAX_SPLIT_BYTES))
        is_whole = {*found} == {*Split.__annotations__} and isinstance(found["train"], dict)
        return cast(Split, found) if is_whole else None

    def known_split(self) -> Split:
        """Return how the data was split. Raises UserError before its process has done it."""
        if found := self.split():
            return found
        raise UserError(_("The experiment '{name}' has not read its data yet.", name=self.id), _("Wait, or resume it."))

    def searches(self) -> dict[str, Search]:
        """Return what the search for learning rates has found so far, by arm id."""
        found = read_object(self.rates_file, MAX_RATES_BYTES)
        return {arm: cast(Search, one) for arm, one in found.items() if _is_search(one)}

    def evaluation(self, cell: str) -> Evaluation:
        """Return the evaluation of the cell with this id; its folder need not be there."""
        return Evaluation(contained(self.cells_folder, cell, "evaluations", self.owner, cell))


def _is_search(value: object) -> bool:
    """Return whether a value of a file that may be damaged is what a search has found."""
    if not isinstance(value, dict) or not isinstance(value.get("losses"), dict):
        return False
    return all(one is None or isinstance(one, int | float) for one in (value.get("chosen"), *value["losses"].values()))


def find_experiment(id: str, owner: str = LOCAL_OWNER) -> Experiment:
    """Return the experiment of `owner` with this id. Raises UserError when there is none."""
    experiment = Experiment(contained(experiments_folder(owner), id))
    if id.endswith(UNFINISHED) or settings_written_at(experiment.folder) is None:
        words = _("There is no experiment '{name}'.", name=id)
        raise UserError(words, _("`python -m evaluation.experiments list` shows all experiments."))
    return experiment


def list_experiments(owner: str = LOCAL_OWNER) -> list[Experiment]:
    """Return all experiments of `owner`, the newest first."""
    return [Experiment(folder) for folder in folders_with_settings(experiments_folder(owner))]


def all_experiments() -> list[Experiment]:
    """Return the experiments of everyone on this machine."""
    return [one for owner in owners_in(experiments_folder().parent) for one in list_experiments(owner)]
