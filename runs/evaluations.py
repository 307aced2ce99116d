"""The evaluations on the held-out rows that decide which step is kept, and when a stage ends early; the best sample.

Light: no torch. Evaluations are the held-out losses in the log of the trainer's state, which every checkpoint holds: a kill, a
resume and a checkpoint that comes back from the Hub change nothing. Step 0 is the model as it came, and does not count.
"""

import math
from difflib import SequenceMatcher
from pathlib import Path

from common.files import read_object
from runs.checkpoints import COMPLETE
from runs.events import Answer

STATE = "trainer_state.json"
MAX_COMPARED_WORDS = 200  # of an answer: comparing takes the square of it
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


def best_sample(before: list[Answer], after: list[Answer]) -> tuple[Answer, Answer] | None:
    """Return the (before, after) of the prompt whose answers differ most, word by word; None where none differ.

    Both have words. A pair in which an answer was cut is taken only where there is no whole one.
    """
    last = {answer["prompt"]: answer for answer in after}
    pairs = [(first, last[first["prompt"]]) for first in before if first["prompt"] in last]

    def worth(pair: tuple[Answer, Answer]) -> tuple[bool, float]:
        words = [answer["answer"].split()[:MAX_COMPARED_WORDS] for answer in pair]
        is_whole = not any(answer.get("is_cut") for answer in pair)
        return is_whole, 1 - SequenceMatcher(None, *words, autojunk=False).ratio()

    pairs = [pair for pair in pairs if all(answer["answer"].split() for answer in pair) and worth(pair)[1] > 0]
    return max(pairs, key=worth, default=None)
