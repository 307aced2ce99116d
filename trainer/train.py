"""The training process: `accelerate launch --config_file ... -m trainer.train --run FOLDER`.

config -> base -> tokenizer and template -> data -> SFTTrainer -> adapter. Resumes by itself when the run has a checkpoint.
It talks through the run's events only; exits 0 when it is done or was stopped, 1 after a `failed` event.
"""

import argparse
import logging
import os
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import PartialState

from common.errors import UserError
from common.files import read_json, write_json
from models.base import Base, choose_base, fetch_base
from models.precision import load_base_model, resolve_precision
from models.templates import training_template
from models.tokenizer import load_tokenizer
from trainer.config import EXAMPLE, TrainConfig
from trainer.dataset import EXAMPLE_HELD_OUT, Encoded, encode_all, read_rows, split_held_out, to_conversations
from trainer.failures import explain
from trainer.progress import ProgressCallback, StopRequested, StopWatch, last_checkpoint, peak_memory_bytes
from trainer.publish import publish_adapter
from trainer.recipe import build_trainer
from trainer.run import EventLog, Run, read_state, this_process


@dataclass
class Data:
    """Encoded rows to train on, rows held out, and what was left out of them."""

    train: Encoded
    held_out: Encoded
    notes: list[str]


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
    except StopRequested:
        events.write("stopped", message="Stopped before the first step.", hint="Resume starts it again.")
    except Exception as error:
        failure = explain(error)
        known = isinstance(error, UserError)
        logging.getLogger(__name__).error("%s", failure if known else traceback.format_exc())
        events.write("failed", message=failure.message, hint=failure.hint)
        return 1
    finally:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
    return 0


def train(run: Run, events: EventLog, watch: StopWatch) -> None:
    """Train `run` to its end or to a stop, and publish the adapter. Raises UserError for what a person can fix."""
    config = run.config()
    config.check()
    events.write("preparing", message="Looking at the base model")
    base = _base_of(config)
    folder = fetch_base(base, lambda what, fraction: _prepare(events, watch, what, fraction=fraction))
    precision = resolve_precision(config.precision, torch.cuda.is_available())
    _prepare(events, watch, "Reading the data", precision=precision)
    check_length(config, folder)
    tokenizer = load_tokenizer(folder, config.chat_template)
    data = load_data(config, run, tokenizer)
    for note in data.notes:
        events.write("note", message=note)
    _prepare(events, watch, f"Loading {base.model_id} in {precision}")
    model = load_base_model(folder, precision)
    progress = ProgressCallback(events, watch)
    trainer = build_trainer(model, tokenizer, config, run, precision, data.train.rows, data.held_out.rows, progress)
    _run_training(trainer, run, events, watch)
    events.write("saving", message="Saving the adapter")
    _finish(trainer, tokenizer, run, base, precision, data, events)


def _prepare(events: EventLog, watch: StopWatch, message: str, **values) -> None:
    """Say what is prepared now; a stop is heard here too."""
    watch.check()
    events.write("preparing", message=message, **values)


def _base_of(config: TrainConfig) -> Base:
    """The base that the launcher decided on, with its reason."""
    base = choose_base(config.base, config.base_revision)
    return Base(base.source, base.model_id, base.revision, config.base_reason or base.reason)


def load_data(config: TrainConfig, run: Run, tokenizer) -> Data:
    """Read, check, split and tokenise. Raises UserError when nothing is left to train on."""
    template = training_template(tokenizer)
    conversations, bad = to_conversations(read_rows(_place(config.data, run), config.data_split), config.skip_bad_rows)
    held_out_file = EXAMPLE_HELD_OUT if config.data == EXAMPLE else None
    held_out_file = _place(config.eval_data, run) if config.eval_data else held_out_file
    if held_out_file:
        held_out, bad_held_out = to_conversations(read_rows(str(held_out_file)), config.skip_bad_rows)
        bad += [f"held-out {sentence}" for sentence in bad_held_out]
    else:
        conversations, held_out = split_held_out(conversations, config.eval_fraction, config.seed)
    train_rows = encode_all(conversations, tokenizer, template, config.max_length)
    held_out_rows = encode_all(held_out, tokenizer, template, config.max_length)
    notes = [f"Left out: {sentence}" for sentence in bad[:5]]
    notes += [text for text in (train_rows.report(config.max_length), held_out_rows.report(config.max_length)) if text]
    if not train_rows.rows:
        raise UserError("No row is left to train on.", " ".join(notes) or "Give more data.")
    return Data(train_rows, held_out_rows, notes)


def _place(data: str, run: Run) -> str:
    """A file that was copied into the run, or `data` itself."""
    copied = run.folder / data
    return str(copied) if data.startswith("data/") and copied.is_file() else data


def check_length(config: TrainConfig, folder: Path) -> None:
    positions = read_json(folder / "config.json", {}).get("max_position_embeddings", config.max_length)
    if config.max_length > positions:
        raise UserError(f"max_length {config.max_length} is more than the base's {positions} positions.", "Lower it.")


def _run_training(trainer, run: Run, events: EventLog, watch: StopWatch) -> None:
    """Train from the last complete checkpoint, or from the start after a first look at the held-out loss."""
    checkpoint = last_checkpoint(run)
    watch.check()
    events.write("training", total_steps=0)
    if checkpoint:
        events.write("resumed", step=int(checkpoint.rsplit("-", 1)[1]))
    elif trainer.eval_dataset is not None:
        trainer.evaluate()
        watch.check()
    watch.is_training = True
    trainer.train(resume_from_checkpoint=checkpoint)


def _finish(trainer, tokenizer, run: Run, base: Base, precision: str, data: Data, events: EventLog) -> None:
    """A last look at the held-out rows, the adapter, and the last event."""
    progress = trainer.progress
    before, after = _held_out_losses(trainer, run)
    metrics = {
        "base": base.model_id,
        "base_source": base.source,
        "precision": precision,
        "step": trainer.state.global_step,
        "total_steps": trainer.state.max_steps,
        "rows": len(data.train.rows),
        "held_out_rows": len(data.held_out.rows),
        "trained_tokens": sum(label >= 0 for row in data.train.rows for label in row["labels"]),
        "loss_before": before,
        "loss_after": after,
        "tokens_per_second": round(progress.tokens / progress.seconds, 1) if progress.seconds else None,
        "train_seconds": round(progress.seconds, 1),
        "peak_memory_bytes": peak_memory_bytes(),
        "hardware": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"CPU, {torch.get_num_threads()} threads",
        "num_processes": trainer.accelerator.num_processes,
    }
    if PartialState().is_main_process:
        folder = publish_adapter(trainer.model, tokenizer, run, base, metrics)
        events.write("stopped" if progress.was_stopped else "done", metrics=metrics, adapter=folder.name)
    PartialState().wait_for_everyone()


def _held_out_losses(trainer, run: Run) -> tuple[float | None, float | None]:
    """(before the first step, now), per token; None where there is nothing held out."""
    if trainer.eval_dataset is None:
        return None, None
    known = dict(read_state(run).eval_losses)
    step = trainer.state.global_step
    needed = torch.tensor([step not in known], device=trainer.accelerator.device)
    if trainer.accelerator.reduce(needed.int(), "max").item():  # all ranks take part, or none
        return known.get(0), trainer.evaluate()["eval_loss"]
    return known.get(0), known[step]


if __name__ == "__main__":
    started = time.time()
    code = main()
    print(f"The training process ended with {code} after {time.time() - started:.0f} s.", flush=True)
    sys.exit(code)
