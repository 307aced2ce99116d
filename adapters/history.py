"""What a training left behind for those who look at its adapter: curves and sample answers, from the run's events."""

from dataclasses import dataclass, field
from pathlib import Path

from adapters.library import Adapter
from common.files import read_events
from common.paths import contained, runs_folder


@dataclass
class History:
    """Losses as (step, loss) points, and the answers before the first and after the last step."""

    losses: list[tuple[int, float]] = field(default_factory=list)
    eval_losses: list[tuple[int, float]] = field(default_factory=list)
    answers_before: list[dict] = field(default_factory=list)
    answers_after: list[dict] = field(default_factory=list)


def read_history(adapter: Adapter) -> History:
    """The history of the run that made `adapter`; an empty one for an adapter that was made elsewhere."""
    history = History()
    events = _events_file(adapter)
    for event in read_events(events) if events else []:
        _apply(history, event)
    return history


def has_own_prompts(adapter: Adapter) -> bool:
    """True when the sample answers show nothing of the data: the prompts were typed, or are of the built-in example.

    Without typed prompts a training answers the openings of held-out conversations: rows of somebody's data.
    """
    config = adapter.training_config()
    typed, held_out = config.get("sample_prompts"), config.get("eval_data")
    return bool(isinstance(typed, str) and typed.strip()) or (config.get("data") == "example" and not held_out)


def _events_file(adapter: Adapter) -> Path | None:
    """A run and its adapter have the same name until the adapter is renamed."""
    if adapter.origin.get("kind") != "trained":
        return None
    owner = adapter.folder.parent.name
    for name in [adapter.name, *(adapter.record.get("former_names") or [])]:
        path = contained(runs_folder(owner), name) / "events.jsonl"
        if path.is_file():
            return path
    return None


def _apply(history: History, event: dict) -> None:
    kind = event.get("event")
    if kind == "stage":  # steps begin anew: the curve of the conversations is the one that is shown
        history.losses, history.eval_losses = [], []
    elif kind == "resumed":  # the steps after the checkpoint are trained again
        history.losses = [point for point in history.losses if point[0] <= event["step"]]
        history.eval_losses = [point for point in history.eval_losses if point[0] <= event["step"]]
    elif kind == "step":
        history.losses.append((event["step"], event["loss"]))
    elif kind == "eval":
        history.eval_losses.append((event["step"], event["loss"]))
    elif kind == "samples":
        if event["step"] == 0:
            history.answers_before = event["answers"]
        else:
            history.answers_after = event["answers"]
