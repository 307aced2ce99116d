"""What trackers are told of a run: its curves under the names that transformers gives them, and its settings."""

import json
from dataclasses import dataclass
from pathlib import Path

from runs.config import CARD, TOLD, TrainConfig, marked
from runs.events import read_events
from runs.run import Run
from runs.state import RunState

TAGS = {
    "losses": "train/loss",
    "learning_rates": "train/learning_rate",
    "grad_norms": "train/grad_norm",
    "speeds": "train/tokens_per_second",
    "memories": "train/peak_memory_bytes",
    "eval_losses": "eval/loss",
}


@dataclass(frozen=True)
class Point:
    """The values of one step, counted over all stages; `time` in seconds since 1970."""

    step: int
    time: float
    values: dict[str, float]


def read_points(run: Run) -> list[Point]:
    """Return the points of all curves by step. Steps that a resume trained again count once."""
    state, times = RunState(), {}
    for event in read_events(run.events_file):
        state.apply(event)
        if event.get("event") in ("step", "eval", "tested"):
            before = state.steps_before(state.stage) if state.other_stages else 0
            times[before + event.get("step", 0)] = event.get("time", 0.0)
    values: dict[int, dict[str, float]] = {}
    for series, tag in TAGS.items():
        for step, value in state.curve(series):
            values.setdefault(step, {})[tag] = value
    for step, tested in state.curve("tested"):
        values.setdefault(step, {}).update({f"test/{name}/loss": one["loss"] for name, one in tested.items()})
    return [Point(step, times.get(step, 0.0), values[step]) for step in sorted(values)]


def settings_of(run: Run) -> dict[str, str | int | float | bool]:
    """Return the settings that may travel: no word of a person, no path."""
    config = run.config_or_none() or TrainConfig()
    found = {name: getattr(config, name) for name in marked(TOLD, CARD)}
    if not Path(config.base).is_absolute():
        found["base"] = config.base
    return {name: value for name, value in found.items() if value is not None}


def settings_text(run: Run) -> str:
    """Return the settings as a table in Markdown."""
    rows = [f"| {name} | {json.dumps(value, ensure_ascii=False)} |" for name, value in settings_of(run).items()]
    return "\n".join(["| setting | value |", "|---|---|", *rows])
