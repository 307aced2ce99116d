"""Which step of a stage is kept, and when the stage ends early: the settings `keep` and `early_stopping_patience`.

transformers' EarlyStoppingCallback and load_best_model_at_end do not fit: a best evaluation between two checkpoints is not kept,
a stop in the middle of one is a KeyError, the best weights do not come back under FSDP, and what is restored elsewhere names a
path of the machine before. Here the evaluations in the trainer's log decide (`runs.evaluations`), and the best one is saved at
once.
"""

from dataclasses import dataclass
from pathlib import Path

from transformers import TrainerCallback, TrainerState

from common.language import Sentence, _, joined, n_
from runs.checkpoints import MAX_KEPT, step_of, whole_steps
from runs.config import TrainConfig
from runs.evaluations import STATE, Evaluations, best_step, evaluations_in, evaluations_of, is_patience_over
from runs.machines.parallel import ENGINES, SPLIT_WEIGHTS
from trainer.patches.prepared import load_checkpoint
from trainer.ranks import common, max_over_ranks
from trainer.stages import History, Stage


class KeepBest(TrainerCallback):
    """Saves a step whose evaluation is the best so far, and ends the stage when the patience is over; on all ranks alike.

    `owed` is the evaluation at the step of the checkpoint that the stage goes on from, where a stop came before it.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.keeps_best = config.keep == "best"
        self.patience = config.early_stopping_patience
        self.owed: Evaluations = {}

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        """Add the owed evaluation to the log, as if no stop had come; take `eval_steps` of the settings, not the checkpoint's."""
        state.eval_steps = args.eval_steps
        state.log_history += [{"eval_loss": loss, "step": step} for step, loss in self.owed.items()]

    def on_evaluate(self, args, state, control, **kwargs) -> None:
        """Save the step if it is the best so far, and end the stage if the patience is over."""
        evaluations = evaluations_in(state.log_history)
        if state.global_step not in evaluations:
            return
        is_best = self.keeps_best and best_step(evaluations) == state.global_step
        is_best, is_over = max_over_ranks(is_best, is_patience_over(evaluations, self.patience))
        control.should_save = control.should_save or bool(is_best or is_over)
        control.should_training_stop = control.should_training_stop or bool(is_over)


def owed_evaluation(trainer, stage: Stage, checkpoint: Path, past: History) -> Evaluations:
    """Return the evaluation at the step of `checkpoint`, as {step: loss}, where one was due and a stop came before it; else {}.

    The last evaluation of the stopped run has it; else it is made now, with an engine inside `train`. All ranks must call it.
    """
    step = stage.step()
    is_due = stage.needs_evaluations and step % trainer.args.eval_steps == 0 and step not in evaluations_of(checkpoint)
    (is_missing,) = max_over_ranks(is_due and step not in past.eval_losses)
    if not is_missing:
        return {step: past.eval_losses[step]} if is_due else {}
    if stage.config.parallel in ENGINES:
        trainer.args.eval_on_start = True
        return {}
    load_state(trainer, checkpoint)
    metrics = trainer.evaluate()
    return {step: metrics["eval_loss"]} if metrics else {}


def load_state(trainer, checkpoint: Path) -> None:
    """Bring the trainer where `checkpoint` is: its weights and its state, as far as no training goes on from it."""
    load_checkpoint(trainer, str(checkpoint))
    trainer.state = TrainerState.load_from_json(str(checkpoint / STATE))


@dataclass(frozen=True)
class KeptStep:
    """The step whose weights are kept, its held-out loss, and its checkpoint; None for the last step, as the model is."""

    step: int
    loss: float | None
    checkpoint: Path | None = None


def keep_best(trainer, stage: Stage, last_loss: float | None) -> KeptStep:
    """Put the weights that are kept into the model; `last_loss` is the held-out loss of the last step.

    Where an engine splits the weights the model stays as it is: the adapter is published from the checkpoint. All ranks must
    call it.
    """
    last = trainer.state.global_step
    evaluations = evaluations_in(trainer.state.log_history) | ({last: last_loss} if last_loss is not None else {})
    checkpoint = _best_checkpoint(stage, evaluations, last)
    if checkpoint is None:
        return KeptStep(last, last_loss)
    if stage.config.parallel not in SPLIT_WEIGHTS:
        load_checkpoint(trainer, str(checkpoint))
    return KeptStep(step_of(checkpoint), evaluations[step_of(checkpoint)], checkpoint)


def kept_checkpoint(stage: Stage, past: History) -> Path | None:
    """Return the checkpoint of a finished stage that the next one goes on from; None without one. All ranks must call it."""
    checkpoint, last = stage.checkpoint(), stage.step()
    if checkpoint is None:
        return None
    evaluations = evaluations_of(checkpoint) | {step: loss for step, loss in past.eval_losses.items() if step == last}
    return _best_checkpoint(stage, evaluations, last) or checkpoint


def _best_checkpoint(stage: Stage, evaluations: Evaluations, last: int) -> Path | None:
    """Return the checkpoint of the best evaluation; None when that is the step `last`, or the last one is kept.

    Only evaluations count whose checkpoint all machines have.
    """
    if stage.config.keep != "best":
        return None
    kept = {last, *common(whole_steps(stage.folder), MAX_KEPT)}
    best = best_step({step: loss for step, loss in evaluations.items() if step in kept})
    return None if best in (None, last) else stage.folder / f"checkpoint-{best}"


def end_words(trainer, stage: Stage, kept: KeptStep, last_loss: float | None) -> Sentence:
    """Say why a stage ended before its last step, unless it was stopped, and which step is kept; "" for nothing to say."""
    last, steps, patience = trainer.state.global_step, trainer.state.max_steps, stage.config.early_stopping_patience
    is_over = last < steps and is_patience_over(evaluations_in(trainer.state.log_history), patience)
    words = []
    if is_over and not trainer.progress.was_stopped:
        words.append(
            n_(
                "Ended early at step {last} of {steps}: the held-out loss did not fall in the last evaluation.",
                "Ended early at step {last} of {steps}: the held-out loss did not fall in the last {count} evaluations.",
                patience,
                last=last,
                steps=steps,
            )
        )
    if stage.config.keep == "best" and kept.loss is not None:
        words.append(_("Kept step {step}, held-out loss {loss:.3f}.", step=kept.step, loss=kept.loss))
        if kept.step != last and last_loss is not None:
            words.append(_("The last step, {step}, had {loss:.3f}.", step=last, loss=last_loss))
    return joined(words)
