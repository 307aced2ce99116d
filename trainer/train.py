"""The training process: `accelerate launch --config_file ... -m trainer.train --run FOLDER`.

config -> base -> tokenizer and template -> data -> SFTTrainer (twice with text before the conversations) -> adapter. Resumes
by itself when the run has a checkpoint. It talks through the run's events only; exits 0 when it is done or was stopped, 1
after a `failed` event.
"""

import argparse
import gc
import logging
import os
import sys
import time
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path

# bitsandbytes says at import, in every log, that a kernel which nobody asked for is not installed
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

import torch
from accelerate import PartialState
from transformers import TrainerState

from common.errors import UserError
from common.files import read_json, write_json
from models.base import Base, choose_base, fetch_base
from models.precision import load_base_model, resolve_precision
from models.tokenizer import load_tokenizer
from trainer.config import TrainConfig
from trainer.failures import explain
from trainer.init_adapter import check_adapter, load_adapter
from trainer.metrics import collect_metrics, sample_answers
from trainer.progress import ProgressCallback, StopRequested, StopWatch
from trainer.publish import publish_adapter
from trainer.recipe import build_trainer
from trainer.run import EventLog, Run, this_process
from trainer.samples import SampleAnswers, choose_prompts, fits_window
from trainer.stages import Stage, clean_up, history, plan, stages_finished
from trainer.studio_trainer import release


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of the run, made by the launcher")
    run = Run(parser.parse_args().run.resolve())
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    is_rank_0 = int(os.environ.get("RANK", "0")) == 0
    events = EventLog(run, writes=is_rank_0)
    watch = StopWatch(run)
    if is_rank_0:
        write_json(run.process_file, {**read_json(run.process_file, {}), "trainer": this_process(os.getpid())})
    try:
        train(run, events, watch)
    except StopRequested as reason:
        events.write("stopped", message=str(reason), hint="Resume starts it again.")
    except Exception as error:
        failure = explain(error, _config_of(run))
        known = isinstance(error, UserError)
        logging.getLogger(__name__).error("%s", failure if known else traceback.format_exc())
        events.write("failed", **failure.to_event())
        return 1
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    return 0


def _config_of(run: Run) -> TrainConfig | None:
    try:
        return run.config()
    except UserError:
        return None


@dataclass
class Work:
    """What all stages of a run share."""

    run: Run
    config: TrainConfig
    events: EventLog
    watch: StopWatch
    base: Base
    precision: str
    tokenizer: object
    sampler: SampleAnswers
    progress: ProgressCallback


def train(run: Run, events: EventLog, watch: StopWatch) -> None:
    """Train `run` to its end or to a stop, and publish the adapter. Raises UserError for what a person can fix."""
    config = run.config()
    config.check()
    watch.max_minutes = config.max_minutes
    events.write("preparing", message="Looking at the base model")
    base = _base_of(config)
    adapter = _init_adapter(run, config, base)
    folder = fetch_base(base, lambda what, fraction: _prepare(events, watch, what, fraction=fraction))
    precision = resolve_precision(config.precision, torch.cuda.is_available())
    _prepare(events, watch, "Reading the data", precision=precision)
    check_base(config, folder, precision)
    tokenizer = load_tokenizer(folder, config.chat_template)
    stages = plan(config, run, tokenizer)
    for note in dict.fromkeys(note for stage in stages for note in stage.data.notes):
        events.write("note", message=note)
    _prepare(events, watch, f"Loading {base.model_id} in {precision}")
    finished = stages_finished(stages)
    model = load_base_model(folder, precision)
    if finished and (checkpoint := stages[finished - 1].checkpoint()):
        model = load_adapter(model, checkpoint, stages[finished - 1].name)
    elif adapter:
        model = load_adapter(model, adapter, config.init_adapter)
    prompts = choose_prompts(config, stages[-1].data.held_out_conversations, partial(fits_window, model, tokenizer))
    sampler = SampleAnswers(prompts, tokenizer, events, config.eval_steps)
    progress = ProgressCallback(events, watch)
    work = Work(run, config, events, watch, base, precision, tokenizer, sampler, progress)
    if PartialState().is_main_process:
        clean_up(stages)
    PartialState().wait_for_everyone()
    trainer, stage = _train_stages(model, stages[finished:], work)
    _finish(trainer, stages, stage, work)


def _init_adapter(run: Run, config: TrainConfig, base: Base) -> Path | None:
    """The folder of the adapter to continue from, or None. The launcher copied it into the run."""
    if not config.init_adapter:
        return None
    check_adapter(run.folder / "init_adapter", config.init_adapter, base)
    return run.folder / "init_adapter"


def _train_stages(model, stages: list[Stage], work: Work):
    """Train one stage after the other on the same adapter. Returns (trainer, stage) of the one that ended last."""
    for stage in stages:
        trainer = _build(model, stage, work)
        _train_stage(trainer, stage, work)
        if work.progress.was_stopped or stage.is_last:
            return trainer, stage
        model = release(trainer)
        del trainer
        gc.collect()  # its wrappers hold hooks on the weights that the next trainer wraps


def _build(model, stage: Stage, work: Work):
    rows, held_out = stage.data.train.rows, stage.data.held_out.rows
    made = (work.precision, rows, held_out, work.progress, stage.folder)
    trainer = build_trainer(model, work.tokenizer, stage.config, work.run, *made)
    trainer.add_callback(work.sampler)
    return trainer


def _prepare(events: EventLog, watch: StopWatch, message: str, **values) -> None:
    """Say what is prepared now; a stop is heard here too."""
    watch.check()
    events.write("preparing", message=message, **values)


def _base_of(config: TrainConfig) -> Base:
    """The base that the launcher decided on, with its reason."""
    base = choose_base(config.base, config.base_revision)
    return Base(base.source, base.model_id, base.revision, config.base_reason or base.reason)


def check_base(config: TrainConfig, folder: Path, precision: str) -> None:
    """Raise UserError for settings that this base, or its precision on this machine, cannot have."""
    positions = read_json(folder / "config.json", {}).get("max_position_embeddings", config.max_length)
    if config.max_length > positions:
        raise UserError(f"max_length {config.max_length} is more than the base's {positions} positions.", "Lower it.")
    if config.use_dora and precision == "8bit" and not torch.cuda.is_available():
        # PEFT 0.21 takes the int8 weight apart in every forward, and on a CPU puts it back without its scales
        raise UserError("DoRA on an 8-bit base needs a GPU.", "Switch use_dora off, or set precision to auto.")


def _train_stage(trainer, stage: Stage, work: Work) -> None:
    """Train from the last complete checkpoint, or from the start after a first look at the held-out loss."""
    checkpoint, past = stage.checkpoint(), history(work.run, stage.number)
    work.watch.check()
    work.progress.begin_stage(stage.is_last)
    if checkpoint or past.has_begun:
        work.events.write("resumed", step=stage.step(), stage=stage.number)
    elif stage.stages > 1:
        work.events.write("stage", stage=stage.number, stages=stage.stages, name=stage.name)
    work.events.write("training", total_steps=0)
    if not checkpoint:
        _first_look(trainer, past, work)
        work.watch.check()
    work.watch.is_training = True
    if stage.is_finished():  # killed after its last checkpoint: `train` would add a step where an epoch is not over
        trainer._load_from_checkpoint(str(checkpoint))
        trainer.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    else:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _first_look(trainer, past, work: Work) -> None:
    """The held-out loss and the answers before step 1, unless an earlier life of this run has looked already."""
    if trainer.eval_dataset is not None and 0 not in past.eval_losses:
        trainer.evaluate()
    elif 0 not in past.samples:
        work.sampler.look(trainer.model, 0)


def _finish(trainer, stages: list[Stage], stage: Stage, work: Work) -> None:
    """A last look at the held-out rows, the adapter, and the last event."""
    work.progress.begin_last_look()
    metrics = collect_metrics(trainer, stages, stage.number, work.run, work.base, work.precision)
    metrics |= sample_answers(trainer, work.run, work.sampler, stage.number)
    work.events.write("saving", message="Saving the adapter")
    if PartialState().is_main_process:
        folder = publish_adapter(trainer.model, work.tokenizer, work.run, work.base, metrics)
        if work.progress.was_stopped:
            message = work.progress.stop_message(trainer.state.global_step, trainer.state.max_steps)
            work.events.write(
                "stopped", message=message, hint="Resume goes on from here.", metrics=metrics, adapter=folder.name
            )
        else:
            work.events.write("done", metrics=metrics, adapter=folder.name)
    PartialState().wait_for_everyone()


if __name__ == "__main__":
    started = time.time()
    code = main()
    print(f"The training process ended with {code} after {time.time() - started:.0f} s.", flush=True)
    sys.exit(code)
