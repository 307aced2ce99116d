"""Does every mode train, stop and resume on this card? A part of benchmarks.gpu."""

import math
import os
import signal
import time
from dataclasses import dataclass, field
from statistics import median

from benchmarks.rows import Row
from common.files import read_json, read_json_lines
from models.hardware import cpu_count, find_gpus
from runs.checkpoints import last_checkpoint
from runs.config import TrainConfig
from runs.launcher import create_run, start
from runs.machines.parallel import ENGINES, check_machine
from runs.run import Run, read_state

MAX_START_SECONDS = 150


@dataclass(frozen=True)
class Case:
    """One mode: the settings of a training, and whether it is stopped and resumed."""

    name: str
    settings: dict = field(default_factory=dict)
    resumes: bool = False


CASES = (
    Case("8-bit", {"precision": "8bit"}, resumes=True),
    Case("bf16", {"precision": "bf16"}, resumes=True),
    Case("4-bit", {"precision": "4bit"}),
    Case("fp16 with a gradient scaler", {"precision": "fp16"}, resumes=True),
    Case("8-bit, no checkpointing", {"precision": "8bit", "gradient_checkpointing": "off"}),
    Case("bf16, packed rows", {"precision": "bf16", "packing": True}),
    Case("ZeRO-2, bf16", {"precision": "bf16", "parallel": "zero2"}, resumes=True),
    Case("ZeRO-2, 8-bit", {"precision": "8bit", "parallel": "zero2"}),
    Case("ZeRO-3, bf16", {"precision": "bf16", "parallel": "zero3"}, resumes=True),
    Case("ZeRO-3, 4-bit", {"precision": "4bit", "parallel": "zero3"}),
    Case("FSDP2, bf16", {"precision": "bf16", "parallel": "fsdp2"}, resumes=True),
    Case("FSDP2, 4-bit", {"precision": "4bit", "parallel": "fsdp2"}),
)


def smoke(case: Case, settings: dict, steps: int) -> Row:
    """Train as the app starts it, once more from the middle where it resumes. Raises RuntimeError for what is wrong."""
    check_machine(TrainConfig.from_dict(case.settings), find_gpus(), cpu_count())
    values = {"per_device_train_batch_size": 4, "eval_steps": 1000, "save_steps": 1000, "eval_fraction": 0.02}
    values |= {"name": "gpu", "max_steps": steps, "sample_prompts": "Why is the sky blue?"}
    run = create_run(TrainConfig.from_dict({**values, **settings, **case.settings}))
    stopped_at = None
    if case.resumes:
        train(run, stop_after=steps // 3)
        stopped_at = read_state(run).step
    train(run)
    state, events = read_state(run), read_json_lines(run.events_file)
    steps_seen = [event for event in events if event["event"] == "step"]
    losses, speeds = ([event[name] for event in steps_seen] for name in ("loss", "tokens_per_second"))
    resumed_at = ([None] + [event["step"] for event in events if event["event"] == "resumed"])[-1]
    has_scaler = (last_checkpoint(run.checkpoints_folder) or run.folder).joinpath("scaler.pt").exists()
    if state.status != "done" or state.step != steps:
        problem = f"{state.status} at step {state.step}: {state.message} {state.hint} {run.log_tail(1) or ''}"
    elif not all(map(math.isfinite, losses)) or losses[-1] >= losses[0]:
        problem = f"the loss went from {losses[0]} to {losses[-1]}"
    elif resumed_at != stopped_at or (case.resumes and not 0 < stopped_at < steps):
        problem = f"stopped at step {stopped_at}, resumed at {resumed_at}"
    elif case.settings["precision"] == "fp16" and case.settings.get("parallel") not in ENGINES and not has_scaler:
        problem = "no gradient scaler in its checkpoint"
    else:
        problem = "" if state.adapter else "no adapter came out"
    if problem:
        raise RuntimeError(" ".join(problem.split())[:300])
    note = f"loss {losses[0]:.3f} to {losses[-1]:.3f}; peak {state.peak_memory_bytes / 1e9:.2f} GB"
    note += f"; resumed at step {resumed_at}" if case.resumes else ""
    return Row(f"mode: {case.name}", median(speeds[len(speeds) // 2 :]), None, "tokens/s", 1.0, 1.0, note)


def train(run: Run, stop_after: int = 0) -> None:
    """Start `run` as the button does and wait for its end; asked to stop after so many steps, killed when it hangs."""
    start(run)
    deadline = time.monotonic() + MAX_START_SECONDS
    while run.is_alive():
        if stop_after and sum(event["event"] == "step" for event in read_json_lines(run.events_file)) >= stop_after:
            run.request_stop()
            stop_after = 0
        if time.monotonic() > deadline:
            os.killpg(read_json(run.process_file)["launcher"]["pid"], signal.SIGKILL)  # its session is its own
        time.sleep(0.05)
