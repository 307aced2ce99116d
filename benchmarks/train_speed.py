"""Training on this machine's CPU: the app's own process against TRL's own script with its defaults.

    python -m benchmarks.train_speed [--full]

Both get the same base, rows, order, batch, length, LoRA settings, learning rate, seed and precision, each in a process of its
own, one after the other, in turn. Speed is tokens of the rows (no padding) a second, by the clock of whoever reads when each
step's loss appears, from the first loss on: starting up is `benchmarks.start`'s. The losses of every step are compared, so that
speed is never bought with a different computation; without dropout, whose random numbers depend on how rows lie in a batch.
"""

import argparse
import ast
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean, median

from benchmarks.rows import Row, faster, table
from common.files import read_json, read_json_lines
from common.paths import REPOSITORY, home
from models.base import choose_base, fetch_base
from models.tokenizer import load_tokenizer
from trainer.config import TrainConfig
from trainer.data.intake import load_data
from trainer.launcher import environment
from trainer.queue import advance_if_possible, launch
from trainer.run import Run, RunState, read_state

AIM_CPU = 1.7
WAIT_SECONDS = 3600


@dataclass(frozen=True)
class Job:
    """One training that both do. `trl` are flags of TRL's script for what a person asks of both (a precision, ...).

    `tolerance` is how far the losses may differ: of each step, or of all steps together where the order of rows is not the
    same.
    """

    name: str
    base: str = "embedded"
    data: str = str(REPOSITORY / "examples" / "study_coach.jsonl")  # not 'example', which holds rows out to look at
    steps: int = 4
    settings: dict = field(default_factory=dict)
    trl: tuple[str, ...] = ("--bf16", "False", "--dtype", "float32", "--use_cpu", "True")
    aim: float | None = AIM_CPU
    tolerance: float = 1e-3
    same_order: bool = True

    def config(self) -> TrainConfig:
        values = {"lora_dropout": 0.0, "eval_fraction": 0.0, "save_steps": 10_000_000, **self.settings}
        return TrainConfig.from_dict(
            {"name": "bench", "base": self.base, "data": self.data, "max_steps": self.steps, **values}
        )


@dataclass
class Training:
    """What one training showed: (when, loss) of each step, and what it needed."""

    began: float  # when it was started
    steps: list[tuple[float, float]]
    tokens: list[int] = field(default_factory=list)  # of all steps so far, where it tells
    peak_bytes: int = 0

    @property
    def first_loss_seconds(self) -> float:
        return self.steps[0][0] - self.began

    @property
    def seconds(self) -> float:
        """From the first loss to the last."""
        return self.steps[-1][0] - self.steps[0][0]


def train_ours(job: Job) -> Training:
    """Train as the app does, through the launcher. Raises RuntimeError with the log when it fails."""
    began = time.time()
    run = launch(job.config())
    state = wait(run)
    steps = [(event["time"], event["loss"]) for event in read_json_lines(run.events_file) if event["event"] == "step"]
    shutil.rmtree(run.folder)
    return Training(began, steps, peak_bytes=state.metrics["peak_memory_bytes"])


def wait(run: Run) -> RunState:
    """The last state of a run that was launched; it may have to wait until the process of the one before has ended.

    Raises RuntimeError with the log when it is not done.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while (state := read_state(run)).is_running and time.monotonic() < deadline:
        advance_if_possible()
        time.sleep(0.2)
    if state.status != "done":
        raise RuntimeError(f"our training: {state.status} {state.message}\n{run.log_tail()}")
    return state


def train_trl(job: Job, folder: Path) -> Training:
    """Train with `python -m trl.scripts.sft`, as a person would call it. `folder` holds the rows and takes the output."""
    training = Training(time.time(), [])
    process = subprocess.Popen(
        trl_command(job, folder),
        cwd=REPOSITORY,
        env={**environment(TrainConfig()), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")},
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
    state = read_json(folder / "out" / f"checkpoint-{job.steps}" / "trainer_state.json")
    exact = [logs["loss"] for logs in state["log_history"] if "loss" in logs]  # printed are four digits
    training.steps = [(when, loss) for (when, _), loss in zip(training.steps, exact, strict=True)]
    return training


def trl_command(job: Job, folder: Path) -> list[str]:
    """TRL's defaults but for what both are asked: the same numbers, one loss a step, nothing reported."""
    config = job.config()
    same = ["per_device_train_batch_size", "gradient_accumulation_steps", "max_steps", "learning_rate", "max_length"]
    same += ["lr_scheduler_type", "weight_decay", "max_grad_norm", "seed", "lora_r", "lora_alpha", "lora_dropout"]
    flags = [part for name in same for part in (f"--{name}", str(getattr(config, name)))]
    flags += ["--warmup_steps", str(config.warmup_fraction), "--use_peft", "--lora_target_modules", "all-linear"]
    flags += [
        "--logging_steps",
        "1",
        "--save_steps",
        str(config.save_steps),
        "--report_to",
        "none",
        "--disable_tqdm",
        "True",
    ]
    base = ["--model_name_or_path", str(_base_folder(job)), "--dataset_name", str(folder / "rows")]
    return [sys.executable, "-m", "benchmarks.trl_sft", *base, "--output_dir", str(folder / "out"), *flags, *job.trl]


def _logs_in(line: str) -> dict:
    """The dictionary that the Trainer prints for a step; {} for any other line."""
    try:
        found = ast.literal_eval(line.strip()) if line.startswith("{") else {}
    except (SyntaxError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _base_folder(job: Job) -> Path:
    return fetch_base(choose_base(job.base))


def write_rows(job: Job, folder: Path) -> None:
    """The rows that our trainer gets, as tokens and labels, for TRL's script."""
    data = load_data(job.config(), folder, load_tokenizer(_base_folder(job)))
    (folder / "rows").mkdir()
    with open(folder / "rows" / "train.jsonl", "w") as file:
        for row in data.train.rows:
            file.write(json.dumps({"input_ids": row["input_ids"], "labels": row["labels"]}) + "\n")


def measure(job: Job, pairs: int) -> list[tuple[Training, Training]]:
    """(ours, TRL's) for each pair."""
    done = []
    for _ in range(pairs):
        with tempfile.TemporaryDirectory() as folder:
            write_rows(job, Path(folder))
            done.append((train_ours(job), train_trl(job, Path(folder))))
    return done


def speeds(ours: Training, trl: Training) -> tuple[float, float]:
    """Tokens a second of both. The rows are the same, so TRL's count of them is ours too."""
    tokens = trl.tokens[-1] - trl.tokens[0]
    return tokens / ours.seconds, tokens / trl.seconds


def loss_difference(job: Job, ours: Training, trl: Training) -> float:
    """The largest difference of the losses of one step, or that of their means. Raises RuntimeError when steps are missing."""
    one, other = ([loss for _, loss in training.steps] for training in (ours, trl))
    if len(one) != len(other):
        raise RuntimeError(f"{len(one)} steps against {len(other)}")
    if not job.same_order:
        return abs(mean(one) - mean(other))
    return max(abs(mine - theirs) for mine, theirs in zip(one, other, strict=True))


def row_of(job: Job, done: list[tuple[Training, Training]]) -> Row:
    """Medians of the pairs. Raises RuntimeError when the losses are not the same: it would be another computation."""
    difference = max(loss_difference(job, *pair) for pair in done)
    if difference > job.tolerance:
        raise RuntimeError(f"{job.name}: the losses differ by {difference:.1e}: not the same computation")
    ours, trl = (median(speed) for speed in zip(*(speeds(*pair) for pair in done), strict=True))
    of = "each step's loss" if job.same_order else "the mean loss"
    note = f"{of} differs by at most {difference:.0e}; {job.steps} steps, {len(done)} pair{'s' * (len(done) > 1)}"
    return faster(job.name, ours, trl, "tokens/s", job.aim, note)


JOBS = (Job("training, CPU, fp32 LoRA, SmolLM2-135M, 4 rows a step"),)


def rows(quick: bool) -> list[Row]:
    """The training on the embedded base and the example's rows."""
    steps, pairs = (4, 3) if quick else (10, 3)
    return [row_of(job, measure(job, pairs)) for job in (replace(job, steps=steps) for job in JOBS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="10 steps a training, not 4")
    home().mkdir(parents=True, exist_ok=True)
    print(table(rows(not parser.parse_args().full)))


if __name__ == "__main__":
    main()
