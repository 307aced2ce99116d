"""The events that the training process writes while it trains, and the moments at which a stop ends it."""

import math
import time
from collections import deque

import torch
from transformers import TrainerCallback

from common.language import Sentence, _, n_
from models.hardware import peak_resident_bytes
from runs.run import EventLog
from trainer.pace import ANSWER, EVALUATE, SAVE, TRAIN, Pace, StageWork, Work
from trainer.ranks import rank, sum_over_ranks, world_size
from trainer.row_order import own_noise
from trainer.stop_watch import StopWatch
from trainer.watchdog import HangWatch, is_finite

# for the held-out loss and the answers after the last step: of a run that was stopped, and of one that is out of time
STOPPED_SECONDS, LATE_SECONDS = 3.0, 60.0


class EvaluationStopped(Exception):
    """An evaluation that was cut short by a stop or the time limit: there is no loss."""


class ProgressCallback(TrainerCallback):
    """Writes events for steps, evaluations and checkpoints, and stops all ranks at the same step.

    One for all stages of a run; `begin_stage` starts the next. `was_stopped` says that a stop or the time limit ended it,
    `is_paused` that its slice is over and the next one goes on.
    """

    def __init__(self, events: EventLog, watch: StopWatch) -> None:
        self.events = events
        self.watch = watch
        self.hang_watch: HangWatch | None = None  # with several processes
        self.pace = Pace()
        self.stage: StageWork | None = None
        self.later: list[StageWork] = []
        self.durations: deque[tuple[float, int]] = deque(maxlen=20)  # (seconds, tokens) of the last steps
        self.seconds = 0.0
        self.tokens = 0
        self.was_stopped = False
        self.is_paused = False
        self.is_out_of_time = False
        self.is_ending = False
        self._heard: dict[bool, float] = {}  # when, after the last step: a stop (True), the time limit (False)
        self._step = 0
        self._looked = -1  # the last step that was evaluated
        self._step_tokens = 0
        self._began = 0.0  # the step, evaluation, answers or checkpoint under way
        self._batches = 0
        self._test_rows = 0  # while test sets are measured

    @property
    def is_last_stage(self) -> bool:
        """Whether no stage comes after this one."""
        return not self.later

    def begin_stage(self, stages: list[StageWork], step: int, looked: int) -> None:
        """Reset the clocks for the first of `stages`: speeds are those of the stage that runs.

        It goes on from `step`; `looked` is its last step that was evaluated, -1 for none.
        """
        self.stage, *self.later = stages
        self._step, self._looked = step, looked
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
        """Seed the noise of this process, and say how many steps there will be."""
        own_noise(args.seed, rank())  # a checkpoint's random state, of each process its own, is read after this
        self._step = state.global_step
        self.events.write("training", total_steps=state.max_steps)

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        """Start the clock of the step; from now on a signal is heard at its end."""
        self.watch.is_training = True
        self._step_tokens = 0
        self._began = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs) -> None:
        """Add up the seconds and tokens of all ranks, and stop all of them when one was asked to."""
        seconds = time.perf_counter() - self._began
        stop, is_late, tokens = sum_over_ranks(self.watch.is_requested(), self.watch.is_late(), self._step_tokens)
        self.durations.append((seconds, tokens))
        self.pace.add(TRAIN, seconds, tokens)
        self.seconds += seconds
        self.tokens += tokens
        self._step = state.global_step
        self._stop_when(stop, is_late, state, control)
        if not self.was_stopped and self._is_slice_over():
            self.is_paused = control.should_training_stop = control.should_save = True

    def _is_slice_over(self) -> bool:
        """Return whether the slice has no room for what comes until the end of the next step: evaluations, a checkpoint."""
        stage = self.stage
        if stage is None:
            return False
        steps = (self._step, self._step + 1)
        looks = sum(step == stage.steps or (stage.looks_every > 0 and step % stage.looks_every == 0) for step in steps)
        work = {
            TRAIN: stage.step_tokens,
            EVALUATE: looks * (stage.held_out_tokens + stage.test_tokens),
            ANSWER: looks * stage.has_answers,
            SAVE: 1,
        }
        return self.watch.is_slice_over(self.pace.seconds(work) or 0.0)

    def _stop_when(self, stop: int, is_late: int, state, control, may_save: bool = True) -> None:
        """End the training here, unless it ends by itself."""
        if (stop or is_late) and (state.global_step < state.max_steps or not self.is_last_stage):
            self.was_stopped = control.should_training_stop = True
            control.should_save = may_save
            self.is_out_of_time = bool(is_late) and not stop

    def stop_if_asked(self, state, control, model) -> None:
        """End the training after answers during which a stop came; all ranks must call it."""
        if self.is_ending or not self.watch.is_training:
            return
        stop, is_late = sum_over_ranks(self.watch.is_requested(), self.watch.is_late())
        if stop or is_late:
            self._stop_when(stop, is_late, state, control, may_save=is_finite(model))

    def begin_ending(self) -> None:
        """Give what comes after the last step some seconds more, even after a stop."""
        self.is_ending = True

    def seconds_left(self) -> float:
        """Return the seconds that an evaluation or answers still have: 0 while it trains and was asked to stop."""
        requested = self.watch.is_requested()
        if not (requested or self.watch.is_late()):
            return math.inf
        if not self.is_ending:
            return 0.0
        heard = self._heard.setdefault(requested, time.monotonic())
        return max(0.0, (STOPPED_SECONDS if requested else LATE_SECONDS) - (time.monotonic() - heard))

    def has_time_to_evaluate(self, tokens: float) -> bool:
        """Return whether an evaluation of so many tokens fits into the seconds that are left, as far as that is known."""
        return (self.pace.seconds({EVALUATE: tokens}) or 0.0) <= self.seconds_left()

    def begin_evaluation(self) -> None:
        """Write an `evaluating` event and start the clock."""
        self.events.write("evaluating")
        self._began, self._batches = time.perf_counter(), 0

    def begin_tests(self, rows: int) -> None:
        """Start the clock of an evaluation on the test sets, of so many rows."""
        self._began, self._batches, self._test_rows = time.perf_counter(), 0, rows

    def end_tests(self, is_whole: bool) -> None:
        """Count it as done, or as cut short."""
        self._test_rows = 0
        if self.stage and is_whole:
            self.pace.add(EVALUATE, time.perf_counter() - self._began, self.stage.test_tokens)

    def on_prediction_step(self, args, state, control, model=None, **kwargs) -> None:
        """Cut an evaluation short, on all ranks at the same batch."""
        self.beat()
        is_over = self.seconds_left() <= 0
        stop, is_late = sum_over_ranks(is_over and self.watch.is_requested(), is_over and self.watch.is_late())
        if not (stop or is_late):
            self._batches += 1
            self._show_evaluation(self._batches * args.per_device_eval_batch_size * world_size())
            return
        if not self.watch.is_training:
            self.watch.end_before_training(bool(stop), bool(is_late))
        control.should_evaluate = False
        if not self.is_ending:
            self._stop_when(stop, is_late, state, control, may_save=is_finite(model))
        raise EvaluationStopped

    def _show_evaluation(self, rows: int) -> None:
        if self.stage and self._test_rows:
            part = min(rows / self._test_rows, 1.0)
            done = self.stage.held_out_tokens + part * self.stage.test_tokens
            words = _("Measuring the loss on the test sets, {part:.0%} done", part=part)
            self._show(words, part, {EVALUATE: done, ANSWER: 1})
            return
        if not (self.stage and self.stage.held_out_rows):
            return
        count = self.stage.held_out_rows
        done = min(rows, count)
        words = n_(
            "Evaluating on {count} held-out example, {done} done",
            "Evaluating on {count} held-out examples, {done} done",
            count,
            done=done,
        )
        self._show(words, done / count, {EVALUATE: done / count * self.stage.held_out_tokens})

    def on_evaluate(self, args, state, control, metrics=None, **kwargs) -> None:
        """Write an `eval` event with the held-out loss per token."""
        assert metrics  # transformers always passes them
        if self.stage:
            self.pace.add(EVALUATE, time.perf_counter() - self._began, self.stage.held_out_tokens)
        self.events.write("eval", step=state.global_step, loss=metrics["eval_loss"])

    def answer_seconds(self) -> float:
        """Return the seconds that answers may take now; 0 where a stop leaves fewer than they took before."""
        left = self.seconds_left()
        if left < (self.pace.seconds({ANSWER: 1}) or 0.0):
            return 0.0
        return min(left, self.pace.answer_seconds(self.stage))

    def show_answers(self, done: int, count: int, part: float) -> None:
        """Show that so many of the answers are finished, and which part of the work that is."""
        self.beat()
        words = _("Writing sample answers, {done} of {count} done", done=done, count=count)
        evaluated = self.stage.held_out_tokens if self.stage else 0
        self._show(words, part, {EVALUATE: evaluated, ANSWER: part})

    def looked(self, step: int) -> None:
        """Count an evaluation with its answers as done."""
        self._looked = max(self._looked, step)

    def _show(self, words: Sentence, part: float, done: Work) -> None:
        self.events.write_activity(words, round(part, 3), eta_seconds=self.eta_seconds(done))

    def stop_message(self, step: int, total_steps: int) -> Sentence:
        """Return the sentence that says why a stopped run ended where it did."""
        if not self.is_out_of_time:
            return _("Stopped at step {step} of {steps}. What was learned is kept.", step=step, steps=total_steps)
        return _(
            "The time limit (max_minutes, {minutes} min) is over: stopped at step {step} of {steps}. What was learned is kept.",
            minutes=f"{self.watch.max_minutes:g}",
            step=step,
            steps=total_steps,
        )

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
            eta_seconds=self.eta_seconds({}),
            peak_memory_bytes=peak_memory_bytes(),
        )

    def tokens_per_second(self) -> float:
        """Return the speed of the last 20 steps, evaluation and saving left out."""
        return sum(tokens for __, tokens in self.durations) / max(sum(seconds for seconds, __ in self.durations), 1e-9)

    def eta_seconds(self, done: Work) -> float | None:
        """Return the seconds until the run ends, evaluations and answers too; `done` of the evaluation under way is done."""
        if not self.stage:
            return None
        parts = [self.stage.left(self._step, self._looked), *(stage.left(0, -1) for stage in self.later)]
        work = {kind: max(0.0, sum(part[kind] for part in parts) - done.get(kind, 0.0)) for kind in parts[0]}
        return self.pace.shown(self.pace.seconds(work))

    def begin_save(self) -> None:
        """Write a `saving` event for a checkpoint and start the clock."""
        self.events.write("saving", message=_("Writing a checkpoint"))
        self._began = time.perf_counter()

    def on_save(self, args, state, control, **kwargs) -> None:
        """Write a `checkpoint` event."""
        self.beat()
        self.pace.add(SAVE, time.perf_counter() - self._began, 1)
        self.events.write("checkpoint", step=state.global_step)
        self.events.write("training")


class AtEvaluations(TrainerCallback):
    """Looks at the model after every evaluation; where nothing is held out, where an evaluation would be."""

    def __init__(self, progress: ProgressCallback, eval_steps: int = 0) -> None:
        self.progress = progress
        self.eval_steps = eval_steps

    def look(self, model, step: int) -> None:
        """Look at the model as it is after `step`; all ranks call it."""
        raise NotImplementedError

    def on_evaluate(self, args, state, control, model=None, **kwargs) -> None:
        """Look after an evaluation."""
        self.look(model, state.global_step)
        self.progress.stop_if_asked(state, control, model)

    def on_step_end(self, args, state, control, model=None, **kwargs) -> None:
        """Look every `eval_steps` where nothing is evaluated."""
        if args.eval_strategy == "no" and self.eval_steps and state.global_step % self.eval_steps == 0:
            self.on_evaluate(args, state, control, model)

    def on_epoch_end(self, args, state, control, model=None, **kwargs) -> None:
        """Look after each epoch where nothing is evaluated and `eval_steps` is 0."""
        if args.eval_strategy == "no" and not self.eval_steps and not control.should_training_stop:
            self.on_evaluate(args, state, control, model)


def peak_memory_bytes() -> int:
    """Return the most memory this process held: on the GPU where there is one, else in RAM."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return peak_resident_bytes()


def _number(value) -> float | None:
    """Return a float that JSON can hold; None for NaN and infinity."""
    value = float(value) if value is not None else math.nan
    return value if math.isfinite(value) else None
