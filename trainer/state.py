"""What a run's events add up to: `RunState`, read from `events.jsonl` piece by piece. Knows the file, not who writes it.

A page asks every second, for runs with a million events: each process keeps what it has read of the last files that were
asked for, and reads only what is new; curves are thinned as they grow. A file that was cut, rewritten or replaced is read from
its start. Where much is new, in a large file that is opened for the first time, only some of the steps are parsed
(`trainer/event_lines.py`).
"""

import os
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from common.files import MAX_LINE_BYTES, parse_event
from trainer.event_lines import ONLY_THE_LAST, Picked, whole_lines
from trainer.series import Series

RUNNING = ("queued", "preparing", "training", "evaluating", "saving")
FINISHED = ("done", "stopped", "failed")
UNREADABLE = "unreadable"  # no event can be read
# the beginning of a last word whose line was cut off
LAST_WORD = re.compile(rb'\{"time":([0-9]{1,11}(?:\.[0-9]+)?),"event":"(done|stopped|failed)"')
CURVES = {  # the name of a curve in a `step` event, and the field of RunState that keeps it
    "loss": "losses",
    "learning_rate": "learning_rates",
    "grad_norm": "grad_norms",
    "tokens_per_second": "speeds",
    "peak_memory_bytes": "memories",
}
SERIES = (*CURVES.values(), "eval_losses", "samples")
VALUES = ("base", "base_reason", "precision", "step", "total_steps", "epoch", "adapter", "stages")
MEASURED = ("tokens_per_second", "eta_seconds", "peak_memory_bytes")
MOST_LOOKS = 50  # the sample answers of the last looks that a state keeps, besides those of the first
REMEMBERED_BYTES = 256  # of what was read last: that they are still there says that the file only grew
MOST_NOTES = 100
MOST_CACHED_FILES = 16  # each at most a few MB
EXACT_BYTES = 2**20  # of new events that are all parsed; of n times as many every n-th step is


@dataclass
class RunState:
    """What a person sees of a run, computed from its events. Times in seconds (`*_at`: since 1970), memory in bytes.

    The series are those of the stage that runs, lists of (step, value); `curve` lays all stages end to end.
    """

    status: str = "queued"
    message: str = ""
    hint: str = ""
    code: str = ""  # which known failure it was: "killed", "interrupted", or what trainer.process.failures named
    cure: dict | None = None  # {"label": words of a button, "changes": {field: value}}
    base: str = ""
    base_reason: str = ""
    precision: str = ""
    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    stage: int = 1
    stages: int = 1
    stage_name: str = ""
    tokens_per_second: float = 0.0
    eta_seconds: float | None = None
    peak_memory_bytes: int = 0
    adapter: str = ""
    queued_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    updated_at: float | None = None
    notes: list[str] = field(default_factory=list)
    losses: list[tuple[int, float]] = field(default_factory=Series)
    eval_losses: list[tuple[int, float]] = field(default_factory=Series)
    learning_rates: list[tuple[int, float]] = field(default_factory=Series)
    grad_norms: list[tuple[int, float]] = field(default_factory=Series)
    speeds: list[tuple[int, float]] = field(default_factory=Series)
    memories: list[tuple[int, float]] = field(default_factory=Series)
    samples: list[tuple[int, list[dict]]] = field(default_factory=Series)
    other_stages: dict[int, dict[str, list]] = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    damaged_lines: int = 0  # left out

    @property
    def is_running(self) -> bool:
        return self.status in RUNNING

    @property
    def fraction(self) -> float:
        """From 0 to 1, over all stages."""
        inside = self.step / self.total_steps if self.total_steps else 0.0
        return (self.stage - 1 + min(inside, 1.0)) / max(self.stages, self.stage, 1)

    def curve(self, name: str) -> list[tuple[int, object]]:
        """One of SERIES over all stages, the steps of a stage counted on from those before it."""
        stages = {**self.other_stages, self.stage: {series: getattr(self, series) for series in SERIES}}
        points, offset = [], 0
        for _, series in sorted(stages.items()):
            points += [(step + offset, value) for step, value in series[name]] if offset else series[name]
            offset += max((series[kind][-1][0] for kind in SERIES if series[kind]), default=0)
        return points

    def copy(self) -> "RunState":
        """A state that its reader may change."""
        lists = {name: list(getattr(self, name)) for name in (*SERIES, "notes")}
        others = {stage: {name: list(part[name]) for name in SERIES} for stage, part in self.other_stages.items()}
        return replace(self, **lists, other_stages=others, metrics=dict(self.metrics))

    def apply(self, event: dict) -> None:
        """Bring the state forward by one event. An event of a later version of this program changes nothing."""
        kind = event.get("event")
        self.updated_at = event.get("time", self.updated_at)
        if kind in (*RUNNING, *FINISHED):
            self._change_status(kind, event)
        elif kind == "note":
            self.notes += [str(event.get("message", ""))][: MOST_NOTES - len(self.notes)]
        elif kind == "stage":
            self._switch_stage(event)
        elif kind == "resumed":  # the steps after the checkpoint are trained again
            self._switch_stage({"name": self.stage_name, **event})
            self._forget(event.get("step", 0) + 1)
        elif kind in ("step", "eval", "samples"):
            self._add_points(kind, event)
        for name in (*VALUES, *MEASURED):
            if name in event:
                setattr(self, name, event[name])

    def _change_status(self, kind: str, event: dict) -> None:
        self.status, self.message, self.hint = kind, event.get("message", ""), event.get("hint", "")
        self.code, self.cure = event.get("code") or "", event.get("cure")
        if kind == "queued":
            self.queued_at, self.started_at, self.ended_at = event.get("time"), None, None
            self.notes = []  # what is told about the data is told again
        elif kind in FINISHED:
            self.ended_at = event.get("time")
        elif self.started_at is None:
            self.started_at = event.get("time")
        if kind in ("done", "stopped"):
            self.metrics = event.get("metrics") or {}

    def _switch_stage(self, event: dict) -> None:
        """Go to the event's stage; the series of the others are kept aside."""
        number = event.get("stage", self.stage)
        self.stage_name = event.get("name", self.stage_name)
        if number == self.stage:
            return
        self.other_stages[self.stage] = {name: getattr(self, name) for name in SERIES}
        known = self.other_stages.pop(number, None) or {name: Series() for name in SERIES}
        for name in SERIES:
            setattr(self, name, known[name])
        self.stage, self.step, self.total_steps, self.epoch, self.eta_seconds = number, 0, 0, 0.0, None

    def _add_points(self, kind: str, event: dict) -> None:
        step = event.get("step", 0)
        if kind == "step":
            if self.losses and step <= self.losses[-1][0]:  # begun anew, without a checkpoint
                self._forget(step)
            for name, series in CURVES.items():
                if event.get(name) is not None:
                    getattr(self, series).add((step, event[name]))
        elif kind == "eval" and event.get("loss") is not None:
            self.eval_losses.put(step, event["loss"])
        elif kind == "samples":
            self.samples.put(step, event.get("answers", []))
            del self.samples[1:-MOST_LOOKS]

    def _forget(self, first: int) -> None:
        """Drop the points from step `first` on, and the stages after this one."""
        for name in SERIES:
            setattr(self, name, getattr(self, name).where(lambda point: point[0] < first))
        self.other_stages = {stage: part for stage, part in self.other_stages.items() if stage < self.stage}


@dataclass
class _Reading:
    """How far a file was read, and what came of it."""

    state: RunState
    offset: int = 0
    last_bytes: bytes = b""
    cut_off: bytes = b""  # a last line without its end
    changed: int = 0


_readings: OrderedDict[tuple[str, int], _Reading] = OrderedDict()
_lock = threading.Lock()


def state_of(events_file: Path) -> RunState:
    """The state that the events in the file add up to; a new RunState when there is no file.

    Lines that are damaged are left out and counted. The status is UNREADABLE when there is nothing else, or no way to read it.
    """
    with _lock:
        try:
            with open(events_file, "rb") as file:
                reading = _reading_of(events_file, file)
        except FileNotFoundError:
            return RunState()
        except OSError as error:
            return _unreadable(error.strerror)
        return _told(reading, reading.state.copy())


def _told(reading: _Reading, state: RunState) -> RunState:
    """`state` with what a last line tells that was cut off: a run that said its last word is over."""
    event = parse_event(reading.cut_off) if reading.cut_off else None
    if event is None and (found := LAST_WORD.match(reading.cut_off)):
        words = "The end of its last event is missing."
        event = {"time": float(found[1]), "event": found[2].decode(), "message": words}
    if event is not None:
        state.apply(event)
    is_empty = state == RunState(damaged_lines=state.damaged_lines)
    return _unreadable("it holds no event") if is_empty and state.damaged_lines else state


def _unreadable(why: str) -> RunState:
    return RunState(
        status=UNREADABLE,
        message=f"What this run did cannot be read from its events.jsonl: {why}.",
        hint="Move that file away and resume, or delete the run; an adapter that it made stays in the library.",
    )


def _reading_of(path: Path, file: BinaryIO) -> _Reading:
    """What is known of the file, brought up to date."""
    found = os.fstat(file.fileno())
    key = (str(path), found.st_ino)
    reading = _readings.pop(key, None) or _Reading(RunState())
    if not _only_grew(reading, found, file):
        reading = _Reading(RunState())
    _read_on(reading, file, found.st_size)
    reading.changed = found.st_mtime_ns
    _readings[key] = reading
    while len(_readings) > MOST_CACHED_FILES:
        _readings.popitem(last=False)
    return reading


def _read_on(reading: _Reading, file: BinaryIO, end: int, every: int = 0) -> None:
    """Apply the whole lines up to `end`; where much is new, of the steps only every so many-th."""
    picked = Picked(every or 1 + (end - reading.offset) // EXACT_BYTES)
    for piece in whole_lines(file, reading.offset, end):
        for line in picked.of(piece, reading.offset):
            _apply(reading.state, line)
        reading.offset += len(piece)
        reading.last_bytes = (reading.last_bytes + piece[-REMEMBERED_BYTES:])[-REMEMBERED_BYTES:]
    _apply(reading.state, picked.held)  # the last step
    file.seek(reading.offset)
    reading.cut_off = file.read(min(end - reading.offset, MAX_LINE_BYTES))


def ending_of(events_file: Path) -> RunState:
    """The same state with hardly a point in its curves but their last: for a list of many runs. Nothing is kept."""
    reading = _Reading(RunState())
    try:
        with open(events_file, "rb") as file:
            _read_on(reading, file, os.fstat(file.fileno()).st_size, ONLY_THE_LAST)
    except FileNotFoundError:
        return RunState()
    except OSError as error:
        return _unreadable(error.strerror)
    return _told(reading, reading.state)


def _apply(state: RunState, line: bytes) -> None:
    event = parse_event(line)
    if event is not None:
        state.apply(event)
    elif line.strip():
        state.damaged_lines += 1


def _only_grew(reading: _Reading, found: os.stat_result, file: BinaryIO) -> bool:
    """False for a file that was cut or rewritten since it was read."""
    if found.st_size < reading.offset:
        return False
    if found.st_size == reading.offset:
        return found.st_mtime_ns == reading.changed
    file.seek(reading.offset - len(reading.last_bytes))
    return file.read(len(reading.last_bytes)) == reading.last_bytes
