"""The events that the training process writes, and the requests to stop that it obeys."""

import math
import os
import signal
import time
from collections import deque

import torch
from transformers import TrainerCallback

from models.hardware import peak_resident_bytes
from runs.failures import diagnose
from runs.run import EventLog, Run
from trainer.ranks import has_lost_a_sibling, rank, sum_over_ranks
from trainer.row_order import own_noise
from trainer.watchdog import HangWatch, is_finite

LAST_EVALUATION_SECONDS = 60.0  # for the held-out loss of a run that was stopped, or is out of time


class StopRequested(Exception):
    """A stop that came before the first step: there is nothing to save."""

    def __init__(self, message: str = "Stopped before the first step.") -> None:
        super().__init__(message)


class EvaluationStopped(Exception):
    """An evaluation that was cut short by a stop or the time limit: there is no loss."""


class StopWatch:
    """Says whether to stop: the run's stop file, SIGTERM, SIGINT, a launcher that is gone, or `max_minutes` that are over.

    The minutes count from when it was made, at the start of the process: preparing takes the machine too.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.began = time.monotonic()
        self.max_minutes: float = 0  # 0: no limit
        self.is_training = False
        self.was_signalled = False
        self.launcher = os.getppid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number, frame) -> None:
        self.was_signalled = True
        if self.is_training:
            return  # heard at the end of the step, by all ranks together
        raise diagnose("process_lost") if has_lost_a_sibling() else StopRequested

    def check(self) -> None:
        """Raise StopRequested before the training has begun. Several ranks agree at their first step instead."""
        if not self.is_training and os.environ.get("WORLD_SIZE", "1") == "1":
            self.end_before_training(self.is_requested(), self.is_late())

    def end_before_training(self, is_requested: bool, is_late: bool) -> None:
        """Raise StopRequested, with its reason, for either."""
        if is_requested:
            raise StopRequested
        if is_late:
            raise StopRequested(f"The {self.max_minutes:g} minutes of max_minutes were over before the first step.")

    def is_requested(self) -> bool:
        """Return whether this process was asked to stop, or its launcher is gone."""
        return self.was_signalled or self.run.stop_file.exists() or os.getppid() != self.launcher

    def is_late(self) -> bool:
        """Return whether `max_minutes` are over."""
        return self.max_minutes > 0 and time.monotonic() - self.began >= 60 * self.max_minutes


class ProgressCallback(TrainerCallback):
    """Writes events for steps, evaluations and checkpoints, and stops all ranks at the same step.

    One for all stages of a run; `begin_stage` starts the next. `was_stopped` says that a stop or the time limit ended it.
    """

    def __init__(self, events: EventLog, watch: StopWatch) -> None:
        self.events = events
        self.watch = watch
        self.hang_watch: HangWatch | None = None  # with several processes
        self.is_last_stage = True
        self.durations: deque[tuple[float, int]] = deque(maxlen=20)  # (seconds, tokens) of the last steps
        self.seconds = 0.0
        self.tokens = 0
        self.was_stopped = False
        self.is_out_of_time = False
        self._evaluates_until = 0.0
        self._step_tokens = 0
        self._step_began = 0.0

    def begin_stage(self, is_last: bool) -> None:
        """Reset the clocks: speeds are those of the stage that runs."""
        self.is_last_stage = is_last
        self.durations.clear()
        self.seconds, self.tokens = 0.0, 0

    def count_tokens(self, count: int) -> None:
        """Count the tokens of a training batch, padding left out. The trainer calls it."""
        self.beat()
        self._step_tokens += count

    def beat(self) -> None:
        """Report to the watch for hangs that the training moves."""
        if self.hang_watch:
            self.hang_watch.beat()

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        """Seed the noise of this process."""
        own_noise(args.seed, rank())  # a checkpoint's random state, of each process its own, is read after this

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        """Start the clock of the step; from now on a signal is heard at its end."""
        self.watch.is_training = True
        self._step_tokens = 0
        self._step_began = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        """Add up the seconds and tokens of all ranks, and stop all of them when one was asked to."""
        seconds = time.perf_counter() - self._step_began
        stop, is_late, tokens = sum_over_ranks(self.watch.is_requested(), self.watch.is_late(), self._step_tokens)
        self.durations.append((seconds, tokens))
        self.seconds += seconds
        self.tokens += tokens
        self._stop_when(stop, is_late, state, control)

    def _stop_when(self, stop: int, is_late: int, state, control, may_save: bool = True) -> None:
        """End the training here, unless it ends by itself."""
        if (stop or is_late) and (state.global_step < state.max_steps or not self.is_last_stage):
            self.was_stopped = control.should_training_stop = True
            control.should_save = may_save
            self.is_out_of_time = bool(is_late) and not stop

    def begin_last_evaluation(self) -> None:
        """Give the evaluation after the training LAST_EVALUATION_SECONDS, even after a stop."""
        self._evaluates_until = time.monotonic() + LAST_EVALUATION_SECONDS

    def on_prediction_step(self, args, state, control, model=None, **kwargs) -> None:
        """Cut an evaluation short, on all ranks at the same batch."""
        self.beat()
        is_over = time.monotonic() >= self._evaluates_until
        stop, is_late = sum_over_ranks(is_over and self.watch.is_requested(), is_over and self.watch.is_late())
        if not (stop or is_late):
            return
        if not self.watch.is_training:
            self.watch.end_before_training(bool(stop), bool(is_late))
        control.should_evaluate = False
        if not self._evaluates_until:
            self._stop_when(stop, is_late, state, control, may_save=is_finite(model))
        raise EvaluationStopped

    def stop_message(self, step: int, total_steps: int) -> str:
        """Return the sentence that says why a stopped run ended where it did."""
        reason = "Stopped"
        if self.is_out_of_time:
            reason = f"The {self.watch.max_minutes:g} minutes of max_minutes are over: stopped"
        return f"{reason} at step {step} of {total_steps}; what was learned is kept."

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        """Write a `step` event. A loss that is not finite is left to the watchdog."""
        logs = logs or {}
        if _number(logs.get("loss")) is None:
            return
        self.events.write_step(
            state.global_step,
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
        """Return the speed of the last 20 steps, evaluation and saving left out."""
        return sum(tokens for _, tokens in self.durations) / max(sum(seconds for seconds, _ in self.durations), 1e-9)

    def eta_seconds(self, state) -> float:
        """Return the seconds that the remaining steps take, at the mean of the last 20."""
        mean = sum(seconds for seconds, _ in self.durations) / max(len(self.durations), 1)
        return mean * (state.max_steps - state.global_step)

    def on_evaluate(self, args, state, control, metrics=None, **kwargs) -> None:
        """Write an `eval` event with the held-out loss per token."""
        assert metrics  # transformers always passes them
        self.events.write("eval", step=state.global_step, loss=metrics["eval_loss"])

    def on_save(self, args, state, control, **kwargs) -> None:
        """Write a `checkpoint` event."""
        self.beat()
        self.events.write("checkpoint", step=state.global_step)
        self.events.write("training")


def peak_memory_bytes() -> int:
    """Return the most memory this process held: on the GPU where there is one, else in RAM."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return peak_resident_bytes()


def _number(value) -> float | None:
    """Return a float that JSON can hold; None for NaN and infinity."""
    value = float(value) if value is not None else math.nan
    return value if math.isfinite(value) else None
