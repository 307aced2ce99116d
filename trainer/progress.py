"""What the training process tells the world, and what it listens to: events out, stop requests in."""

import math
import os
import signal
import sys
import time
from collections import deque

import psutil
import torch
from transformers import TrainerCallback

from common.files import write_text
from trainer.run import EventLog, Run

COMPLETE = "complete"  # the file that marks a checkpoint as wholly written


class StopRequested(Exception):
    """A stop that came before the first step: there is nothing to save."""


class StopWatch:
    """Knows whether to stop: the run's stop file, SIGTERM, SIGINT, or a launcher that is gone."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.is_training = False
        self.was_signalled = False
        self.launcher = os.getppid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number, frame) -> None:
        self.was_signalled = True
        if not self.is_training:
            raise StopRequested

    def check(self) -> None:
        """Raise StopRequested before the training has begun. Several ranks agree at their first step instead."""
        if self.is_requested() and os.environ.get("WORLD_SIZE", "1") == "1":
            raise StopRequested

    def is_requested(self) -> bool:
        return self.was_signalled or self.run.stop_file.exists() or os.getppid() != self.launcher


class ProgressCallback(TrainerCallback):
    """Writes an event for every step, evaluation and checkpoint, and stops all ranks at the same step."""

    def __init__(self, events: EventLog, watch: StopWatch) -> None:
        self.events = events
        self.watch = watch
        self.durations: deque[tuple[float, int]] = deque(maxlen=20)  # (seconds, tokens) of the last steps
        self.seconds = 0.0
        self.tokens = 0
        self.was_stopped = False
        self._step_tokens = 0
        self._step_began = 0.0

    def count_tokens(self, inputs: dict) -> None:
        """Called by the trainer with every training batch: what is counted is what is computed, without padding."""
        mask = inputs.get("attention_mask")
        self._step_tokens += int(mask.sum()) if mask is not None else inputs["input_ids"].numel()

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        self.watch.is_training = True
        self._step_tokens = 0
        self._step_began = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        seconds = time.perf_counter() - self._step_began
        stop, tokens = self._over_all_ranks(self.watch.is_requested(), self._step_tokens)
        self.durations.append((seconds, tokens))
        self.seconds += seconds
        self.tokens += tokens
        if stop and state.global_step < state.max_steps:
            self.was_stopped = control.should_training_stop = control.should_save = True

    def _over_all_ranks(self, stop: bool, tokens: int) -> tuple[bool, int]:
        """One sum over the ranks: whoever heard the request, all stop at this step."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return stop, tokens
        device = "cuda" if torch.cuda.is_available() else "cpu"
        both = torch.tensor([int(stop), tokens], dtype=torch.int64, device=device)
        torch.distributed.all_reduce(both)
        return bool(both[0]), int(both[1])

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if "loss" not in (logs or {}):
            return
        self.events.write(
            "step",
            step=state.global_step,
            total_steps=state.max_steps,
            epoch=round(logs.get("epoch", 0.0), 4),
            loss=logs["loss"],
            grad_norm=_number(logs.get("grad_norm")),
            learning_rate=_number(logs.get("learning_rate")),
            tokens_per_second=round(self.tokens_per_second(), 1),
            eta_seconds=round(self.eta_seconds(state), 1),
            peak_memory_bytes=peak_memory_bytes(),
        )

    def tokens_per_second(self) -> float:
        """Over the last 20 steps, evaluation and saving left out."""
        return sum(tokens for _, tokens in self.durations) / max(sum(seconds for seconds, _ in self.durations), 1e-9)

    def eta_seconds(self, state) -> float:
        mean = sum(seconds for seconds, _ in self.durations) / max(len(self.durations), 1)
        return mean * (state.max_steps - state.global_step)

    def on_evaluate(self, args, state, control, metrics=None, **kwargs) -> None:
        self.events.write("eval", step=state.global_step, loss=metrics["eval_loss"])

    def on_save(self, args, state, control, **kwargs) -> None:
        """Mark the checkpoint as whole: a resume takes the last marked one, so a crash in mid-write costs no run."""
        if not state.is_world_process_zero:
            return
        folder = self.watch.run.checkpoints_folder / f"checkpoint-{state.global_step}"
        (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle that nothing here reads
        write_text(folder / COMPLETE, f"{state.global_step}\n")
        self.events.write("checkpoint", step=state.global_step)


def last_checkpoint(run: Run) -> str | None:
    """The newest checkpoint that was wholly written, or None."""
    marks = run.checkpoints_folder.glob(f"checkpoint-*/{COMPLETE}")
    folders = sorted((mark.parent for mark in marks), key=lambda folder: int(folder.name.split("-")[1]))
    return str(folders[-1]) if folders else None


def peak_memory_bytes() -> int:
    """The most memory this process held: on the GPU where there is one, else in RAM."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource  # not there on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB


def _number(value) -> float | None:
    """A float that JSON can hold; None for NaN and infinity."""
    value = float(value) if value is not None else math.nan
    return value if math.isfinite(value) else None
