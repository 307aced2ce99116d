"""Ends a training that learns nothing any more: a loss that is not a number, or exactly 0, for several steps on end; and one
that stands still because another of its processes does.

Looks at every step, whatever is logged, on all ranks alike. A checkpoint whose weights are not numbers is not written, so the
last good one stays.
"""

import faulthandler
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import TrainerCallback

from trainer.process.failures import diagnose
from trainer.process.ranks import max_over_ranks, rank
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
        (found,) = max_over_ranks(self._look())  # the worst of all ranks: they end at the same step
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


def is_finite(model) -> bool:
    """False when a trained weight is not a number."""
    return all(bool(weight.isfinite().all()) for weight in model.parameters() if weight.requires_grad)


class HangWatch(threading.Thread):
    """Notices that this process waits for another one, however it waits: a wait inside a GPU driver raises nothing.

    `beat` is called whenever the training moves. Each process shows its beats in a file of the run; after `seconds` without
    one, `on_hang` is called with a sentence that names the processes that stand still.
    """

    LOOK_SECONDS = 1.0
    STALE_SECONDS = 5.0

    def __init__(self, folder: Path, seconds: float, on_hang: Callable[[str], None]) -> None:
        super().__init__(name="hang-watch", daemon=True)
        self.folder = folder / "beats"
        self.seconds = seconds
        self.on_hang = on_hang
        self.beats = 0
        self._last = time.monotonic()
        self._ended = threading.Event()

    def beat(self) -> None:
        self.beats += 1
        self._last = time.monotonic()

    def end(self) -> None:
        self._ended.set()

    def run(self) -> None:
        self.folder.mkdir(exist_ok=True)
        while not self._ended.wait(self.LOOK_SECONDS):
            (self.folder / str(rank())).write_text(str(self.beats))
            if time.monotonic() - self._last > self.seconds:
                faulthandler.dump_traceback()  # into the log: where each thread of this process waits
                self.on_hang(self._still())
                return

    def _still(self) -> str:
        try:
            return self._who()
        except (OSError, ValueError):  # a file of it is being written, or gone
            return ""

    def _who(self) -> str:
        """Which processes stand still, as far as this machine can tell; "" when it cannot."""
        now, shown = time.time(), {}
        for file in self.folder.iterdir():
            text = file.read_text()
            stale = now - file.stat().st_mtime > self.STALE_SECONDS
            shown[int(file.name)] = -1 if stale else int(text) if text.isdigit() else self.beats
        still = sorted(number for number, beats in shown.items() if beats < self.beats and number != rank())
        return f"Process {', '.join(map(str, still))} stands still." if still else ""
