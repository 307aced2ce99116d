"""One evaluation as a folder, and what can be read from it. Light: no torch, no scipy.

    evaluations/<owner>/<id>/config.yaml     the settings, with the base that was chosen
                             items/          a copy of what is asked, one file for each test set; shots.jsonl, where there is
                                             one, is shown to the few-shot prompt in the place of rows of the test set
                             results/<test set>/<candidate>.jsonl    appended one by one
                             versions.json   packages, base, fingerprints of test sets and adapters
                             table.json      scores with intervals, once it has ended
                             rows.json       where candidates differ most, by test set and score
                             progress.json   what it does now, or how it ended
                             process.json    who computes: process id and its start time
                             evaluation.log  everything it printed
                             stop            exists when a person asked it to stop

Whoever dies, nothing is lost: what was answered is not asked again when it is resumed.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypedDict, cast, get_args

from adapters.library import find_adapter
from common.errors import UserError
from common.files import read_object, write_json
from common.language import Sentence, _, packed, unpacked
from common.paths import LOCAL_OWNER, contained, evaluations_folder, is_name
from data.test_sets import Kind
from evaluation.config import ADAPTER, BASE, FEW_SHOT, EvaluationConfig
from runs.processes import is_running
from runs.run import UNFINISHED, settings_written_at

Status = Literal["waiting", "running", "done", "stopped", "failed", "interrupted"]
UNDER_WAY: tuple[Status, ...] = ("waiting", "running")
PREPARING = _("Preparing")
GO_ON = _("The results so far are kept. Press 'Resume evaluation' to go on.")
MAX_PROGRESS_BYTES = 100_000
MAX_VERSIONS_BYTES = 1_000_000


class AskedTestSet(TypedDict):
    """One test set as an evaluation asks it: `asked` of its `rows`, less those that stand in the training data."""

    title: str
    kind: Kind
    labels: list[str]
    fingerprint: str  # sha256 over all rows
    dataset: str  # on the Hub, at the commit `revision`; both "" where it is from elsewhere
    revision: str
    rows: int
    asked: int
    exact: int  # rows left out that stand in the training data of a candidate
    near: int  # rows left out that nearly do
    shots: list[int]  # numbers of the rows that the few-shot prompt shows, where they are taken from it: not asked


class Versions(TypedDict):
    """What an evaluation was made with: what must be the same when it goes on, and when two are compared."""

    base: str
    base_revision: str
    adapters: dict[str, str]  # by name, the sha256 of the weights and their settings
    unknown_data: list[str]  # titles of adapters whose training rows are not here: none could be left out for them
    test_sets: dict[str, AskedTestSet]
    packages: dict[str, str]
    seed: int


@dataclass(frozen=True)
class Progress:
    """What an evaluation does now, or how it ended; `done` of `total` results are there, None where it is not known yet."""

    status: Status = "running"
    activity: str = PREPARING
    done: int = 0
    total: int | None = None
    eta_seconds: float | None = None
    message: str = ""
    hint: str = ""

    @property
    def is_running(self) -> bool:
        """Whether it waits or computes."""
        return self.status in UNDER_WAY

    @property
    def fraction(self) -> float | None:
        """The part of the results that is there, from 0 to 1; None before it is known how many there will be."""
        return self.done / self.total if self.total else None


@dataclass(frozen=True)
class Background:
    """A folder below its owner's in which a process of its own computes: `module`, with the folder behind `--kind`.

    `killed` says what happened when the process said no last word, `go_on` what to do then.
    """

    folder: Path
    module: ClassVar[str]
    kind: ClassVar[str]
    killed: ClassVar[Sentence]
    go_on: ClassVar[Sentence]

    @property
    def id(self) -> str:
        """The name of the folder."""
        return self.folder.name

    @property
    def owner(self) -> str:
        """The name of the folder that holds all folders of one owner."""
        return self.folder.parent.name

    config_file = property(lambda self: self.folder / "config.yaml")
    progress_file = property(lambda self: self.folder / "progress.json")
    process_file = property(lambda self: self.folder / "process.json")
    log_file = property(lambda self: self.folder / f"{self.kind}.log")
    stop_file = property(lambda self: self.folder / "stop")

    def is_alive(self) -> bool:
        """Return whether its process is running, or is being started."""
        marks = read_object(self.process_file).values()
        return any(is_running(mark) for mark in marks if isinstance(mark, Mapping))

    def write_progress(self, progress: Progress) -> None:
        """Replace what is known of it in one step; readers get the sentences in their own language."""
        write_json(self.progress_file, packed(asdict(progress)))


@dataclass(frozen=True)
class Evaluation(Background):
    """An evaluation's folder, with one name for every file in it."""

    module = "evaluation.process"
    kind = "evaluation"
    killed = _("The evaluation ended without a message: it was killed, or the machine was restarted.")
    go_on = GO_ON

    items_folder = property(lambda self: self.folder / "items")
    results_folder = property(lambda self: self.folder / "results")
    shots_file = property(lambda self: self.items_folder / "shots.jsonl")
    versions_file = property(lambda self: self.folder / "versions.json")
    table_file = property(lambda self: self.folder / "table.json")
    rows_file = property(lambda self: self.folder / "rows.json")

    def config(self) -> EvaluationConfig:
        """Read the settings. Raises UserError when they cannot be read."""
        return EvaluationConfig.from_yaml(self.config_file)

    def items_file(self, test_set: str) -> Path:
        """Return where a copy of what is asked of a test set lies, one item a line."""
        return contained(self.items_folder, f"{_file_name(test_set)}.jsonl")

    def results_file(self, test_set: str, candidate: str) -> Path:
        """Return where the results of a candidate lie, one `Result` a line; lines of one item add up."""
        return contained(self.results_folder, _file_name(test_set), f"{_file_name(candidate)}.jsonl")

    def versions(self) -> Versions | None:
        """Return what it was made with; None before its process has read the test sets."""
        found = unpacked(read_object(self.versions_file, MAX_VERSIONS_BYTES))
        return cast(Versions, found) if isinstance(found.get("test_sets"), dict) else None

    def known(self) -> Versions:
        """Return what it was made with. Raises UserError before its process has read the test sets."""
        if found := self.versions():
            return found
        raise UserError(_("The evaluation '{name}' has asked nothing yet.", name=self.id), _("Wait, or resume it."))


def _file_name(name: str) -> str:
    """Return the name of a candidate or test set as a file's: what `contained` takes, and no two alike."""
    return name.replace(":", ".")


def read_progress(work: Background) -> Progress:
    """Return what it does now, or how it ended; one without a process that said no last word was interrupted."""
    alive = work.is_alive()  # first: one that ends meanwhile has written its last word
    found = unpacked(read_object(work.progress_file, MAX_PROGRESS_BYTES))
    is_known = found.get("status") in get_args(Status) and {*found} == {*Progress.__dataclass_fields__}
    progress = Progress(**found) if is_known else Progress()
    if not progress.is_running or alive:
        return progress
    if not work.folder.exists():
        return Progress("stopped", "", message=_("It was deleted."))
    return Progress("interrupted", "", progress.done, progress.total, None, work.killed, work.go_on)


def candidate_title(candidate: str, owner: str) -> str:
    """Return what a candidate is called: an adapter by its title, or by its name once it is deleted."""
    if not candidate.startswith(ADAPTER):
        return {BASE: _("Base"), FEW_SHOT: _("Base with examples")}.get(candidate, candidate)
    try:
        return find_adapter(candidate.removeprefix(ADAPTER), owner).title
    except UserError:
        return candidate.removeprefix(ADAPTER)


def find_evaluation(id: str, owner: str = LOCAL_OWNER) -> Evaluation:
    """Return the evaluation of `owner` with this id. Raises UserError when there is none."""
    evaluation = Evaluation(contained(evaluations_folder(owner), id))
    if id.endswith(UNFINISHED) or settings_written_at(evaluation.folder) is None:
        words = _("There is no evaluation '{name}'.", name=id)
        raise UserError(words, _("`python -m evaluation list` shows all evaluations."))
    return evaluation


def list_evaluations(owner: str = LOCAL_OWNER) -> list[Evaluation]:
    """Return all evaluations of `owner`, the newest first."""
    return [Evaluation(folder) for folder in folders_with_settings(evaluations_folder(owner))]


def folders_with_settings(root: Path) -> list[Path]:
    """Return the folders in `root` that are whole, the one whose settings were written last first."""
    names = [name for name in os.listdir(root) if is_name(name)] if root.is_dir() else []
    folders = [root / name for name in names if not name.endswith(UNFINISHED)]
    dated = [(at, folder) for folder in folders if (at := settings_written_at(folder)) is not None]
    return [folder for at, folder in sorted(dated, reverse=True)]


def all_evaluations() -> list[Evaluation]:
    """Return the evaluations of everyone on this machine."""
    return [one for owner in owners_in(evaluations_folder().parent) for one in list_evaluations(owner)]


def owners_in(root: Path) -> list[str]:
    """Return everyone who has a folder in `root`."""
    return [found.name for found in root.glob("*") if is_name(found.name)]
