"""How fast does it train, and how soon? The app's own process against TRL's own script with its defaults, on this machine's CPU.

    python -m benchmarks.train_speed [--full]

Both get the same base, rows, order, batch, length, LoRA settings, learning rate, seed and precision, each in a process of its
own, in turn. Speed is tokens of the rows (no padding) a second, by the clock of whoever reads when each step's loss appears,
from the first loss on. The losses of every step are compared, so that speed is never bought with a different computation;
without dropout, whose random numbers depend on how rows lie in a batch.

The way from Start to the first loss is taken apart by the run's own events. "The trainer's own" is all of it but loading the
weights and computing the first step: the queue, `accelerate launch`, imports, reading and tokenising the data, building the
trainer. The rival's is from its start to its first loss.
"""

import ast
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean, median

from benchmarks.rows import Row, faster, main, smaller, within
from common.files import read_json
from common.paths import LOCAL_OWNER, REPOSITORY
from data.intake import load_data
from models.base import choose_base, fetch_base
from models.hardware import find_gpus
from models.tokenizer import load_tokenizer
from runs.config import TrainConfig
from runs.events import read_events
from runs.launcher import environment
from runs.queue import advance_if_possible, launch
from runs.run import Run, RunState, read_state
from runs.warm import prepare

WAIT_SECONDS = 3600
IMPORT_SECONDS = 10  # until a process that was started for a touch has done its imports
OWN_SECONDS = 6.0  # until the first loss, all but weights and step 1
# `python -m trl.scripts.sft`, untouched; then one line more, with the most memory that it held
TRL_SCRIPT = """
import runpy, sys
sys.argv[0] = "sft.py"
runpy.run_module("trl.scripts.sft", run_name="__main__")
from trainer.progress import peak_memory_bytes
print({"peak_bytes": peak_memory_bytes()}, flush=True)
"""
# names of settings that TRL's script calls as we do
SAME = ("per_device_train_batch_size", "gradient_accumulation_steps", "max_steps", "learning_rate", "max_length")
SAME += ("lr_scheduler_type", "weight_decay", "max_grad_norm", "seed", "save_steps")
SAME += ("lora_r", "lora_alpha", "lora_dropout")


@dataclass(frozen=True)
class Job:
    """One training that both do. `trl` are flags of TRL's script for what a person asks of both (a precision, ...).

    `tolerance` is how far the losses may differ: of each step, or of all steps together where the order of rows is not the
    same.
    """

    name: str
    base: str = "embedded"
    data: str = str(REPOSITORY / "examples" / "study_coach.jsonl")  # not 'example', which brings held-out rows
    steps: int = 4
    settings: dict = field(default_factory=dict)
    trl: tuple[str, ...] = ("--bf16", "False", "--dtype", "float32", "--use_cpu", "True")
    aim: float | None = 1.7
    tolerance: float = 1e-3
    same_order: bool = True

    def config(self) -> TrainConfig:
        values = {"lora_dropout": 0.0, "eval_fraction": 0.0, "save_steps": 10_000_000, **self.settings}
        values |= {"name": "bench", "base": self.base, "data": self.data, "max_steps": self.steps}
        return TrainConfig.from_dict(values)


JOB = Job("training, CPU, fp32 LoRA, SmolLM2-135M, 4 rows a step")


@dataclass
class Training:
    """What one training showed: (when, loss) of each step, and what it needed."""

    began: float  # when it was started
    steps: list[tuple[float, float]]
    tokens: list[int] = field(default_factory=list)  # of all steps so far, where it tells
    peak_bytes: int = 0
    parts: dict[str, float] = field(default_factory=dict)  # seconds of each until the first loss, in order; ours only

    @property
    def seconds(self) -> float:
        """From the first loss to the last."""
        return self.steps[-1][0] - self.steps[0][0]

    @property
    def losses(self) -> list[float]:
        return [loss for _, loss in self.steps]


def wait(run: Run) -> RunState:
    """Wait for the end of a run that was launched. Raises RuntimeError with its log unless it is done."""
    deadline = time.monotonic() + WAIT_SECONDS
    while (state := read_state(run)).is_running and time.monotonic() < deadline:
        advance_if_possible()  # it may have to wait until the process of the one before has ended
        time.sleep(0.2)
    if state.status != "done":
        raise RuntimeError(f"our training: {state.status} {state.message}\n{run.log_tail()}")
    return state


def train_ours(job: Job) -> Training:
    """Train as the app does, through the launcher. Raises RuntimeError with the log when it fails."""
    began = time.time()
    run = launch(job.config())
    state = wait(run)
    events = read_events(run.events_file)
    steps = [(event["time"], event["loss"]) for event in events if event["event"] == "step"]
    when = {event["message"].split(" ")[0]: event["time"] for event in events if event["event"] == "preparing"}
    when["training"] = next(event["time"] for event in events if "total_steps" in event)
    launched = read_json(run.process_file)["trainer"]["started"]
    parts = {
        "queue and accelerate launch": launched - began,
        "imports": when["Checking"] - launched,
        "data": when["Loading"] - when["Checking"],
        "weights": when["Setting"] - when["Loading"],
        "building the trainer": when["training"] - when["Setting"],
        "first step": steps[0][0] - when["training"],
    }
    while run.is_alive():  # it holds the memory that the next one is measured with
        time.sleep(0.1)
    shutil.rmtree(run.folder)
    return Training(began, steps, peak_bytes=state.metrics["peak_memory_bytes"], parts=parts)


def train_after_a_touch(job: Job) -> Training:
    """Train as `train_ours` does, the form of the Train tab touched long enough before."""
    prepare(LOCAL_OWNER)
    time.sleep(IMPORT_SECONDS)
    return train_ours(job)


def train_trl(job: Job, folder: Path) -> Training:
    """Train with TRL's script, as a person would call it. `folder` takes the rows and the output."""
    base = fetch_base(choose_base(job.base))
    rows = load_data(job.config().data_settings(), folder, load_tokenizer(base)).train.rows
    (folder / "rows").mkdir()
    with open(folder / "rows" / "train.jsonl", "w") as file:
        file.writelines(json.dumps({name: row[name] for name in ("input_ids", "labels")}) + "\n" for row in rows)
    config, output = job.config(), folder / "out"
    flags = {"model_name_or_path": base, "dataset_name": folder / "rows", "output_dir": output, "logging_steps": 1}
    flags |= {name: getattr(config, name) for name in SAME} | {"warmup_steps": config.warmup_fraction}
    flags |= {"lora_target_modules": "all-linear", "report_to": "none", "disable_tqdm": True}
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    training = Training(time.time(), [])
    process = subprocess.Popen(
        [sys.executable, "-c", TRL_SCRIPT, "--use_peft", *words, *job.trl],
        cwd=REPOSITORY,
        env={**environment(TrainConfig(), find_gpus()), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")},
        stdout=subprocess.PIPE,
        stderr=(folder / "trl.log").open("w"),
        text=True,
    )
    for line in process.stdout:
        logs = _logs_in(line)
        training.peak_bytes = logs.get("peak_bytes", 0)  # its last line
        if "loss" in logs:
            training.steps.append((time.time(), float(logs["loss"])))
            training.tokens.append(int(float(logs["num_tokens"])))
    if process.wait():
        raise RuntimeError("TRL's training failed\n" + (folder / "trl.log").read_text()[-3000:])
    state = read_json(output / f"checkpoint-{job.steps}" / "trainer_state.json")
    exact = [logs["loss"] for logs in state["log_history"] if "loss" in logs]  # printed are four digits
    training.steps = [(when, loss) for (when, _), loss in zip(training.steps, exact, strict=True)]
    return training


def _logs_in(line: str) -> dict:
    """Read the dictionary that the Trainer prints for a step; {} for any other line."""
    try:
        found = ast.literal_eval(line.strip()) if line.startswith("{") else {}
    except (SyntaxError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def measure(job: Job, pairs: int) -> list[tuple[Training, Training]]:
    """Train `pairs` times on both sides; returns (ours, TRL's) of each."""
    done = []
    for _ in range(pairs):
        with tempfile.TemporaryDirectory() as folder:
            done.append((train_ours(job), train_trl(job, Path(folder))))
    return done


def loss_difference(ours: list[float], trl: list[float], same_order: bool = True) -> float:
    """Return the largest difference of one step, or that of the means. Raises RuntimeError when steps are missing."""
    if len(ours) != len(trl):
        raise RuntimeError(f"{len(ours)} steps against {len(trl)}")
    if not same_order:
        return abs(mean(ours) - mean(trl))
    return max(abs(mine - theirs) for mine, theirs in zip(ours, trl, strict=True))


def row_of(job: Job, done: list[tuple[Training, Training]]) -> Row:
    """Make the row of all pairs. Raises RuntimeError when the losses are not the same: it would be another computation."""
    difference = max(loss_difference(ours.losses, trl.losses, job.same_order) for ours, trl in done)
    if difference > job.tolerance:
        raise RuntimeError(f"{job.name}: the losses differ by {difference:.1e}: not the same computation")
    tokens = [trl.tokens[-1] - trl.tokens[0] for _, trl in done]  # the rows are the same: it is our count too
    ours, trl = (
        median(count / training.seconds for count, training in zip(tokens, side, strict=True))
        for side in zip(*done, strict=True)
    )
    of = "each step's loss" if job.same_order else "the mean loss"
    note = f"{of} differs by at most {difference:.0e}; {job.steps} steps, {len(done)} pair{'s' * (len(done) > 1)}"
    return faster(job.name, ours, trl, "tokens/s", job.aim, note)


def start_rows(done: list[tuple[Training, Training]], touched: list[Training]) -> Iterator[Row]:
    """The way from Start to the first loss, of all pairs, and of trainings whose form was touched before."""
    parts = {name: median(ours.parts[name] for ours, _ in done) for name in done[0][0].parts}
    own = sum(parts.values()) - parts["weights"] - parts["first step"]
    words = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items())
    yield within("start: the trainer's own, all but weights and step 1", own, OWN_SECONDS, "s", words)
    ours, trl = (median(one.steps[0][0] - one.began for one in side) for side in zip(*done, strict=True))
    yield smaller("start: from Start to the first loss (TRL: from its start)", ours, trl, "s", 1.0)
    ours = median(one.steps[0][0] - one.began for one in touched)
    yield smaller("start: the same, the form touched before", ours, trl, "s", 2.0)


def rows(quick: bool) -> Iterator[Row]:
    """The training on the embedded base and the example's rows, and the way to its first loss."""
    pairs, steps = (1, 4) if quick else (3, 10)
    done = measure(job := replace(JOB, steps=steps), pairs)
    yield row_of(job, done)
    yield from start_rows(done, [train_after_a_touch(replace(JOB, steps=1)) for _ in range(pairs)])


if __name__ == "__main__":
    main(rows, __doc__)
