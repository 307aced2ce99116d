"""Training on one GPU: the app's own process against TRL's script, in 8 bits and in bf16, on a model of TinyLlama's shape; and
what each lever is worth.

    python -m benchmarks.train_gpu [--full] [--only 8bit]

22 layers with random weights (speed does not depend on what they are), rows with the lengths of an instruction set: log-normal,
most short, few long (`write_data`). First the app's defaults against `trl sft` with its own (`--load_in_8bit`). Then one lever
after the other is moved away from what the app does, or towards what it does without (`benchmarks.train_levers`): a ratio above
1 says that the first is faster. With the order of rows that TRL takes, every step's loss is compared with TRL's. MFU is against
the card's dense 16-bit peak, at 4 floating-point operations a token and parameter (LoRA: forward and the gradient of the input;
what checkpointing computes again does not count).

What was measured goes into results/train_gpu.md with the card, the versions, and the dearest kernels. NOT YET RUN ON A GPU: a
test runs all of it in small on a CPU. Needs 20 GB of GPU memory for TRL's side.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.memory import make_base
from benchmarks.rows import RESULTS, Row, faster, machine, smaller, table
from benchmarks.train_levers import LEVERS
from benchmarks.train_speed import Job, Training, measure, row_of
from common.files import write_json, write_text
from common.paths import REPOSITORY, home
from models.hardware import find_gpus
from trainer.forecast.shape import TINYLLAMA_SHAPE
from trainer.launcher import environment

BATCH = 8
MEDIAN_WORDS, SPREAD, FEWEST, MOST = 130, 0.8, 12, 800  # log-normal, about 1.2 tokens a word
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "A10G": 125e12, "L4": 121e12, "T4": 65e12}
COMMON = {"per_device_train_batch_size": BATCH, "learning_rate": 1e-4, "max_length": 1024}
LOSS_TOLERANCE = 0.05  # of one step: TRL keeps adapters in bf16, ours are fp32
KERNELS = 12


def jobs(base: str, data: str) -> list[Job]:
    """Each precision with the app's defaults."""
    in_8bit = Job(
        "training, GPU, 8-bit LoRA, TinyLlama's shape",
        base,
        data,
        settings={"precision": "8bit", **COMMON},
        trl=("--load_in_8bit", "True"),
        aim=2.0,
        tolerance=LOSS_TOLERANCE,
        same_order=False,
    )
    in_bf16 = replace(
        in_8bit,
        name="training, GPU, bf16 LoRA, TinyLlama's shape",
        settings={"precision": "bf16", **COMMON},
        trl=("--dtype", "bfloat16"),
        aim=1.3,
    )
    return [in_8bit, in_bf16]


def write_data(file: Path, count: int) -> str:
    """Conversations of one question and one answer, from a fixed seed: words are log-normal around 130 with a deviation of 0.8
    (a sixth over 290, one in a hundred over 800, where it is cut), a quarter of them the question.
    """
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
    most = 1 / 0.6 if job.settings["precision"] == "8bit" else None
    return [speed, smaller(f"peak memory: {job.name}", ours, trl, "GB", most)]


def run_lever(job: Job, lever: str, folder: Path, profile: int = 0) -> dict:
    """What `benchmarks.train_levers` says of one training in a process of its own. Raises RuntimeError with its last words."""
    file = folder / "lever.json"
    write_json(file, {"config": job.config().to_dict(), "lever": lever, "profile": profile})
    command = [sys.executable, "-m", "benchmarks.train_levers", str(file)]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment(job.config()), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{job.name}, {lever}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def lever_rows(job: Job, folder: Path, trl: Training, levers=LEVERS) -> list[Row]:
    """A row for each lever, and one for the losses in TRL's order. A lever that fails is named, and the others go on."""
    precision = job.settings["precision"]
    plain, found = run_lever(job, "", folder), []
    for name, lever in levers.items():
        if not name or lever.only not in ("", precision):
            continue
        try:
            moved = run_lever(job, name, folder)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            continue
        found.append(lever_row(precision, lever, plain, moved))
        if name == "order":
            found.append(loss_row(precision, moved["losses"], [loss for _, loss in trl.steps]))
    return found


def lever_row(precision: str, lever, plain: dict, moved: dict) -> Row:
    """tokens/s with the app's choice (or the new thing) over without, both peaks in the note."""
    with_it, without = (moved, plain) if lever.is_new else (plain, moved)
    peaks = f"peak {with_it['peak_bytes'] / 1e9:.2f} GB, without {without['peak_bytes'] / 1e9:.2f} GB"
    difference = abs(sum(with_it["losses"]) - sum(without["losses"])) / max(1, len(plain["losses"]))
    note = f"{peaks}; mean loss differs by {difference:.0e}{'; not in the app' if lever.is_new else ''}"
    speeds = with_it["tokens_per_second"], without["tokens_per_second"]
    return faster(f"{precision}: {lever.says}", *speeds, "tokens/s", None, note)


def loss_row(precision: str, ours: list[float], trl: list[float]) -> Row:
    """The largest difference of one step's loss, in the same order of rows. Raises RuntimeError when steps are missing."""
    if len(ours) != len(trl):
        raise RuntimeError(f"{len(ours)} steps against {len(trl)}")
    most = max(abs(one - other) for one, other in zip(ours, trl, strict=True))
    ratio = min(LOSS_TOLERANCE / max(most, 1e-9), 100.0)
    note = f"of one step, in TRL's order, over {len(ours)} steps; at most {LOSS_TOLERANCE:g}"
    return Row(f"{precision}: each step's loss against TRL's", most, None, "", ratio, 1.0, note)


def measure_all(
    base: str, folder: Path, steps: int, pairs: int, chosen=jobs, gpu: str = "", levers=LEVERS
) -> tuple[list[Row], dict[str, list]]:
    """(the rows of all jobs and levers, {job: its dearest kernels}); each takes one pass over the same rows."""
    data = write_data(folder / "rows.jsonl", steps * BATCH)
    found, kernels = [], {}
    for job in chosen(base, data):
        job = replace(job, steps=steps)
        done = measure(job, pairs)
        found += rows_of(job, done, gpu)
        found += lever_rows(job, folder, done[-1][1], levers)
        kernels[job.name] = run_lever(replace(job, steps=3), "", folder, KERNELS)["dearest"]
    return found, kernels


def report(found: list[Row], kernels: dict[str, list], where: dict) -> str:
    """results/train_gpu.md: what it ran on, the rows, where the time goes."""
    versions = ", ".join(f"{name} {number}" for name, number in where["versions"].items() if number)
    parts = [
        "# Training on one GPU",
        "",
        f"{where['gpu']}; {where['cpu']}; {where['date']}; {versions}",
        "",
        table(found),
    ]
    for job, operations in kernels.items():
        parts += ["", f"## Where the time goes: {job}", "", "| operation | part | calls in 3 steps |", "|---|---|---|"]
        parts += [f"| `{name}` | {part:.1%} | {calls} |" for name, part, calls in operations]
    return "\n".join(parts) + "\n"


def rows(quick: bool, only: str = "") -> list[Row]:
    """Writes results/train_gpu.md too. Raises RuntimeError without a GPU."""
    gpus = find_gpus()
    if not gpus:
        raise RuntimeError("there is no GPU")

    def chosen(base: str, data: str) -> list[Job]:
        return [job for job in jobs(base, data) if only in job.settings["precision"]]

    with tempfile.TemporaryDirectory() as folder:
        base = make_base(TINYLLAMA_SHAPE.num_hidden_layers, "bfloat16", Path(folder) / "base")
        steps, pairs = (30, 1) if quick else (120, 3)
        found, kernels = measure_all(str(base), Path(folder), steps, pairs, chosen, gpus[0].name)
    write_text(RESULTS.with_name("train_gpu.md"), report(found, kernels, machine()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="120 steps, 3 pairs")
    parser.add_argument("--only", default="", choices=("", "8bit", "bf16"), help="one precision")
    options = parser.parse_args()
    home().mkdir(parents=True, exist_ok=True)
    print(table(rows(not options.full, options.only)))


if __name__ == "__main__":
    main()
