"""`RunState`, computed from a run's events: for the page, the command line, a resume, the adapter's curve and jobs.

The writer keeps the file small (`EventLog.write_step`), so it is read from its start each time.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.history import kept_step
from common.language import _
from data.report import Cure
from runs.events import Answer, Event, Metrics, TestLoss, parse_event

RUNNING = ("queued", "preparing", "training", "evaluating", "saving")
FINISHED = ("done", "stopped", "failed")
UNREADABLE = "unreadable"  # no event can be read
STATUSES = (*RUNNING, *FINISHED, "interrupted", UNREADABLE)
# the beginning of a last event whose line was cut off
LAST_EVENT = re.compile(rb'\{"time":([0-9]{1,11}(?:\.[0-9]+)?),"event":"(done|stopped|failed)"')
CURVES = {  # the name of a curve in a `step` event, and the field of RunState that keeps it
    "loss": "losses",
    "learning_rate": "learning_rates",
    "grad_norm": "grad_norms",
    "tokens_per_second": "speeds",
    "peak_memory_bytes": "memories",
}
SERIES = (*CURVES.values(), "eval_losses", "tested", "samples")
VALUES = ("base", "base_reason", "precision", "epoch", "adapter", "stages", "later_steps")
VALUES += ("tokens_per_second", "eta_seconds", "peak_memory_bytes")
ACTIVITIES = {  # what a status says of itself, unless its event says more
    "queued": _("Waiting for its turn"),
    "preparing": _("Preparing"),
    "training": _("Training"),
    "evaluating": _("Evaluating on held-out examples"),
    "saving": _("Saving"),
}
MAX_SAMPLES = 50  # the last sample answers that a state keeps, besides the first
MAX_NOTES = 100
STEP_MARK, MARK_WITHIN_BYTES = b'"event":"step"', 60


@dataclass
class RunState:
    """The state of a run, computed from its events. Times in seconds (`*_at`: since 1970), memory in bytes.

    `activity` says what it does now, `activity_part` how much of that is done, from 0 to 1. `step` and `total_steps` count the
    steps of all stages; `step` never falls: after a resume the steps behind the checkpoint are trained again, `place` is where.
    The series are those of the stage that runs, lists of (step, value); `curve` lays all stages end to end.
    """

    status: str = "queued"
    message: str = ""
    hint: str = ""
    code: str = ""  # which known failure it was: "killed", "interrupted", or what runs.failures named
    cure: Cure | None = None
    activity: str = ACTIVITIES["queued"]
    activity_part: float | None = None
    base: str = ""
    base_reason: str = ""
    precision: str = ""
    step: int = 0
    place: int = 0
    total_steps: int = 0
    later_steps: int = 0  # of the stages after this one
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
    losses: list[tuple[int, float]] = field(default_factory=list)
    eval_losses: list[tuple[int, float]] = field(default_factory=list)
    tested: list[tuple[int, dict[str, TestLoss]]] = field(default_factory=list)
    learning_rates: list[tuple[int, float]] = field(default_factory=list)
    grad_norms: list[tuple[int, float]] = field(default_factory=list)
    speeds: list[tuple[int, float]] = field(default_factory=list)
    memories: list[tuple[int, float]] = field(default_factory=list)
    samples: list[tuple[int, list[Answer]]] = field(default_factory=list)
    other_stages: dict[int, dict[str, list]] = field(default_factory=dict)
    metrics: Metrics = field(default_factory=Metrics)
    damaged_lines: int = 0  # left out

    @property
    def is_running(self) -> bool:
        """Whether it waits, prepares, trains, evaluates or saves."""
        return self.status in RUNNING

    @property
    def has_result(self) -> bool:
        """Whether it has ended with weights that learned something: an adapter, or a whole model."""
        return not self.is_running and bool(self.adapter or self.metrics)

    @property
    def fraction(self) -> float:
        """The part of the steps that is done, from 0 to 1, over all stages."""
        return min(self.step / self.total_steps, 1.0) if self.total_steps else 0.0

    def series_of(self, stage: int) -> dict[str, list]:
        """Return all SERIES of one stage by name; empty ones for a stage that has not begun."""
        if stage == self.stage:
            return {name: getattr(self, name) for name in SERIES}
        return self.other_stages.get(stage) or {name: [] for name in SERIES}

    def curve(self, name: str) -> list[tuple[int, Any]]:
        """Return one of SERIES over all stages, the steps of a stage counted on from those before it."""
        stages = sorted({*self.other_stages, self.stage})
        points = []
        for stage in stages:
            offset, series = self.steps_before(stage), self.series_of(stage)
            points += [(step + offset, value) for step, value in series[name]] if offset else series[name]
        return points

    def steps_before(self, stage: int) -> int:
        """Count the steps of the stages before `stage`."""
        before = [self.series_of(number) for number in {*self.other_stages, self.stage} if number < stage]
        return sum(max((series[kind][-1][0] for kind in SERIES if series[kind]), default=0) for series in before)

    @property
    def lowest(self) -> tuple[int, float] | None:
        """The (step, loss) of the lowest held-out loss of this stage, step 0 left out; None before the first evaluation."""
        return min((point for point in self.eval_losses if point[0] > 0), key=lambda point: point[1], default=None)

    @property
    def kept_place(self) -> int | None:
        """The step whose weights are the adapter, where it is not the last, on the curves of all stages; None else."""
        kept = kept_step(self.metrics)
        return None if kept is None else kept + self.steps_before(self.stage)

    def apply(self, event: Event) -> None:
        """Bring the state forward by one event. An event of a later version of this program changes nothing."""
        kind = event.get("event", "")
        self.updated_at = event.get("time", self.updated_at)
        if kind in (*RUNNING, *FINISHED):
            self._change_status(kind, event)
        elif kind == "note":
            self.notes += [event.get("message", "")][: MAX_NOTES - len(self.notes)]
        elif kind == "stage":
            self._switch_stage(event)
        elif kind == "resumed":  # the steps after the checkpoint are trained again
            self._switch_stage(event)
            self._forget(event.get("step", 0) + 1)
        elif kind in ("step", "eval", "tested", "samples"):
            self._add_points(kind, event)
        elif kind == "activity":
            self.activity, self.activity_part = event.get("activity", self.activity), event.get("part")
        for name in VALUES:
            if name in event:
                setattr(self, name, event[name])
        self._count_steps(kind, event)

    def _count_steps(self, kind: str, event: Event) -> None:
        """Bring `step`, `place` and `total_steps` forward; an evaluation of step 0 comes after the first step."""
        before = self.steps_before(self.stage) if self.other_stages else 0
        if total := event.get("total_steps"):
            self.total_steps = before + total + self.later_steps
        if kind in ("step", "resumed", "stage"):
            self.place = before + event.get("step", 0)
            self.step = max(self.step, self.place)
        if kind in ("step", "training"):
            self.activity, self.activity_part = ACTIVITIES["training"], None
        if kind in ("step", "training") and self.place < self.step:
            self.activity = _(
                "Repeating the steps after the last checkpoint, now at {place} of {step}",
                place=self.place,
                step=self.step,
            )

    def _change_status(self, kind: str, event: Event) -> None:
        self.status, self.message, self.hint = kind, event.get("message", ""), event.get("hint", "")
        self.activity, self.activity_part = (kind in RUNNING and event.get("message")) or ACTIVITIES.get(kind, ""), None
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

    def _switch_stage(self, event: Event) -> None:
        """Go to the event's stage; the series of the others are kept aside."""
        number = event.get("stage", self.stage)
        self.stage_name = event.get("name", self.stage_name)
        if number == self.stage:
            return
        self.other_stages[self.stage], known = self.series_of(self.stage), self.series_of(number)
        self.other_stages.pop(number, None)
        for name in SERIES:
            setattr(self, name, known[name])
        self.stage, self.later_steps, self.epoch, self.eta_seconds = number, 0, 0.0, None

    def _add_points(self, kind: str, event: Mapping[str, Any]) -> None:
        step = event.get("step", 0)
        if kind == "step":
            if self.losses and step <= self.losses[-1][0]:  # begun anew, without a checkpoint
                self._forget(step)
            for name, series in CURVES.items():
                if event.get(name) is not None:
                    getattr(self, series).append((step, event[name]))
        elif kind == "eval" and event.get("loss") is not None:
            _put(self.eval_losses, step, event["loss"])
        elif kind == "tested":
            _put(self.tested, step, event.get("tested", {}))
        elif kind == "samples":
            _put(self.samples, step, event.get("answers", []))
            del self.samples[1:-MAX_SAMPLES]

    def _forget(self, first: int) -> None:
        """Drop the points from step `first` on, and the stages after this one."""
        for name in SERIES:
            points = getattr(self, name)
            while points and points[-1][0] >= first:
                points.pop()
        self.other_stages = {stage: part for stage, part in self.other_stages.items() if stage < self.stage}


def _put(points: list[tuple[int, Any]], step: int, value: Any) -> None:
    """Insert a point at its place: the evaluation at step 0 may come after the first step. Replaces one of the same step."""
    place = bisect_left(points, step, key=lambda point: point[0])
    is_known = place < len(points) and points[place][0] == step
    points[place : place + is_known] = [(step, value)]


def thinned(points: list[tuple[int, Any]], most: int) -> list[tuple[int, Any]]:
    """Return at most about `most` of `points`, evenly spread over their steps; the first and the last one always."""
    if len(points) <= most:
        return points
    distance = (points[-1][0] - points[0][0]) / most
    found = points[:1]
    for point in points[1:-1]:
        if point[0] - found[-1][0] >= distance:
            found.append(point)
    return [*found, points[-1]]


def state_of(events_file: Path, with_curves: bool = True) -> RunState:
    """Compute the state from the events in the file; a new RunState when there is no file.

    Without curves only the first and the last of steps in a row are parsed, which is quicker and all that a list needs.
    Lines that are damaged are left out and counted. The status is UNREADABLE when there is nothing else, or no way to read it.
    """
    try:
        *lines, cut_off = events_file.read_bytes().split(b"\n")
        lines = [line for line in lines if line]
    except FileNotFoundError:
        return RunState()
    except OSError as error:
        return _unreadable(error.strerror or str(error))
    state = RunState()
    for line in lines if with_curves else _without_inner_steps(lines):
        event = parse_event(line)
        if event is not None:
            state.apply(event)
        elif line.strip():
            state.damaged_lines += 1
    event = _cut_off_event(cut_off)
    if event is not None:
        state.apply(event)
    if not state.damaged_lines or state != RunState(damaged_lines=state.damaged_lines):
        return state
    return _unreadable(_("it holds no event")) if with_curves else state_of(events_file)


def _without_inner_steps(lines: list[bytes]) -> Iterator[bytes]:
    """Yield the lines without the steps that stand between two other steps."""
    are_steps = [STEP_MARK in line[:MARK_WITHIN_BYTES] for line in lines]
    for number, line in enumerate(lines):
        if not (0 < number < len(lines) - 1 and all(are_steps[number - 1 : number + 2])):
            yield line


def _cut_off_event(line: bytes) -> Event | None:
    """Return the event in a last line without its end: a run that wrote the beginning of its last event is over."""
    event = parse_event(line) if line else None
    if event is None and (found := LAST_EVENT.match(line)):
        message = _("The end of its last event is missing.")
        return {"time": float(found[1]), "event": found[2].decode(), "message": message}
    return event


def _unreadable(why: str) -> RunState:
    return RunState(
        status=UNREADABLE,
        activity="",
        message=_("Its events.jsonl cannot be read: {why}.", why=why),
        hint=_("Move that file away and resume, or delete the run; its adapter stays in your adapters."),
    )
