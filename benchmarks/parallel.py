"""DP against DDP, ZeRO-2 and FSDP2 on the cards that are there: one row a mode and precision, as a table and a picture.

    python -m benchmarks.parallel [--steps 20] [--layers 22] [--batch 4] [--length 512] [--out benchmarks/results]

Each row is a process (or several) of its own, started as the app starts trainings. What cannot run here is named with its reason.
Without two GPUs it compares one process with two over gloo on the CPU: that shows that it works, not that it is worth it.
"""

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

import trainer
from benchmarks.parallel_report import compare, write_report
from common.paths import REPOSITORY
from models.hardware import find_gpus
from trainer.machines.launch_config import mixed_precision

CONFIGS = Path(trainer.__file__).parent / "accelerate"
SAMPLE_SECONDS = 0.5
ROW_SECONDS = 1200
ONE, DP, DDP, ZERO2, FSDP2 = "one device", "DP (nn.DataParallel)", "DDP", "ZeRO-2", "FSDP2"
FILES = {ONE: "single_{}.yaml", DDP: "multi_{}.yaml", ZERO2: "zero2.yaml", FSDP2: "fsdp2.yaml"}


@dataclass(frozen=True)
class Row:
    """One measurement: `devices` are GPUs, or processes on a CPU with `threads` each."""

    mode: str
    precision: str
    devices: int
    threads: int = 0
    reason: str = ""  # why it cannot run here
    variables: dict = field(default_factory=dict)

    @property
    def share(self) -> int:
        """What efficiency is counted by: the GPUs, or the cores that its processes use."""
        return self.devices * max(1, self.threads)

    @property
    def name(self) -> str:
        kind = f", {self.devices} x {self.threads} thread{'s' if self.threads > 1 else ''}" if self.threads else ""
        return f"{self.mode}, {self.precision}{kind}"

    def command(self, base: str, options: argparse.Namespace) -> list[str]:
        worker = ["--base", base, "--precision", self.precision, "--steps", str(options.steps)]
        worker += ["--batch", str(options.batch), "--length", str(options.length)]
        if self.mode == DP:
            return [sys.executable, "-m", "benchmarks.parallel_worker", *worker]
        file = CONFIGS / FILES[self.mode].format("cpu" if self.threads else "gpu")
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
        launch += ["--num_processes", str(self.devices)]
        launch += ["--mixed_precision", mixed_precision(self.precision, find_gpus())]  # as the worker computes
        launch += ["--main_process_port", "0"] if self.devices > 1 else []
        launch += ["--num_cpu_threads_per_process", str(self.threads)] if self.threads else []
        return [*launch, "-m", "benchmarks.parallel_worker", *worker]


def rows_for(gpus: int, cores: int) -> list[Row]:
    """All rows in their order; those that cannot run on such a machine say why."""
    if gpus == 0:
        return _cpu_rows(cores)
    few = "" if gpus > 1 else "needs two GPUs; one was found"
    rows = [Row(ONE, precision, 1, variables={"CUDA_VISIBLE_DEVICES": "0"}) for precision in ("bf16", "8bit", "4bit")]
    rows += [Row(DP, "bf16", gpus, reason=few)]
    rows += [
        Row(DP, kind, gpus, reason="transformers does not wrap a quantised model in DataParallel") for kind in ("8bit",)
    ]
    rows += [Row(DDP, precision, gpus, reason=few) for precision in ("bf16", "8bit", "4bit")]
    missing = "" if importlib.util.find_spec("deepspeed") else "deepspeed is not installed"
    rows += [Row(ZERO2, precision, gpus, reason=missing or _no_config(ZERO2)) for precision in ("bf16", "8bit")]
    rows += [Row(FSDP2, "bf16", gpus, reason=_no_config(FSDP2))]
    return [*rows, Row(FSDP2, "8bit", gpus, reason="FSDP2 cannot split an 8-bit weight from its scales")]


def _no_config(mode: str) -> str:
    return "" if (CONFIGS / FILES[mode]).exists() else f"there is no {FILES[mode]}"


def _cpu_rows(cores: int) -> list[Row]:
    gloo = {"ACCELERATE_USE_CPU": "true"}
    half = max(1, cores // 2)
    rows = [Row(ONE, "fp32", 1, cores), Row(ONE, "fp32", 1, half)] if cores > 1 else [Row(ONE, "fp32", 1, 1)]
    rows += [Row(DDP, "fp32", 2, half, variables=gloo)]
    rows += [Row(ONE, "8bit", 1, cores), Row(DDP, "8bit", 2, half, variables=gloo)]
    rows += [Row(ONE, kind, 1, reason="needs a GPU; none was found") for kind in ("bf16", "4bit")]
    needs = "needs two GPUs; none was found"
    rows += [Row(mode, "bf16", 2, reason=needs) for mode in (DP, DDP, ZERO2, FSDP2)]
    return rows


def measure(row: Row, base: str, options: argparse.Namespace) -> dict:
    """Run one row. Returns what it needed, or {"not_run": reason}."""
    if row.reason:
        return {"name": row.name, "not_run": row.reason}
    variables = {**os.environ, **row.variables, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    load: list = []
    stop = threading.Event()
    busy = busy_before(bool(find_gpus()))
    watcher = threading.Thread(target=watch_load, args=(load, stop, bool(find_gpus())))
    watcher.start()
    try:
        done = subprocess.run(
            row.command(base, options),
            cwd=REPOSITORY,
            env=variables,
            capture_output=True,
            text=True,
            timeout=ROW_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"name": row.name, "not_run": f"did not end within {ROW_SECONDS} s"}
    finally:
        stop.set()
        watcher.join()
    lines = [json.loads(line.split("MEASURED ", 1)[1]) for line in done.stdout.splitlines() if "MEASURED " in line]
    if done.returncode or not lines:
        return {"name": row.name, "not_run": f"failed: {reason_in(done.stderr)}"}
    return {**summary(row, lines, load), "busy_before": busy}


def busy_before(has_gpu: bool) -> float:
    """Per cent of the busiest device that other programs take before a row begins."""
    if has_gpu:
        return max(float(value) for value in _nvml()())
    return psutil.cpu_percent(SAMPLE_SECONDS * 2)


def reason_in(text: str) -> str:
    """The exception in what a process printed: launchers print their own story after it."""
    lines = [line.strip() for line in text.strip().splitlines()] or ["no word"]
    errors = [line for line in lines if re.match(r"(\[rank\d+\]: ?)?[\w.]*(Error|Exception)\b", line)]
    own = [line for line in errors if "ChildFailedError" not in line and "CalledProcessError" not in line]
    return (own or errors or lines)[-1][:160]


def summary(row: Row, lines: list[dict], load: list) -> dict:
    """One row of the table from what its processes said. The slowest process is the speed of all."""
    seconds = max(line["step_seconds"] for line in lines)
    per_card = zip(*(line["peak_memory_bytes"] for line in lines), strict=False)
    memories = (
        [max(values) for values in per_card] if row.mode != DP and not row.threads else lines[0]["peak_memory_bytes"]
    )
    if row.threads:  # one figure a process
        memories = [line["peak_memory_bytes"][0] for line in sorted(lines, key=lambda line: line["rank"])]
    return {
        "name": row.name,
        "mode": row.mode,
        "precision": row.precision,
        "share": row.share,
        "tokens_per_second": lines[0]["tokens_per_step"] / seconds,
        "peak_memory_bytes": memories,
        "load": load,
        "loss": lines[0]["loss"],
    }


def watch_load(load: list, stop: threading.Event, has_gpu: bool) -> None:
    """Fill `load` with (seconds, per cent of each device): the GPUs by NVML, else the cores."""
    began = time.monotonic()
    ask = _nvml() if has_gpu else (lambda: psutil.cpu_percent(percpu=True))
    while not stop.wait(SAMPLE_SECONDS):
        load.append((round(time.monotonic() - began, 2), [float(value) for value in ask()]))


def _nvml():
    """A function that gives the utilisation of each card: through nvidia-ml-py when it is installed, else nvidia-smi."""
    if importlib.util.find_spec("pynvml"):
        import pynvml

        pynvml.nvmlInit()
        cards = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
        return lambda: [pynvml.nvmlDeviceGetUtilizationRates(card).gpu for card in cards]
    query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    return lambda: [int(line) for line in subprocess.run(query, capture_output=True, text=True).stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--layers", type=int, default=22)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--small", action="store_true", help="an eighth of TinyLlama's width: to try it out")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results")
    options = parser.parse_args()
    from benchmarks.parallel_worker import make_base

    gpus = len(find_gpus())
    with tempfile.TemporaryDirectory() as base:
        make_base(base, options.layers, options.small)
        found = []
        for row in rows_for(gpus, os.cpu_count() or 1):
            found.append(measure(row, base, options))
            print(row.name, found[-1].get("not_run") or f"{found[-1]['tokens_per_second']:.0f} tokens/s", flush=True)
    write_report(compare(found), gpus, options)


if __name__ == "__main__":
    main()
