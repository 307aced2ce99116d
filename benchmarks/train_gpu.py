"""Training on one GPU: the app's own process against TRL's script, in 8 bits and in bf16, on a model of TinyLlama's shape.

    python -m benchmarks.train_gpu [--full] [--profile]

22 layers with random weights (speed does not depend on what they are), rows with the lengths of an instruction set: most are
short, few are long. Rows of a length come together here and in TRL's default they do not, so the losses are compared over all
rows. MFU is against the card's dense 16-bit peak, at 4 floating-point operations a token and parameter (LoRA: forward and the
gradient of the input; what checkpointing computes again does not count). --profile prints the dearest operations.

NOT YET RUN ON A GPU: a test runs it in small on a CPU. Needs 20 GB of GPU memory for TRL's side.
"""

import argparse
import json
import random
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.measure_runs import make_base
from benchmarks.profile_step import profile
from benchmarks.rows import Row, smaller, table
from benchmarks.train_speed import Job, Training, measure, row_of
from common.paths import home
from models.hardware import find_gpus
from trainer.forecast.shape import TINYLLAMA_SHAPE

BATCH = 8
MEDIAN_WORDS, SPREAD, FEWEST, MOST = 130, 0.8, 12, 800  # log-normal, about 1.2 tokens a word
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "A10G": 125e12, "L4": 121e12, "T4": 65e12}
COMMON = {"per_device_train_batch_size": BATCH, "learning_rate": 1e-4, "max_length": 1024}


def jobs(base: str, data: str) -> list[Job]:
    """Each precision with the app's defaults, then with what a person can switch on."""
    in_8bit = Job(
        "training, GPU, 8-bit LoRA, TinyLlama's shape",
        base,
        data,
        settings={"precision": "8bit", **COMMON},
        trl=("--load_in_8bit", "True"),
        aim=2.0,
        tolerance=0.05,
        same_order=False,
    )
    in_bf16 = replace(
        in_8bit,
        name="training, GPU, bf16 LoRA, TinyLlama's shape",
        settings={"precision": "bf16", **COMMON},
        trl=("--dtype", "bfloat16"),
        aim=1.3,
    )
    return [each for job in (in_8bit, in_bf16) for each in (job, _without_checkpointing(job))]


def _without_checkpointing(job: Job) -> Job:
    return replace(
        job, name=f"{job.name}, ours without checkpointing", settings={**job.settings, "gradient_checkpointing": "off"}
    )


def write_data(file: Path, count: int) -> str:
    """Conversations of one question and one answer with the lengths of an instruction set, from a fixed seed."""
    numbers = random.Random(0)
    with open(file, "w") as rows:
        for _ in range(count):
            words = round(min(MOST, max(FEWEST, numbers.lognormvariate(0, SPREAD) * MEDIAN_WORDS)))
            text = [f"w{numbers.randrange(10)}" for _ in range(words)]
            said = {"prompt": " ".join(text[: words // 4]), "completion": " ".join(text[words // 4 :])}
            rows.write(json.dumps(said) + "\n")
    return str(file)


def mfu(tokens_per_second: float, parameters: int, gpu: str) -> float | None:
    """Part of the card's peak; None for a card whose peak is not known here."""
    peak = next((flops for name, flops in PEAK_FLOPS.items() if name in gpu.upper()), None)
    return 4 * parameters * tokens_per_second / peak if peak else None


def rows_of(job: Job, done: list[tuple[Training, Training]], gpu: str) -> list[Row]:
    """Speed, with MFU in its note, and peak memory."""
    speed = row_of(job, done)
    used = mfu(speed.ours, TINYLLAMA_SHAPE.parameters, gpu)
    speed = replace(speed, note=f"{speed.note}; MFU {used:.0%}") if used else speed
    ours, trl = (median(training.peak_bytes for training in side) / 1e9 for side in zip(*done, strict=True))
    most = 1 / 0.6 if job.settings["precision"] == "8bit" and "without" not in job.name else None
    return [speed, smaller(f"peak memory: {job.name}", ours, trl, "GB", most)]


def measure_all(base: str, folder: Path, steps: int, pairs: int, chosen=jobs, gpu: str = "") -> list[Row]:
    """The rows of all jobs; each takes one pass over the same rows."""
    data = write_data(folder / "rows.jsonl", steps * BATCH)
    found = []
    for job in chosen(base, data):
        job = replace(job, steps=steps)
        found += rows_of(job, measure(job, pairs), gpu)
    return found


def rows(quick: bool) -> list[Row]:
    """Raises RuntimeError without a GPU."""
    gpus = find_gpus()
    if not gpus:
        raise RuntimeError("there is no GPU")
    with tempfile.TemporaryDirectory() as folder:
        base = make_base(TINYLLAMA_SHAPE.num_hidden_layers, "bfloat16", Path(folder) / "base")
        return measure_all(str(base), Path(folder), *((30, 1) if quick else (120, 3)), gpu=gpus[0].name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="120 steps, 3 pairs")
    parser.add_argument("--profile", action="store_true", help="where our time goes, in place of the comparison")
    options = parser.parse_args()
    home().mkdir(parents=True, exist_ok=True)
    if not options.profile:
        print(table(rows(not options.full)))
        return
    with tempfile.TemporaryDirectory() as folder:
        base = make_base(TINYLLAMA_SHAPE.num_hidden_layers, "bfloat16", Path(folder) / "base")
        data = write_data(Path(folder) / "rows.jsonl", 4 * BATCH)
        for job in jobs(str(base), data):
            print(f"{job.name}\n{profile(replace(job, steps=4).config())}")


if __name__ == "__main__":
    main()
