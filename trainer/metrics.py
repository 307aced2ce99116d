"""The metrics of a finished training: losses and sample answers before and after, speed, memory, hardware.

They go into the last event and into the adapter's `metrics.json`, from which the model card is written.
"""

import time
from pathlib import Path

import torch
from peft import PeftModel

from models.base import Base
from models.family import shape_of
from runs.events import Metrics
from runs.run import Run
from runs.state import state_of
from trainer.forgetting import TestLosses
from trainer.keep_best import KeptStep
from trainer.progress import peak_memory_bytes
from trainer.ranks import max_over_ranks
from trainer.samples import SampleAnswers
from trainer.stages import Stage, history
from trainer.stop_watch import StopWatch


def collect_metrics(
    trainer,
    stages: list[Stage],
    number: int,
    base: Base,
    precision: str,
    losses: tuple[float | None, float | None],
    kept: KeptStep,
) -> Metrics:
    """Collect the metrics of a run that ended in stage `number`; `losses` are those of `held_out_losses`."""
    stage, progress = stages[number - 1], trainer.progress
    return {
        "base": base.model_id,
        "base_source": base.source,
        "precision": precision,
        "stage": number,
        "stages": stage.stages,
        "step": trainer.state.global_step,
        "total_steps": trainer.state.max_steps,
        "rows": len(stage.data.train.rows),
        "made": [one for done in stages[:number] for one in done.data.made],
        "held_out_rows": len(stage.data.held_out.rows),
        "held_out_total": stage.held_out_total,
        "trained_tokens": stage.data.train.trained_tokens,
        "trainable_parameters": sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad),
        "loss_before": losses[0],
        "loss_after": kept.loss,
        "kept_step": kept.step,
        "loss_last": losses[1],
        "tokens_per_second": round(progress.tokens / progress.seconds, 1) if progress.seconds else None,
        "train_seconds": round(progress.seconds, 2),
        "gradient_checkpointing": stage.config.gradient_checkpointing,
        "peak_memory_bytes": peak_memory_bytes(),
        "hardware": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads",
        "num_processes": trainer.accelerator.num_processes,
    }


def sizes_and_time(trainer, base_folder: Path, run: Run, watch: StopWatch) -> Metrics:
    """Return how large the adapter and its base are, and how long the run took, with what it took before a resume."""
    trained = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    before = state_of(run.events_file).metrics.get("total_seconds", 0.0)
    total = shape_of(base_folder).parameters
    adapter: Metrics = {}
    if isinstance(trainer.model, PeftModel):
        total += sum(weight.numel() for weight in trained)
        adapter = {"adapter_bytes": sum(weight.numel() * weight.element_size() for weight in trained)}
    return {
        **adapter,
        "total_parameters": total,
        "base_bytes": sum(file.stat().st_size for file in base_folder.glob("*.safetensors")),
        "total_seconds": round(before + time.monotonic() - watch.began, 2),
    }


def held_out_losses(trainer, run: Run, number: int) -> tuple[float | None, float | None]:
    """Return the losses per token (before the first step of stage `number`, after its last); None where nothing was evaluated.

    Every rank must call it: it may evaluate the held-out rows.
    """
    if trainer.eval_dataset is None:
        return None, None
    known = history(run, number).eval_losses
    step, tokens = trainer.state.global_step, trainer.progress.stage.held_out_tokens
    # all ranks take part, or none
    is_missing, is_late = max_over_ranks(step not in known, not trainer.progress.has_time_to_evaluate(tokens))
    if is_missing and is_late:
        return known.get(0), None
    if is_missing:
        return known.get(0), trainer.evaluate().get("eval_loss")
    return known.get(0), known[step]


def forgotten(trainer, run: Run, tests: TestLosses, number: int, step: int) -> Metrics:
    """Return the losses on the test sets of the base and of `step` of stage `number`, whose weights are kept.

    Every rank must call it: it may measure them.
    """
    is_last = step == trainer.state.global_step  # any other step was evaluated
    (is_missing,) = max_over_ranks(is_last and step not in history(run, number).tested)  # all measure, or none
    if is_missing:
        tests.look(trainer.model, step)
    before, after = history(run, 1).tested.get(0, {}), history(run, number).tested.get(step, {})
    return {
        "forgotten": {
            name: {"before": before[name]["loss"], "after": one["loss"], "tokens": one["tokens"]}
            for name, one in after.items()
            if name in before
        }
    }


def sample_answers(trainer, run: Run, sampler: SampleAnswers, number: int, step: int) -> Metrics:
    """Return the answers before the run's first step and those of `step`, whose weights the model has; [] without prompts.

    Every rank must call it.
    """
    (is_missing,) = max_over_ranks(step not in history(run, number).samples)  # all answer, or none
    if is_missing:
        sampler.look(trainer.model, step)
    first, last = history(run, 1).samples, history(run, number).samples
    return {"samples_before": first.get(0, []), "samples_after": last.get(step, [])}
