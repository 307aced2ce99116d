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
from typing import Any

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
        self._late = LateNumbers()
        self._streak = (FINE, 0)

    def add(self, loss: torch.Tensor) -> None:
        """The loss of one batch of the step under way."""
        self._loss = loss if self._loss is None else self._loss + loss

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        self._loss = self.grad_norm = None

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        step, numbers = self._late.swap(state.global_step, self._numbers())
        (found,) = max_over_ranks(_look(*numbers))  # the worst of all ranks: they end at the same step
        known, steps = self._streak
        self._streak = (found, steps + 1 if found == known else 1)
        if found != FINE and found != known:
            self.events.write("note", message=f"Step {step}: {NOTES[found]}.")
        if found != FINE and self._streak[1] >= PATIENCE[found]:
            first = step - self._streak[1] + 1
            raise diagnose(CODES[found], message=f"Since step {first} {NOTES[found]}; the training was ended.")
        if control.should_save and not is_finite(model):
            control.should_save = False

    def _numbers(self) -> torch.Tensor | None:
        """[loss, gradient norm] of the step; a norm that nobody measured is 0."""
        if self._loss is None:
            return None
        norm = 0.0 if self.grad_norm is None else self.grad_norm
        norm = norm if torch.is_tensor(norm) else torch.full_like(self._loss, norm)
        return torch.stack([self._loss.detach().float(), norm.detach().float()])


class LateNumbers:
    """Numbers of a step that a GPU computes are read a step later: by then they are there, and it need not be waited for."""

    def __init__(self) -> None:
        self._copied: tuple | None = None

    def swap(self, step: int, numbers: torch.Tensor | None) -> tuple[int, list[float]]:
        """(step, numbers) of the call before for numbers on a GPU, those given for any other; [] where there are none."""
        if numbers is None or not numbers.is_cuda:
            return step, [] if numbers is None else numbers.tolist()
        before, copy = self._copied, torch.empty(numbers.shape, pin_memory=True)
        copy.copy_(numbers, non_blocking=True)
        is_copied = torch.cuda.Event()
        is_copied.record()
        self._copied = (step, copy, is_copied)
        if before is None:
            return step, []
        before[2].synchronize()
        return before[0], before[1].tolist()


def _look(loss: float | None = None, grad_norm: float = 0.0) -> int:
    if loss is None:
        return FINE
    if not math.isfinite(loss):
        return LOSS_NAN
    if not math.isfinite(grad_norm):
        return GRADIENT_NAN
    return LOSS_ZERO if loss == 0.0 else FINE


def is_finite(model) -> bool:
    """False when a trained weight is not a number, in any process: where weights are split each has others. All must call it."""
    trained = [_own_part(weight) for weight in model.parameters() if weight.requires_grad]
    (broken,) = max_over_ranks(not all(bool(part.isfinite().all()) for part in trained))
    return not broken


def _own_part(weight: Any) -> torch.Tensor:
    """What this process holds of a weight: of FSDP2's its shard, of ZeRO-3's the part beside an empty weight."""
    return weight.to_local() if hasattr(weight, "to_local") else getattr(weight, "ds_tensor", weight)


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
        looked = time.monotonic()
        while not self._ended.wait(self.LOOK_SECONDS):
            now = time.monotonic()
            if now - looked > self.STALE_SECONDS:  # all of this process was stopped (SIGSTOP, a laptop that slept)
                self._last = now
            looked = now
            (self.folder / str(rank())).write_text(str(self.beats))
            # `now`, not the clock again: the process may have been stopped in between
            if now - self._last > self.seconds:
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
