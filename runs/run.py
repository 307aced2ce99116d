"""One training run as a folder, and what can be read from it. Light: no torch, no Gradio.

    runs/<owner>/<id>/config.yaml     the settings
                      data/           a copy of the files it trains on
                      init_adapter/   a copy of the adapter it continues from
                      about.json      its labels: title, notes, tags, a star
                      accelerate.yaml what `accelerate launch` gets: processes, machines, mode
                      queued.json     exists while it waits for its turn
                      process.json    who trains: process id and its start time
                      events.jsonl    the contract between the training process and everyone who watches
                      progress.json   what is newest and not in events.jsonl: the last step, or what it does just now
                      train.log       everything it printed
                      stop            exists when a person asked it to stop
                      job.json        exists when another machine trains it: Slurm, SkyPilot, Hugging Face Jobs
                      checkpoints/    to resume from
                      model/          the whole model, where weights of the base itself are trained

The page, the command line and a second browser all read the same folder: whoever dies, nothing is lost.
"""

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from common.errors import UserError
from common.files import read_json, read_object, tail
from common.language import Sentence, _, joined, n_, packed
from common.paths import LOCAL_OWNER, contained, is_name, runs_folder
from common.visitors import is_visitor
from runs.checkpoints import kept_words
from runs.config import TrainConfig
from runs.events import Event, append_event, parse_event
from runs.failures import Failure, diagnose
from runs.processes import is_running
from runs.state import ACTIVITIES, RunState, state_of

UNFINISHED = ".partial"
TEXT, CONVERSATIONS = "text", "conversations"  # the stages; the checkpoints of text lie in a folder of that name
DISK_FULL_SIGNS = ("No space left on device", "Disk quota exceeded")
STEPS_PER_INTERVAL = 1000
PROGRESS_SECONDS = 1.0
MIN_FREE_BYTES = 2**12  # with less no last event can be written
MISSING_SIGNS = ("RendezvousTimeoutError", "RendezvousConnectionError", "DistNetworkError", "DistStoreError")
SILENT_SIGN = "Watchdog caught collective operation timeout"  # NCCL's own, which ends the process without an exception
CONTINUE = _("Press Resume to continue.")
STOPPING = {  # what a run does that was asked to stop, by its status
    "preparing": _("Stopping"),
    "training": _("Stopping: finishing the step, then saving"),
    "evaluating": _("Stopping: ending the evaluation, then saving"),
}
KILLED_SIGNS = ("SIGKILL", "Signal 9", "exitcode: -9", "exitcode  : -9")


@dataclass(frozen=True)
class Run:
    """A run's folder, with one name for every file in it."""

    folder: Path

    @property
    def id(self) -> str:
        """The name of the folder."""
        return self.folder.name

    @property
    def owner(self) -> str:
        """The name of the folder that holds all runs of one owner."""
        return self.folder.parent.name

    config_file = property(lambda self: self.folder / "config.yaml")
    events_file = property(lambda self: self.folder / "events.jsonl")
    progress_file = property(lambda self: self.folder / "progress.json")
    log_file = property(lambda self: self.folder / "train.log")
    process_file = property(lambda self: self.folder / "process.json")
    stop_file = property(lambda self: self.folder / "stop")
    job_file = property(lambda self: self.folder / "job.json")
    queued_file = property(lambda self: self.folder / "queued.json")
    accelerate_file = property(lambda self: self.folder / "accelerate.yaml")
    about_file = property(lambda self: self.folder / "about.json")
    data_folder = property(lambda self: self.folder / "data")
    checkpoints_folder = property(lambda self: self.folder / "checkpoints")
    init_adapter_folder = property(lambda self: self.folder / "init_adapter")
    model_folder = property(lambda self: self.folder / "model")

    def config(self) -> TrainConfig:
        """Read the settings. Raises UserError when they cannot be read."""
        try:
            return TrainConfig.from_yaml(self.config_file)
        except UserError as error:
            words = _("The settings of '{name}' cannot be read: {why}", name=self.id, why=error.message)
            raise UserError(words, error.hint) from error

    def config_or_none(self) -> TrainConfig | None:
        """Read the settings; None when they cannot be read."""
        try:
            return self.config()
        except UserError:
            return None

    def settings_problem(self) -> str:
        """Say why the settings cannot be used, and what to do; "" when they can."""
        try:
            self.config()
        except UserError as error:
            return joined([error.message, _("It cannot be resumed: fix its config.yaml, or delete the run.")])
        return ""

    def kept_words(self) -> Sentence:
        """Say from which checkpoint it would continue."""
        return kept_words(self.checkpoints_folder, self.checkpoints_folder / TEXT)

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of the training process's log."""
        return tail(self.log_file, lines)

    def request_stop(self) -> None:
        """Ask the training process to save what it learned and end; its last event is `stopped` then."""
        self.stop_file.touch()

    def processes(self) -> list[Mapping[str, Any]]:
        """Return the marks of the processes that train it, or did last, as the file has them: of any type."""
        return [process for process in read_object(self.process_file).values() if isinstance(process, dict)]

    def is_alive(self) -> bool:
        """Return whether the process that trains, or the launcher that started it, is running."""
        return any(is_running(process) for process in self.processes())

    def is_queued(self) -> bool:
        """Return whether it waits for its turn, or is being started and has no `process.json` yet."""
        place = read_json(self.queued_file)
        return isinstance(place, dict) and not ("starting" in place and self.process_file.exists())


def read_state(run: Run, with_curves: bool = True) -> RunState:
    """Read the state of `run`: from its events, whether it waits in the queue, and whether its process is still there.

    Without curves each has only some points, the last one among them.
    """
    # in this order: a run that leaves the queue in between has its process, one that ends has written its last event
    is_queued, alive = run.is_queued(), run.is_alive()
    state = state_of(run.events_file, with_curves)
    newest = _newest(run) if state.is_running else None
    if newest and newest.get("time", 0.0) > (state.updated_at or 0.0):
        state.apply(newest)  # else events are newer: it is of before a restart
    if is_queued:
        state.status, state.message, state.hint, state.code, state.cure = "queued", "", "", "", None
        state.activity, state.activity_part = ACTIVITIES["queued"], None
    elif state.is_running and not alive and not run.job_file.exists():  # of a job elsewhere only its events are known
        _tell_the_end(run, state)
    elif state.status in STOPPING and run.stop_file.exists():
        state.activity, state.activity_part, state.eta_seconds = STOPPING[state.status], None, None
    if state.damaged_lines:
        words = n_(
            "{count:,} damaged line of its events.jsonl was skipped.",
            "{count:,} damaged lines of its events.jsonl were skipped.",
            state.damaged_lines,
        )
        state.notes.append(words)
    return state


def model_words(run: Run, state: RunState) -> str:
    """Say where the model is that came out of a run in the place of an adapter; "" for any other run."""
    config = run.config_or_none() if state.has_result and not state.adapter else None
    if config is None or config.makes_adapter:
        return ""
    if not run.model_folder.is_dir():
        return _("It trained weights of the base itself: there is no adapter, and the model was not kept.")
    if is_visitor():
        return _("It trained weights of the base itself: there is no adapter, and the model stays on this server.")
    return _("It trained weights of the base itself: the whole model is in {folder}.", folder=str(run.model_folder))


def _newest(run: Run) -> Event | None:
    """Return the step or the activity in progress.json, None when there is none."""
    try:
        event = parse_event(run.progress_file.read_bytes())
    except OSError:
        return None
    return event if event and event.get("event") in ("step", "activity") else None


def _tell_the_end(run: Run, state: RunState) -> None:
    """Fill in the status of a run that has no process and wrote no last event."""
    state.activity, state.activity_part, state.eta_seconds = "", None, None
    if run.process_file.exists():
        found = _why_it_ended(run)
        state.status, state.ended_at, state.message = "interrupted", state.updated_at, found.message
        state.hint, state.code, state.cure = joined([found.hint, run.kept_words()]), found.code, found.cure
    elif not run.folder.exists():
        state.status, state.message = "stopped", _("It was deleted.")
    elif state.status == "queued":  # made, or taken from the queue, by a program that died
        state.status, state.message, state.hint = "stopped", _("It was not started."), _("Press Resume to start it.")


def _why_it_ended(run: Run) -> Failure:
    """Diagnose, from the log and the machine, a training process that is gone without a last event."""
    config = run.config_or_none()
    if any("slice" in process and not process.get("started") for process in run.processes()):
        return Failure("interrupted", _("The page was closed between two slices."), CONTINUE)
    if SILENT_SIGN in run.log_tail(200):
        return diagnose("process_silent", config)
    if any(sign in run.log_tail(15) for sign in KILLED_SIGNS):
        found = diagnose("killed", config)
        return (
            found if found.cure else diagnose("killed", config, hint=_("Use a smaller base model, then start again."))
        )
    if any(sign in run.log_tail() for sign in MISSING_SIGNS) and config and config.num_machines > 1:
        message = _("The machines did not connect: one was not started, or machine 0 cannot be reached at its address.")
        hint = _("Start the run on every machine within {seconds} s.", seconds=config.ddp_timeout)
        return diagnose("process_silent", config, message, hint)
    with suppress(OSError):
        is_full = shutil.disk_usage(run.folder).free < MIN_FREE_BYTES
        if is_full or any(sign in run.log_tail() for sign in DISK_FULL_SIGNS):
            return diagnose("disk_full", config)
    began = [at for process in run.processes() if isinstance(at := process.get("started"), int | float)]
    if began and max(began) < psutil.boot_time():
        return Failure("interrupted", _("The machine was restarted during this run."), CONTINUE)
    return Failure(
        "interrupted", _("The training process ended without a message: it was killed or restarted."), CONTINUE
    )


def find_run(run_id: str, owner: str = LOCAL_OWNER) -> Run:
    """Return the run of `owner` with this id. Raises UserError when there is none."""
    run = Run(contained(runs_folder(owner), run_id))
    if not _is_run(run.folder):
        raise UserError(_("There is no run '{name}'.", name=run_id), _("`python -m trainer list` shows all runs."))
    return run


def list_runs(owner: str = LOCAL_OWNER) -> list[Run]:
    """Return all runs of `owner`, the newest first."""
    dated = [(settings_written_at(path), path) for path in _paths(runs_folder(owner))]
    return [Run(Path(path)) for at, path in sorted(((at, path) for at, path in dated if at is not None), reverse=True)]


def settings_written_at(folder: Path | str) -> int | None:
    """Return the time of config.yaml in ns since 1970; 0 for an unreadable folder, None for what is no run or is gone."""
    try:
        return os.stat(f"{folder}/config.yaml").st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return 0


def _paths(folder: Path) -> list[str]:
    """Return what lies in the folder of an owner and may be a run."""
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if not entry.name.endswith(UNFINISHED)]
    except OSError:
        return []


def _is_run(folder: Path) -> bool:
    return not folder.name.endswith(UNFINISHED) and settings_written_at(folder) is not None


def runs_with(name: str, owner: str | None = None) -> list[Run]:
    """Return the runs of `owner`, or of everyone on this machine, whose folder has a file of this name."""
    everyone = runs_folder().parent
    owners = [owner] if owner else [found.name for found in everyone.glob("*") if is_name(found.name)]
    paths = [path for each in owners for path in _paths(everyone / each) if os.access(f"{path}/{name}", os.F_OK)]
    return [Run(Path(path)) for path in paths if _is_run(Path(path))]


def active_run() -> Run | None:
    """Return the run that trains on this machine now, whoever owns it, or None."""
    return next((run for run in runs_with("process.json") if run.is_alive()), None)


def _step_interval(step: int) -> int:
    """Return of how many steps one is written around `step`: all up to 2,000, then half as many each time the steps double.

    A million steps are 11,000 points; the second half of a curve always has some 1,000.
    """
    return 2 ** max(0, (step // STEPS_PER_INTERVAL).bit_length() - 1)


class EventLog:
    """Append events to a run's `events.jsonl`. Only rank 0 writes; on the others every call does nothing.

    The step before any other event is always written. A step that is left out, and what happens between two events, is in
    `progress.json`, replaced at most once a second, until a later event makes it old.
    """

    def __init__(self, run: Run, writes: bool = True) -> None:
        self.path = run.events_file
        self.progress_path = run.progress_file
        self.writes = writes
        self._held: dict[str, object] | None = None  # the last step, while it is not in the file
        self._shown_at = -PROGRESS_SECONDS

    def write(self, event: str, **values: object) -> None:
        """Append one event, and before it the step that was held back."""
        if self.writes:
            self.write_held_step()
            append_event(self.path, {"time": round(time.time(), 3), "event": event, **values})

    def write_step(self, step: int, **values: object) -> None:
        """Write one of a training's steps, or hold it where `_step_interval` leaves it out."""
        if not self.writes:
            return
        self._held = {"time": round(time.time(), 3), "event": "step", "step": step, **values}
        if step % _step_interval(step) == 0:
            self.write_held_step()
        else:
            self._show(self._held)

    def write_activity(self, activity: str, part: float | None = None, **values: object) -> None:
        """Show what happens now, and how much of it is done, from 0 to 1."""
        if self.writes:
            self._show({"event": "activity", "activity": activity, "part": part, **values})

    def _show(self, event: dict[str, object]) -> None:
        if time.monotonic() - self._shown_at >= PROGRESS_SECONDS:
            partial = self.progress_path.with_suffix(".partial")
            partial.write_text(json.dumps(packed({"time": round(time.time(), 3), **event})), encoding="utf-8")
            os.replace(partial, self.progress_path)
            self._shown_at = time.monotonic()

    def write_held_step(self) -> None:
        """Append the step that was held back, if there is one."""
        held, self._held = self._held, None
        if held:
            append_event(self.path, held)
