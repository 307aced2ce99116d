"""What a training left in its adapter's folder for people: the curve of its losses, and sample answers.

The trainer writes `curve.json` (the points of the last stage) when it publishes the adapter; the answers are in metrics.json. An
adapter from elsewhere has neither.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from adapters.library import Adapter
from common.files import read_object, write_json

CURVE = "curve.json"
MAX_CURVE_BYTES = 1_000_000

Points = list[tuple[int, float]]


class Answer(TypedDict):
    """A prompt and the model's answer, both clipped; `is_cut` says that the answer did not come to its end."""

    prompt: str
    answer: str
    is_cut: NotRequired[bool]


@dataclass
class History:
    """Losses as (step, loss) points, the kept step, and the answers before the first and after the last step."""

    losses: Points = field(default_factory=list)
    eval_losses: Points = field(default_factory=list)
    kept_step: int | None = None
    answers_before: list[Answer] = field(default_factory=list)
    answers_after: list[Answer] = field(default_factory=list)


def write_curve(folder: Path, losses: Points, eval_losses: Points) -> None:
    """Write the curve of the adapter in `folder`."""
    write_json(folder / CURVE, {"losses": losses, "eval_losses": eval_losses})


def read_history(adapter: Adapter) -> History:
    """Read the history of an adapter that was trained here; an empty one of an adapter from elsewhere."""
    if adapter.origin.kind != "trained":
        return History()
    curve = read_object(adapter.folder / CURVE, MAX_CURVE_BYTES)
    return History(
        losses=_points(curve.get("losses")),
        eval_losses=_points(curve.get("eval_losses")),
        kept_step=kept_step(adapter.metrics),
        answers_before=_answers(adapter.metrics.get("samples_before")),
        answers_after=_answers(adapter.metrics.get("samples_after")),
    )


def kept_step(metrics: Mapping[str, Any]) -> int | None:
    """Return the step whose weights are the adapter, where it is not the last one; None else."""
    kept, last = metrics.get("kept_step"), metrics.get("step")
    return kept if type(kept) is int and type(last) is int and 0 < kept < last else None


def _points(value: object) -> Points:
    """Return the valid (step, loss) points of a JSON value."""
    pairs = [pair for pair in value if isinstance(pair, list) and len(pair) == 2] if isinstance(value, list) else []
    return [
        (step, loss)
        for step, loss in pairs
        if type(step) is int and isinstance(loss, int | float) and math.isfinite(loss)
    ]


def _answers(value: object) -> list[Answer]:
    """Return the prompts and answers of a JSON value as text."""
    answers = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
    return [
        Answer(prompt=str(one.get("prompt")), answer=str(one.get("answer")), is_cut=bool(one.get("is_cut")))
        for one in answers
    ]


def has_own_prompts(adapter: Adapter) -> bool:
    """Return whether the sample prompts were typed or are of the built-in example, so that they show none of the data.

    Without typed prompts a training answers the openings of held-out conversations: rows of somebody's data.
    """
    config = adapter.training_config()
    typed, held_out = config.get("sample_prompts"), config.get("eval_data")
    return bool(isinstance(typed, str) and typed.strip()) or (config.get("data") == "example" and not held_out)
