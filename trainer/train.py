"""The training process: `accelerate launch --config_file ... -m trainer.train --run FOLDER`.

config -> base -> tokenizer and template -> data -> SFTTrainer (twice with text before the conversations) -> adapter, or a whole
model where weights of the base itself are trained. Goes on from the run's last checkpoint. All that it reports are the run's
events; exits 0 when it is done or was stopped, 1 after a `failed` event.
"""

import argparse
import gc
import logging
import os
import shutil
import sys
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

# bitsandbytes says at import, in every log, that a kernel which nobody asked for is not installed
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
gc.disable()  # it would walk all that is being imported again and again: 0.8 s

import torch

from common.errors import UserError
from common.files import folder_bytes, read_object, write_json
from common.language import Sentence, _, joined
from models.base import Base, choose_base, fetch_base
from models.family import shape_of
from models.precision import load_base_model
from models.tokenizer import load_tokenizer
from runs.config import TrainConfig
from runs.disk import check_room_on_disk, weights_bytes
from runs.events import read_events
from runs.machines.command import ON_STDIN
from runs.machines.parallel import ENGINES, SPLIT_WEIGHTS
from runs.processes import this_process
from runs.publish import publish_adapter, publish_model, whole_weights
from runs.resolve import in_own_precision
from runs.run import CONTINUE, EventLog, Run
from trainer import ranks, step_0
from trainer.forgetting import TestLosses, load_test_sets
from trainer.gradient_checkpointing import decide
from trainer.init_adapter import check_init_adapter, load_adapter
from trainer.keep_best import KeepBest, end_words, keep_best, kept_checkpoint, load_state, owed_evaluation
from trainer.metrics import collect_metrics, forgotten, held_out_losses, sample_answers, sizes_and_time
from trainer.pace import StageWork
from trainer.progress import ProgressCallback
from trainer.recipe import build_trainer
from trainer.report_failure import report_failure, watch_for_hangs
from trainer.samples import SampleAnswers, choose_prompts, fits_window
from trainer.stages import History, Stage, clean_up, history, plan, stages_finished, work_of
from trainer.stop_watch import StopRequested, StopWatch
from trainer.studio_trainer import StudioTrainer, release

gc.freeze()  # modules stay: never walked again
gc.enable()


def main() -> int:
    """Train the run that the command line names; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help=_("folder of the run, made by the launcher"))
    folder = parser.parse_args().run
    if str(folder) == ON_STDIN:  # all is imported: wait for a run (runs/warm.py)
        folder = Path(sys.stdin.readline().strip())
        if folder == Path():
            return 0
    run = Run(folder.resolve())
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    watch = StopWatch(run)
    if ranks.restarts()[0] and (status := ranks.final_status(run)):
        return int(status == "failed")
    watch.listen_while_loading()
    return train_to_a_stop(run, watch)


def train_to_a_stop(run: Run, watch: StopWatch) -> int:
    """Train `run` until it ends, `watch` stops it, or its slice is over; report a failure; return the exit code."""
    events = EventLog(run, writes=ranks.local_rank() == 0)  # until it is known who shares a disk
    told = len(read_events(run.events_file))
    try:
        train(run, events, watch)
    except StopRequested as reason:
        watch.is_over = True
        events.write("stopped", message=reason.message, hint=_("Press Resume to start it."))
    except Exception as error:
        report_failure(error, run, events, told)
        return 1
    finally:
        watch.is_over = True
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    return 0


@dataclass
class Work:
    """The objects that all stages of a run share."""

    run: Run
    config: TrainConfig
    events: EventLog
    watch: StopWatch
    base: Base
    folder: Path  # of the base
    precision: str
    tokenizer: Any
    sampler: SampleAnswers
    tests: TestLosses
    progress: ProgressCallback
    look_key: str = ""  # what the look at step 0 depends on, where other runs may take it over
    looks: set[str] = field(default_factory=set)  # the kinds of events of a look


def train(run: Run, events: EventLog, watch: StopWatch) -> None:
    """Train `run` to its end or to a stop, and publish what came out. Raises UserError for what a person can fix."""
    config = run.config()
    watch.max_minutes = config.max_minutes
    _meet(run, config, events)
    _prepare(events, watch, _("Checking the base model"))
    chosen = choose_base(config.base, config.base_revision)
    # the reason is that of the launcher, which chose it
    base = replace(chosen, reason=config.base_reason or chosen.reason)
    config = in_own_precision(config, base)
    if config.init_adapter:
        check_init_adapter(run.init_adapter_folder, config.init_adapter, base)

    def tell(activity: str, part: float | None) -> None:
        watch.check()
        events.write_activity(activity, part)

    folder = fetch_base(base, tell)
    precision = config.precision_on(torch.cuda.is_available())
    _prepare(events, watch, _("Reading the data"), precision=precision)
    check_base(config, folder, precision)
    tokenizer = load_tokenizer(folder, config.chat_template)
    stages = plan(config, run, tokenizer)
    for stage in stages:
        ranks.check_alike(len(stage.data.train.rows))
    for note in dict.fromkeys(note for stage in stages for note in stage.data.notes):
        events.write("note", message=note)
    decide(stages, shape_of(folder), events)
    _check_disk(run, config, folder)
    test_sets = load_test_sets(run, config, tokenizer, stages, events)
    clean_up(stages, events.writes)
    _prepare(events, watch, _("Loading {model} in {precision}", model=base.model_id, precision=precision))
    finished = stages_finished(stages)
    checkpoint = kept_checkpoint(stages[finished - 1], history(run, finished)) if finished else None
    source = folder if config.makes_adapter or checkpoint is None else checkpoint  # of a whole model
    model = load_base_model(source, config.held_in(precision))
    _prepare(events, watch, _("Setting up the training"))
    if checkpoint and config.makes_adapter:
        model = load_adapter(model, checkpoint, stages[finished - 1].name)
    elif config.init_adapter:
        model = load_adapter(model, run.init_adapter_folder, config.init_adapter)
    prompts = []
    if config.parallel in SPLIT_WEIGHTS:
        words = _("No sample answers: with {parallel} no process holds the whole model.", parallel=config.parallel)
        events.write("note", message=words)
    else:
        held_out = stages[-1].data.held_out_conversations
        prompts = choose_prompts(config, held_out, partial(fits_window, model, tokenizer))
    progress = ProgressCallback(events, watch)
    sampler = SampleAnswers(prompts, tokenizer, progress, config.eval_steps)
    tests = TestLosses(test_sets, progress, config.eval_steps)
    work = Work(run, config, events, watch, base, folder, precision, tokenizer, sampler, tests, progress)
    if ranks.world_size() > 1:
        progress.hang_watch = watch_for_hangs(run, config, events)
    trainer, stage = _train_stages(model, stages[finished:], work)
    if not progress.is_paused:
        _finish(trainer, stages, stage, work)
    if progress.hang_watch:
        progress.hang_watch.end()


def _meet(run: Run, config: TrainConfig, events: EventLog) -> None:
    """Wait for the other processes; find out whether this one writes, and write a note about a restart."""
    ranks.meet(config.ddp_timeout)
    events.writes = ranks.writes_here(run.folder)
    if events.writes:
        write_json(run.process_file, {**read_object(run.process_file), "trainer": this_process(os.getpid())})
    restarted, most = ranks.max_over_ranks(*ranks.restarts())  # a machine whose own processes lived counts none
    if restarted:
        words = _(
            "Restarted after a process died ({restarted} of {most}). It goes on from the last checkpoint.",
            restarted=restarted,
            most=most,
        )
        events.write("note", message=words)


def _train_stages(model, stages: list[Stage], work: Work):
    """Train one stage after the other on the same weights. Returns (trainer, stage) of the one that ended last."""
    for number, stage in enumerate(stages):
        rows, held_out = stage.data.train.rows, stage.data.held_out.rows
        made = (work.precision, rows, held_out, work.progress, stage.folder)
        trainer = build_trainer(model, work.tokenizer, stage.config, work.run, *made)
        trainer.add_callback(work.sampler)
        work.tests.begin_stage(trainer, is_first=stage.number == 1)
        trainer.args.save_on_each_node = ranks.sum_over_ranks(work.events.writes)[0] > 1
        sizes = [work_of(each, bool(work.sampler.prompts), work.tests.tokens) for each in stages[number:]]
        _train_stage(trainer, stage, sizes, work)
        if work.progress.was_stopped or work.progress.is_paused or stage.is_last:
            return trainer, stage
        keep_best(trainer, stage, None)
        model = release(trainer)
        del trainer
        gc.collect()  # its wrappers hold hooks on the weights that the next trainer wraps


def _prepare(events: EventLog, watch: StopWatch, message: Sentence, **values) -> None:
    """Write a `preparing` event. Raises StopRequested when a stop was asked for."""
    watch.check()
    events.write("preparing", message=message, **values)


def check_base(config: TrainConfig, folder: Path, precision: str) -> None:
    """Raise UserError for settings that this base, or its precision on this machine, cannot have."""
    layers = shape_of(folder).num_hidden_layers
    if config.last_layers > layers:
        words = _(
            "{setting} is {wanted:,}; this base has {count:,} layers.",
            setting="last_layers",
            wanted=config.last_layers,
            count=layers,
        )
        raise UserError(words, _("Lower it."))
    positions = read_object(folder / "config.json").get("max_position_embeddings", config.max_length)
    if config.max_length > positions:
        words = _(
            "{setting} is {wanted:,}; this base has {count:,} positions.",
            setting="max_length",
            wanted=config.max_length,
            count=positions,
        )
        raise UserError(words, _("Lower it."))
    if config.use_dora and precision == "8bit" and not torch.cuda.is_available():
        # PEFT 0.21 takes the int8 weight apart in every forward, and on a CPU puts it back without its scales
        raise UserError(
            _("DoRA on an 8-bit base needs a GPU."), _("Switch use_dora off, or set the precision to auto.")
        )


def _check_disk(run: Run, config: TrainConfig, folder: Path) -> None:
    """Raise UserError where whole weights have no room on the disk: what those of a base from the Hub take is known only now."""
    if needed := weights_bytes(config, shape_of(folder)):
        check_room_on_disk(run.owner, max(0, needed - folder_bytes(run.folder)))


def _train_stage(trainer: StudioTrainer, stage: Stage, sizes: list[StageWork], work: Work) -> None:
    """Train from the last whole checkpoint, or from the start; the held-out rows are evaluated at step 0.

    `sizes` are the work of this stage and of those after it.
    """
    checkpoint, past = stage.checkpoint(), history(work.run, stage.number)
    work.watch.check()
    work.progress.begin_stage(sizes, stage.step(), max(past.eval_losses, default=-1))
    later_steps = sum(size.steps for size in sizes[1:])
    if checkpoint or past.has_begun:
        work.events.write("resumed", step=stage.step(), stage=stage.number, later_steps=later_steps)
    elif stage.stages > 1:
        named = {"stage": stage.number, "stages": stage.stages, "name": stage.name}
        work.events.write("stage", **named, later_steps=later_steps)
    work.events.write("training")
    keeper = KeepBest(stage.config)
    trainer.add_callback(keeper)
    if _knows_step_0(trainer, stage, past, work):
        keeper.owed = history(work.run, stage.number).eval_losses
    else:
        _evaluate_step_0(trainer, bool(checkpoint), past, work)
    if checkpoint:
        trainer.args.eval_on_start = False
        keeper.owed = owed_evaluation(trainer, stage, checkpoint, past)
    work.watch.is_training = True
    # killed after its last checkpoint: `train` would add a step where an epoch is not over
    if checkpoint and stage.is_finished(keeper.owed):
        load_state(trainer, checkpoint)
        keeper.on_train_begin(trainer.args, trainer.state, trainer.control)
    else:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)


def _knows_step_0(trainer: StudioTrainer, stage: Stage, past: History, work: Work) -> bool:
    """Return whether an earlier run found what step 0 of this one is; it is in the events then."""
    if ranks.world_size() > 1 or not trainer.has_new_adapter or past.has_begun or stage.number > 1:
        return False
    held_out = [] if trainer.eval_dataset is None else [trainer.eval_dataset]
    looks = {"eval": held_out, "samples": work.sampler.prompts, "tested": work.tests.samples}
    work.looks = {name for name, there in looks.items() if there}
    rows = [*held_out, *work.tests.samples.values()]
    work.look_key = step_0.key_of(work.folder, work.precision, work.sampler.prompts, rows)
    is_known = bool(work.looks) and step_0.take_over(work.run, work.look_key, work.looks, work.events)
    if is_known:
        work.progress.looked(0)
    return is_known


def _evaluate_step_0(trainer: StudioTrainer, has_checkpoint: bool, past: History, work: Work) -> None:
    """Evaluate step 0, its loss and its answers, unless an earlier start of this run has; all processes decide alike.

    With a new adapter the trainer does it after the first step, which then need not wait for it; else it is done now.
    """
    has_eval = trainer.eval_dataset is not None
    no_loss = has_eval and 0 not in past.eval_losses
    no_loss, is_unseen = ranks.max_over_ranks(no_loss, 0 not in past.samples or 0 not in past.tested)
    if work.config.parallel in ENGINES:
        return  # inside `train`: see the recipe
    if not no_loss and not is_unseen:
        return

    def look() -> None:
        work.sampler.look(trainer.model, 0)
        work.tests.look(trainer.model, 0)

    evaluation = trainer.evaluate if no_loss else look
    if trainer.has_new_adapter:
        trainer.first_evaluation = evaluation
    elif not has_checkpoint:  # with one it would no longer be step 0
        evaluation()
        work.watch.check()


def _finish(trainer: StudioTrainer, stages: list[Stage], stage: Stage, work: Work) -> None:
    """Evaluate the held-out rows a last time, publish the weights of the step that is kept, and write the last event."""
    work.progress.begin_ending()
    if not work.progress.was_stopped:  # else a resume does it
        trainer.evaluate_step_0()
    losses = held_out_losses(trainer, work.run, stage.number)
    kept = keep_best(trainer, stage, losses[1])
    metrics = collect_metrics(trainer, stages, stage.number, work.base, work.precision, losses, kept)
    metrics |= sizes_and_time(trainer, work.folder, work.run, work.watch)
    metrics |= forgotten(trainer, work.run, work.tests, stage.number, kept.step)
    metrics |= sample_answers(trainer, work.run, work.sampler, stage.number, kept.step)
    if work.look_key:
        step_0.keep(work.run, work.look_key, work.looks)
    has_adapter = work.config.makes_adapter
    work.events.write("saving", message=_("Saving the adapter") if has_adapter else _("Saving the model"))
    weights = whole_weights(trainer.model)
    if work.events.writes:
        saved, run, adapter = (trainer.model, work.tokenizer), work.run, ""
        if has_adapter:
            adapter = publish_adapter(*saved, run, work.base, metrics, weights, kept.checkpoint).name
        else:
            publish_model(*saved, run)
        words = end_words(trainer, stage, kept, losses[1])
        if work.progress.was_stopped:
            message = work.progress.stop_message(trainer.state.global_step, trainer.state.max_steps)
            said = {"message": joined([message, words]), "hint": CONTINUE}
            work.events.write("stopped", **said, metrics=metrics, adapter=adapter)
        else:
            work.events.write("done", message=words, metrics=metrics, adapter=adapter)
            if not has_adapter:  # each is three times the model, and there is nothing left to resume
                shutil.rmtree(run.checkpoints_folder, ignore_errors=True)
    ranks.wait_for_everyone()


if __name__ == "__main__":
    started = time.time()
    code = main()
    print(
        _("The training process ended with {code} after {seconds:.0f} s.", code=code, seconds=time.time() - started),
        flush=True,
    )
    sys.exit(code)
