"""The evaluations on the held-out rows that decide which step is kept, and when a stage ends early.

Light: no torch. Evaluations are the held-out losses in the log of the trainer's state, which every checkpoint holds: a kill, a
resume and a checkpoint that comes back from the Hub change nothing. Step 0 is the model as it came, and does not count.
"""

import math
from pathlib import Path

from common.files import read_object
from runs.checkpoints import COMPLETE

STATE = "trainer_state.json"
Evaluations = dict[int, float]  # {step: held-out loss}


def evaluations_in(log: object) -> Evaluations:
    """Return the evaluations in the `log_history` of a TrainerState."""
    found: Evaluations = {}
    for entry in log if isinstance(log, list) else []:
        step, loss = (entry.get("step"), entry.get("eval_loss")) if isinstance(entry, dict) else (None, None)
        if type(step) is int and step > 0 and isinstance(loss, int | float) and math.isfinite(loss):
            found[step] = loss
    return found


def evaluations_of(checkpoint: Path) -> Evaluations:
    """Return the evaluations until `checkpoint`."""
    return evaluations_in(read_object(checkpoint / STATE).get("log_history"))


def best_step(evaluations: Evaluations) -> int | None:
    """Return the step of the lowest loss, the first of equal ones; None without evaluations."""
    return min(sorted(evaluations), key=evaluations.__getitem__, default=None)


def is_patience_over(evaluations: Evaluations, patience: int) -> bool:
    """Return whether the last `patience` evaluations were no lower than the best before them; never with a patience of 0."""
    best = best_step(evaluations)
    return patience > 0 and best is not None and sum(step > best for step in evaluations) >= patience


def best_beside(checkpoint: Path) -> Path | None:
    """Return the best checkpoint by the evaluations of `checkpoint`; None when it is that itself, or not there whole."""
    found = checkpoint.with_name(f"checkpoint-{best_step(evaluations_of(checkpoint))}")
    return found if found != checkpoint and (found / COMPLETE).exists() else None
