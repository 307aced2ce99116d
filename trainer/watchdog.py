"""Ends a training whose loss is not a number, or exactly 0, for several steps on end, and one that waits for a dead process.

Every step is checked, whatever is logged, on all ranks alike. A checkpoint whose weights are not numbers is not written, so
the last good one stays.
"""

import faulthandler
import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import TrainerCallback

from common.language import _, joined
from runs.failures import diagnose
from runs.run import EventLog
from trainer.ranks import max_over_ranks, rank

FINE, GRADIENT_NAN, LOSS_ZERO, LOSS_NAN = range(4)
# steps on end; fp16's gradient scaler looks for its scale and skips some steps, so gradients get the longest
PATIENCE = {GRADIENT_NAN: 15, LOSS_ZERO: 5, LOSS_NAN: 3}
CODES = {GRADIENT_NAN: "loss_nan", LOSS_ZERO: "loss_zero", LOSS_NAN: "loss_nan"}
NOTES = {
    GRADIENT_NAN: _("The gradient is not a number."),
    LOSS_ZERO: _("The loss is exactly 0."),
    LOSS_NAN: _("The loss is not a number."),
}


class LossWatch(TrainerCallback):
    """Raises Failure when the losses or gradient norms, which the trainer sets, are broken for `PATIENCE` steps on end."""

    def __init__(self, events: EventLog) -> None:
        self.events = events
        self.grad_norm: float | torch.Tensor | None = None
        self._loss: torch.Tensor | None = None
        self._late = LateNumbers()
        self._streak = (FINE, 0)

    def add(self, loss: torch.Tensor) -> None:
        """Add the loss of one batch of the step under way."""
        self._loss = loss if self._loss is None else self._loss + loss

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        """Forget the loss and the gradient norm of the step before."""
        self._loss = self.grad_norm = None

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        """Judge the step; raise Failure after too many broken ones, and forbid a checkpoint of broken weights."""
        numbers = None
        if self._loss is not None:
            norm = 0.0 if self.grad_norm is None else self.grad_norm  # None: not measured
            norm = norm if torch.is_tensor(norm) else torch.full_like(self._loss, norm)
            numbers = torch.stack([self._loss.detach().float(), norm.detach().float()])
        step, known_numbers = self._late.swap(state.global_step, numbers)
        (found,) = max_over_ranks(_judge(*known_numbers))  # the worst of all ranks: they end at the same step
        known, steps = self._streak
        self._streak = (found, steps + 1 if found == known else 1)
        if found != FINE and found != known:
            self.events.write("note", message=_("Step {step}: {what}", step=step, what=NOTES[found]))
        if found != FINE and self._streak[1] >= PATIENCE[found]:
            first = step - self._streak[1] + 1
            ended = _(
                "This went on from step {first} to step {step}, so the training was stopped.", first=first, step=step
            )
            raise diagnose(CODES[found], message=joined([NOTES[found], ended]))
        if control.should_save and not is_finite(model):
            control.should_save = False


class LateNumbers:
    """Reads the numbers that a GPU computes a step later: by then they are there, and no step waits for them."""

    def __init__(self) -> None:
        self._copied: tuple | None = None

    def swap(self, step: int, numbers: torch.Tensor | None) -> tuple[int, list[float]]:
        """Return (step, numbers) of the call before for numbers on a GPU, else those given; [] where there are none."""
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


def _judge(loss: float | None = None, grad_norm: float = 0.0) -> int:
    if loss is None:
        return FINE
    if not math.isfinite(loss):
        return LOSS_NAN
    if not math.isfinite(grad_norm):
        return GRADIENT_NAN
    return LOSS_ZERO if loss == 0.0 else FINE


def is_finite(model) -> bool:
    """Return False when a trained weight is not a number in any process. All must call it: split weights differ."""
    is_broken = False
    for weight in model.parameters():
        if weight.requires_grad:
            # of a weight that FSDP2 splits this process holds a shard, of ZeRO-3's a part beside an empty weight
            part = weight.to_local() if hasattr(weight, "to_local") else getattr(weight, "ds_tensor", weight)
            is_broken |= not part.isfinite().all()
    (found,) = max_over_ranks(is_broken)
    return not found


class HangWatch(threading.Thread):
    """Notices that this process waits for another one for too long; a wait inside a GPU driver raises nothing.

    `beat` is called whenever the training moves. Each process writes the number of its beats into a file of the run; after
    `seconds` without one, `on_hang` is called with a sentence that names the processes that stand still, "" if unknown.
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
        """Count one more sign that the training moves."""
        self.beats += 1
        self._last = time.monotonic()

    def end(self) -> None:
        """End the thread."""
        self._ended.set()

    def run(self) -> None:
        """Write the beats of this process every second, until `end`, or until they stopped for `seconds`."""
        self.folder.mkdir(exist_ok=True)
        looked = self._last  # not the clock: the process may have been stopped since
        while not self._ended.wait(self.LOOK_SECONDS):
            now = time.monotonic()
            if now - looked > self.STALE_SECONDS:  # all of this process was stopped (SIGSTOP, a laptop that slept)
                self._last = now
            looked = now
            (self.folder / str(rank())).write_text(str(self.beats))
            # `now`, not the clock again: the process may have been stopped in between
            if now - self._last > self.seconds:
                faulthandler.dump_traceback()  # into the log: where each thread of this process waits
                try:
                    who = self._who_stands_still()
                except (OSError, ValueError):  # a file is being written, or gone
                    who = ""
                self.on_hang(who)
                return

    def _who_stands_still(self) -> str:
        now, shown = time.time(), {}
        for file in self.folder.iterdir():
            text = file.read_text()
            stale = now - file.stat().st_mtime > self.STALE_SECONDS
            shown[int(file.name)] = -1 if stale else int(text) if text.isdigit() else self.beats
        still = sorted(number for number, beats in shown.items() if beats < self.beats and number != rank())
        return _("Process {numbers} does not move.", numbers=", ".join(map(str, still))) if still else ""
