"""Ends a training that learns nothing any more: a loss that is not a number, or exactly 0, for several steps on end.

Looks at every step, whatever is logged, on all ranks alike. A checkpoint whose weights are not numbers is not written, so the
last good one stays.
"""

import math

import torch
from transformers import TrainerCallback

from trainer.failures import diagnose
from trainer.run import EventLog

FINE, GRADIENT_NAN, LOSS_ZERO, LOSS_NAN = range(4)
# steps on end; fp16's gradient scaler looks for its scale and skips some steps, so gradients get the longest
PATIENCE = {GRADIENT_NAN: 15, LOSS_ZERO: 5, LOSS_NAN: 3}
CODES = {GRADIENT_NAN: "loss_nan", LOSS_ZERO: "loss_zero", LOSS_NAN: "loss_nan"}
NOTES = {
    GRADIENT_NAN: "the gradient is not a number",
    LOSS_ZERO: "the loss is exactly 0",
    LOSS_NAN: "the loss is not a number",
}


class LossWatch(TrainerCallback):
    """Told the loss of every batch and the gradient norm of every step by the trainer; raises Failure when it is hopeless."""

    def __init__(self, events: EventLog) -> None:
        self.events = events
        self.grad_norm: float | torch.Tensor | None = None
        self._loss: torch.Tensor | None = None
        self._streak = (FINE, 0)

    def add(self, loss: torch.Tensor) -> None:
        """The loss of one batch of the step under way."""
        self._loss = loss if self._loss is None else self._loss + loss

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        self._loss = self.grad_norm = None

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        found = self._over_all_ranks(self._look())
        known, steps = self._streak
        self._streak = (found, steps + 1 if found == known else 1)
        if found != FINE and found != known:
            self.events.write("note", message=f"Step {state.global_step}: {NOTES[found]}.")
        if found != FINE and self._streak[1] >= PATIENCE[found]:
            first = state.global_step - self._streak[1] + 1
            raise diagnose(CODES[found], message=f"Since step {first} {NOTES[found]}; the training was ended.")
        if control.should_save and not is_finite(model):
            control.should_save = False

    def _look(self) -> int:
        if self._loss is None:
            return FINE
        loss = float(self._loss)
        if not math.isfinite(loss):
            return LOSS_NAN
        if self.grad_norm is not None and not math.isfinite(float(self.grad_norm)):
            return GRADIENT_NAN
        return LOSS_ZERO if loss == 0.0 else FINE

    def _over_all_ranks(self, found: int) -> int:
        """The worst of all ranks, so that they end at the same step."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return found
        worst = torch.tensor([found], device="cuda" if torch.cuda.is_available() else "cpu")
        torch.distributed.all_reduce(worst, torch.distributed.ReduceOp.MAX)
        return int(worst)


def is_finite(model) -> bool:
    """False when a trained weight is not a number."""
    return all(bool(weight.isfinite().all()) for weight in model.parameters() if weight.requires_grad)
