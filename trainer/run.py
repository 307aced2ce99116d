"""One training run as a folder, and what can be read from it. Light: no torch, no Gradio, nothing kept in memory.

    runs/<owner>/<id>/config.yaml     the settings
                      data/           a copy of the files it trains on
                      process.json    who trains: process id and its start time
                      events.jsonl    the contract between the training process and everyone who watches
                      train.log       everything it printed
                      stop            exists when a person asked it to stop
                      checkpoints/    to resume from

The page, the command line and a second browser all read the same folder: whoever dies, nothing is lost.
"""

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from common.errors import UserError
from common.files import append_json_line, read_json, read_json_lines, tail
from common.paths import LOCAL_OWNER, contained, runs_folder
from trainer.config import TrainConfig

RUNNING = ("queued", "preparing", "training", "evaluating", "saving")
FINISHED = ("done", "stopped", "failed")


@dataclass(frozen=True)
class Run:
    """A run's folder, with one name for every file in it."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def owner(self) -> str:
        return self.folder.parent.name

    config_file = property(lambda self: self.folder / "config.yaml")
    events_file = property(lambda self: self.folder / "events.jsonl")
    log_file = property(lambda self: self.folder / "train.log")
    process_file = property(lambda self: self.folder / "process.json")
    stop_file = property(lambda self: self.folder / "stop")
    data_folder = property(lambda self: self.folder / "data")
    checkpoints_folder = property(lambda self: self.folder / "checkpoints")

    def config(self) -> TrainConfig:
        return TrainConfig.from_yaml(self.config_file)

    def log_tail(self, lines: int = 40) -> str:
        return tail(self.log_file, lines)

    def request_stop(self) -> None:
        """Ask the training process to save what it learned and end. It answers with a `stopped` event."""
        self.stop_file.touch()

    def is_alive(self) -> bool:
        """True while the process that trains (or the launcher that started it) is running."""
        return any(_is_running(process) for process in (read_json(self.process_file, {}) or {}).values())


def _is_running(process: dict) -> bool:
    """A process id alone may have been given to another program since: its start time must match too."""
    try:
        found = psutil.Process(int(process["pid"]))
        return abs(found.create_time() - process["started"]) < 2 and found.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False


def this_process(pid: int) -> dict:
    """What `process.json` keeps of a process: its id and when it started (seconds since 1970)."""
    try:
        return {"pid": pid, "started": psutil.Process(pid).create_time()}
    except psutil.NoSuchProcess:  # over already
        return {"pid": pid, "started": 0.0}


@dataclass
class RunState:
    """What a person sees of a run, computed from its events. Times in seconds, memory in bytes."""

    status: str = "queued"
    message: str = ""
    hint: str = ""
    base: str = ""
    base_reason: str = ""
    precision: str = ""
    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    tokens_per_second: float = 0.0
    eta_seconds: float | None = None
    peak_memory_bytes: int = 0
    adapter: str = ""
    notes: list[str] = field(default_factory=list)
    losses: list[tuple[int, float]] = field(default_factory=list)
    eval_losses: list[tuple[int, float]] = field(default_factory=list)
    metrics: dict = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        return self.status in RUNNING

    @property
    def fraction(self) -> float:
        return self.step / self.total_steps if self.total_steps else 0.0


def read_state(run: Run) -> RunState:
    """The state of `run` from its events, and 'interrupted' when its process is gone without a last word."""
    alive = run.is_alive()  # before the events are read: a process that ends in between has written its last one
    state = RunState()
    for event in read_json_lines(run.events_file):
        _apply(state, event)
    if state.is_running and not alive and run.process_file.exists():
        state.status = "interrupted"
        state.message, state.hint = _last_words(run)
    return state


def _apply(state: RunState, event: dict) -> None:
    """Bring `state` forward by one event. An event of a later version of this program changes nothing."""
    kind = event.get("event")
    if kind in (*RUNNING, *FINISHED):
        state.status = kind
        state.message, state.hint = event.get("message", ""), event.get("hint", "")
    elif kind == "note":
        state.notes.append(event["message"])
    elif kind == "resumed":  # the steps after the checkpoint are trained again
        state.losses = [point for point in state.losses if point[0] <= event["step"]]
        state.eval_losses = [point for point in state.eval_losses if point[0] <= event["step"]]
    elif kind == "step":
        state.losses.append((event["step"], event["loss"]))
    elif kind == "eval":
        state.eval_losses.append((event["step"], event["loss"]))
    if kind in ("done", "stopped"):
        state.metrics = event.get("metrics", {})
    for name in ("base", "base_reason", "precision", "step", "total_steps", "epoch", "adapter"):
        setattr(state, name, event.get(name, getattr(state, name)))
    for name in ("tokens_per_second", "eta_seconds", "peak_memory_bytes"):
        setattr(state, name, event.get(name, getattr(state, name)))


def _last_words(run: Run) -> tuple[str, str]:
    text = run.log_tail(15)
    if "SIGKILL" in text or "Signal 9" in text or "exitcode: -9" in text:
        return (
            "The system ended the training process, most likely because memory ran out.",
            "Lower the batch size, resume.",
        )
    return "The training process ended without a word (a restart, or it was ended from outside).", "Resume goes on."


def find_run(run_id: str, owner: str = LOCAL_OWNER) -> Run:
    """The run of `owner` with this id. Raises UserError when there is none."""
    run = Run(contained(runs_folder(owner), run_id))
    if not run.config_file.is_file():
        raise UserError(f"There is no run '{run_id}'.", "`python -m trainer list` shows them.")
    return run


def list_runs(owner: str = LOCAL_OWNER) -> list[Run]:
    """All runs of `owner`, the newest first."""
    folder = runs_folder(owner)
    runs = [Run(path) for path in folder.iterdir() if (path / "config.yaml").is_file()] if folder.is_dir() else []
    return sorted(runs, key=lambda run: run.config_file.stat().st_mtime, reverse=True)


def active_run() -> Run | None:
    """The run that trains on this machine now, whoever owns it, or None."""
    root = runs_folder().parent
    owners = sorted(root.iterdir()) if root.is_dir() else []
    return next((run for owner in owners for run in list_runs(owner.name) if run.is_alive()), None)


def delete_run(run: Run) -> None:
    """Remove a run's folder. Raises UserError while it trains."""
    if run.is_alive():
        raise UserError(f"'{run.id}' is still training.", "Stop it first.")
    shutil.rmtree(run.folder)


class EventLog:
    """Appends to a run's `events.jsonl`. Only rank 0 writes; on the others every call does nothing."""

    def __init__(self, run: Run, writes: bool = True) -> None:
        self.path = run.events_file
        self.writes = writes

    def write(self, event: str, **values: object) -> None:
        if self.writes:
            append_json_line(self.path, {"time": round(time.time(), 3), "event": event, **values})
