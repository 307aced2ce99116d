"""The runs of one owner over time: search, filters, order, comparison, and deleting with a way back.

What is deleted goes to the owner's `.trash`:

    runs/<owner>/.trash/<entry>/run/           the run's folder
                                adapter/       the adapter that came out of it, when the run was discarded
"""

import math
import shutil
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import psutil

from common.errors import UserError
from common.files import plain_value
from common.language import _
from common.mix import DataShare, as_text
from common.paths import LOCAL_OWNER, adapters_folder, as_title, contained, free_name, runs_folder
from common.trash import empty_trash, find_in_trash, list_trash, move_to_trash, take_back
from runs.config import ROWS, WRITTEN, TrainConfig, marked, named_in
from runs.events import Metrics
from runs.labels import EXPERIMENT, labels_of, title_of
from runs.machines.user_config import FILE as USER_FILE
from runs.processes import is_running
from runs.publish import came_out_of, place_of
from runs.queue import cancel, lock
from runs.run import UNFINISHED, Run, list_runs, read_state
from runs.state import STATUSES

MAX_DELETED = 10
DELETED_SECONDS = 86400.0
TERM_SECONDS, KILL_SECONDS = 3.0, 5.0
NEWEST, STARRED, BY_TITLE, BY_LOSS = ORDERS = ("newest", "starred", "title", "loss")


@dataclass(frozen=True)
class Deleted:
    """A deleted run that can be brought back: `entry` is what `undo_delete` takes."""

    entry: str
    run_id: str
    title: str


@dataclass(frozen=True)
class Row:
    """One setting or figure of several runs, in their order."""

    name: str
    values: list[Any]

    @property
    def differs(self) -> bool:
        """Whether the runs do not all have the same value."""
        return any(value != self.values[0] for value in self.values)


@dataclass(frozen=True)
class Comparison:
    """Several runs side by side; each list is in their order."""

    titles: list[str]
    settings: list[Row]
    losses: list[list[tuple[int, float]]]  # over all stages
    metrics: list[Metrics]


@dataclass(frozen=True)
class RunFilter:
    """Which runs a list shows, and in which order: those in which every word is found, with all of the tags."""

    words: str = ""
    tags: tuple[str, ...] = ()
    starred: bool = False
    order: str = NEWEST


EVERY_RUN = RunFilter()


def search(owner: str = LOCAL_OWNER, wanted: RunFilter = EVERY_RUN) -> list[Run]:
    """Return the wanted runs of one owner."""
    return filtered(list_runs(owner), wanted)


def filtered(runs: list[Run], wanted: RunFilter) -> list[Run]:
    """Return those of `runs`, the newest first, that are wanted, in the wanted order.

    Runs of experiments are only where words or their tag ask for them.
    """
    tags = {tag.casefold() for tag in wanted.tags}
    if not wanted.words and EXPERIMENT not in tags:
        runs = without_experiments(runs)
    if tags or wanted.starred:
        labelled = [(run, labels_of(run)) for run in runs]
        runs = [
            run
            for run, labels in labelled
            if tags <= {tag.casefold() for tag in labels.tags} and labels.starred >= wanted.starred
        ]
    found = found_in(runs, wanted.words)
    if wanted.order == STARRED:
        return sorted(found, key=lambda run: not labels_of(run).starred)
    if wanted.order == BY_TITLE:
        return sorted(found, key=lambda run: title_of(run).casefold())
    return sorted(found, key=_last_loss) if wanted.order == BY_LOSS else found


def without_experiments(runs: list[Run]) -> list[Run]:
    """Return those of `runs` that a person has started."""
    return [run for run in runs if not labels_of(run).experiment]


def _last_loss(run: Run) -> tuple[int, float]:
    """Return what puts the lowest held-out loss first, then the lowest loss of a run without held-out rows."""
    state = read_state(run, with_curves=False)
    for place, curve in enumerate((state.eval_losses, state.losses)):
        if curve and not math.isnan(curve[-1][1]):
            return place, curve[-1][1]
    return 2, 0.0


def tags_of(runs: list[Run]) -> list[str]:
    """Return the tags of all of `runs`, sorted; of two that differ in upper and lower case, the newer run's."""
    tags = {tag.casefold(): tag for run in reversed(runs) for tag in labels_of(run).tags}
    return [tags[key] for key in sorted(tags)]


def found_in(runs: list[Run], words: str) -> list[Run]:
    """Return those of `runs` in which every word is found: those that say just so first ("try 7" before "try 77"), else as
    they come.
    """
    wanted = words.casefold().split()
    if not wanted:
        return list(runs)
    exact, others = [], []
    for run in runs:
        known = _words(run)
        missing = [word for word in wanted if word not in known]
        if missing:  # the state is read last, and only for words that one may have: most searches do not ask for it
            may_be = all(any(word in status for status in STATUSES) for word in missing)
            status = read_state(run, with_curves=False).status if may_be else ""
            if not all(word in status for word in missing):
                continue
        (exact if f" {' '.join(wanted)} " in known else others).append(run)
    return exact + others


def _words(run: Run) -> str:
    """Return the text that a search reads: id, labels, base, data; case-folded, a space before and after each."""
    labels = labels_of(run)
    try:
        text = run.config_file.read_bytes()
        base, data = plain_value(text, "base"), plain_value(text, "data")  # a YAML reader takes ten times as long
        if base is None or data is None:
            config = run.config()
            base, data = config.base, config.data
    except (OSError, UserError):  # deleted meanwhile, or of another version of this program
        base = data = ""
    return f" {' '.join((run.id, labels.title, labels.notes, labels.words(), base, data))} ".casefold()


def compare(runs: list[Run]) -> Comparison:
    """Put several runs side by side. Raises UserError when the settings of one cannot be read."""
    configs, states = [run.config() for run in runs], [read_state(run) for run in runs]
    names = [item.name for item in fields(TrainConfig) if item.name not in ("name", *marked(WRITTEN))]
    return Comparison(
        titles=[title_of(run) for run in runs],
        settings=[Row(name, [getattr(config, name) for config in configs]) for name in names],
        losses=[state.curve("losses") for state in states],
        metrics=[state.metrics for state in states],
    )


def run_of(adapter: Path) -> Run | None:
    """Return the run of the same owner that the adapter in this folder came out of; None where it is from elsewhere or gone."""
    return next((run for run in list_runs(adapter.parent.name) if came_out_of(run, adapter)), None)


def copy_settings(run: Run) -> TrainConfig:
    """Return the settings of `run` for a new one, named by its title; its data is read from the copy in the run's folder."""
    config = replace(run.config(), name=as_title(title_of(run)))
    for name in marked(ROWS):
        sets = [_in_folder(one, run) for one in named_in(config, name)]
        if sets:
            config = replace(config, **{name: as_text(sets)})
    if config.accelerate_config == USER_FILE:
        config = replace(config, accelerate_config=str(run.folder / USER_FILE))
    return replace(config, base_reason="")


def _in_folder(one: DataShare, run: Run) -> DataShare:
    is_copy = one.place.startswith("data/") and (run.folder / one.place).is_file()
    return replace(one, place=str(run.folder / one.place)) if is_copy else one


def delete(run: Run) -> Deleted:
    """Move `run` to the trash. Raises UserError while it waits or trains. Its adapter stays."""
    with lock():
        _check_idle(run)
        return _move_to_trash(run, None)


def _check_idle(run: Run) -> None:
    """Raise UserError while `run` waits or trains."""
    if run.is_queued():
        raise UserError(_("'{name}' is waiting in the queue.", name=run.id), _("Stop it first."))
    if run.is_alive():
        raise UserError(_("'{name}' is still training.", name=run.id), _("Stop it first."))


def remove(run: Run) -> None:
    """Delete `run` and the adapter that came out of it for good. Raises UserError while it waits or trains."""
    with lock():
        _check_idle(run)
        remove_weights(run)
        gone = run.folder.with_name(f"{run.id}{UNFINISHED}")
        run.folder.rename(gone)  # what is deleted in part is in no list
        shutil.rmtree(gone, ignore_errors=True)


def remove_weights(run: Run) -> None:
    """Delete for good what an ended run has learned, and its checkpoints: settings and events stay."""
    adapter = place_of(run)
    if came_out_of(run, adapter):
        shutil.rmtree(adapter)
    shutil.rmtree(run.model_folder, ignore_errors=True)
    shutil.rmtree(run.checkpoints_folder, ignore_errors=True)


def discard(run: Run) -> Deleted:
    """End `run` now, whatever it does, and move it and the adapter that came out of it to the trash."""
    cancel(run)
    with lock():
        _end_processes(run)
        adapter = place_of(run)
        shutil.rmtree(adapter.with_name(f"{adapter.name}.partial"), ignore_errors=True)
        return _move_to_trash(run, adapter if came_out_of(run, adapter) else None)


def _end_processes(run: Run) -> None:
    """Send SIGTERM to the launcher and its children, then SIGKILL to those left after a few seconds.

    Of a run that trains in slices only to the fork: what asks for its slices is the page of everybody.
    """
    found: set[psutil.Process] = set()
    for known in run.processes():
        if "slice" not in known and is_running(known):
            try:
                process = psutil.Process(known["pid"])
                found |= {process, *process.children(recursive=True)}
            except psutil.NoSuchProcess:
                continue
    for send, seconds in ((psutil.Process.terminate, TERM_SECONDS), (psutil.Process.kill, KILL_SECONDS)):
        for process in found:
            try:
                send(process)
            except psutil.NoSuchProcess:
                continue
        found = set(psutil.wait_procs(found, timeout=seconds)[1])
    if found:
        raise UserError(_("'{name}' does not stop.", name=run.id), _("Try again in a moment."))


def _move_to_trash(run: Run, adapter: Path | None) -> Deleted:
    """Move the run, then the adapter: cut off in between, it leaves a deleted run and an adapter in the library."""
    title = title_of(run)
    deletion = move_to_trash(_trash(run.owner), run.id, run=run.folder, **({"adapter": adapter} if adapter else {}))
    empty_trash(_trash(run.owner), DELETED_SECONDS, MAX_DELETED)
    return Deleted(deletion.entry, run.id, title)


def deleted(owner: str = LOCAL_OWNER) -> list[Deleted]:
    """Return what can be brought back, the last deleted first."""
    empty_trash(_trash(owner), DELETED_SECONDS, MAX_DELETED)
    found = []
    for one in list_trash(_trash(owner)):
        title = title_of(Run(one.folder / "run"))
        found.append(Deleted(one.entry, one.name, one.name if title == "run" else title))
    return found


def _trash(owner: str) -> Path:
    return runs_folder(owner) / ".trash"


def undo_delete(owner: str, entry: str) -> Run:
    """Bring a run back, and its adapter when that was deleted with it; `entry` may also be the run's id (the last one).

    Raises UserError when it is not there any more. When its name was given away meanwhile it gets a free one.
    """
    with lock():
        found = find_in_trash(_trash(owner), entry)
        if (found.folder / "adapter").is_dir():
            adapters_folder(owner).mkdir(parents=True, exist_ok=True)
            name = free_name(found.name, adapters_folder(owner))
            take_back(found, "adapter", adapters_folder(owner) / name)
        name = free_name(found.name, runs_folder(owner))
        take_back(found, "run", contained(runs_folder(owner), name))
        shutil.rmtree(found.folder, ignore_errors=True)
        return Run(contained(runs_folder(owner), name))
