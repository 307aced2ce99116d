"""What are several cards worth: DP against DDP, ZeRO-2 and FSDP2 on the cards that are there.

    python -m benchmarks.parallel [--full]

Each row is a process (or several) of its own, started as the app starts trainings; what cannot run here is named on stderr with
its reason. The loop is plain `transformers.Trainer` in every row, so that rows differ in how the work is spread and in precision
alone: SFTTrainer refuses nn.DataParallel, which is unquantised here, since transformers does not wrap a quantised model. The
rival is the first row of the same precision, with the same rows a device (more devices compute more rows a step); efficiency is
the ratio for each GPU, on a CPU for each core. Without two GPUs it compares one process with two over gloo on the CPU: that
shows that it works, not that it is worth it.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.inputs import make_base
from benchmarks.rows import Row, faster, main
from common.paths import REPOSITORY
from models.hardware import cpu_count, find_gpus
from runs.machines.command import CONFIGS, mixed_precision

MAX_SECONDS = 1200
ONE, DP, DDP, ZERO2, FSDP2 = "one device", "DP (nn.DataParallel)", "DDP", "ZeRO-2", "FSDP2"
FILES = {ONE: "single_{}.yaml", DDP: "multi_{}.yaml", ZERO2: "zero2.yaml", FSDP2: "fsdp2.yaml"}


@dataclass(frozen=True)
class Case:
    """One measurement: `devices` are GPUs, or processes on a CPU with `threads` each; `reason` is why it cannot run here."""

    mode: str
    precision: str
    devices: int = 1
    threads: int = 0
    reason: str = ""

    @property
    def name(self) -> str:
        kind = f", {self.devices} x {self.threads} thread{'s' if self.threads > 1 else ''}" if self.threads else ""
        return f"{self.mode}, {self.precision}{kind}"

    def command(self, options: dict) -> list[str]:
        worker = ["-m", "benchmarks.parallel", json.dumps({**options, "precision": self.precision})]
        if self.mode == DP:
            return [sys.executable, *worker]
        file = CONFIGS / FILES[self.mode].format("cpu" if self.threads else "gpu")
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
        launch += ["--num_processes", str(self.devices)]
        launch += ["--mixed_precision", mixed_precision(self.precision, find_gpus())]  # as the worker computes
        launch += ["--main_process_port", "0"] if self.devices > 1 else []
        launch += ["--num_cpu_threads_per_process", str(self.threads)] if self.threads else []
        return [*launch, *worker]


def cases_for(gpus: int, cores: int) -> list[Case]:
    """All cases in their order; those that cannot run on such a machine say why."""
    if not gpus:
        half = max(1, cores // 2)
        ways = ((ONE, 1, cores), (ONE, 1, half), (DDP, 2, half))
        found = [Case(mode, kind, number, threads) for kind in ("fp32", "8bit") for mode, number, threads in ways]
        return found + [Case(mode, "bf16", 2, reason="needs two GPUs; none was found") for mode in (DP, ZERO2, FSDP2)]
    few = "" if gpus > 1 else "needs two GPUs; one was found"
    missing = "" if importlib.util.find_spec("deepspeed") else "deepspeed is not installed"
    kinds = ("bf16", "8bit", "4bit")
    return [
        *(Case(ONE, kind) for kind in kinds),
        Case(DP, "bf16", gpus, reason=few),
        Case(DP, "8bit", gpus, reason="transformers does not wrap a quantised model in DataParallel"),
        *(Case(DDP, kind, gpus, reason=few) for kind in kinds),
        *(Case(ZERO2, kind, gpus, reason=missing) for kind in ("bf16", "8bit")),
        Case(FSDP2, "bf16", gpus),
        Case(FSDP2, "8bit", gpus, reason="FSDP2 cannot split an 8-bit weight from its scales"),
    ]


def measure(case: Case, options: dict) -> dict:
    """Run one case; returns tokens a second (the slowest process is the speed of all) and each device's peak memory.

    Raises RuntimeError with the reason when it cannot run here or fails.
    """
    if case.reason:
        raise RuntimeError(case.reason)
    variables = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    variables |= {"ACCELERATE_USE_CPU": "true"} if case.threads else {}
    variables |= {"CUDA_VISIBLE_DEVICES": "0"} if case.mode == ONE else {}
    quiet = {"capture_output": True, "text": True, "timeout": MAX_SECONDS}
    done = subprocess.run(case.command(options), cwd=REPOSITORY, env=variables, **quiet)
    lines = [json.loads(line.split("MEASURED ", 1)[1]) for line in done.stdout.splitlines() if "MEASURED " in line]
    if done.returncode or not lines:
        raise RuntimeError(done.stderr[-500:])
    memories = [line["peaks"] for line in sorted(lines, key=lambda line: line["rank"])]
    peaks = [max(card) for card in zip(*memories, strict=True)] if not case.threads else [peak for (peak,) in memories]
    return {"speed": lines[0]["tokens"] / max(line["seconds"] for line in lines), "peaks": peaks}


def measure_all(cases: list[Case], options: dict) -> list[Row]:
    found, first = [], {}
    for case in cases:
        try:
            measured = measure(case, options)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"{case.name}: not run: {error}", file=sys.stderr, flush=True)
            continue
        share = case.devices * max(1, case.threads)
        rival, of = first.setdefault(case.precision, (measured["speed"], share))
        memory = ", ".join(f"{peak / 2**30:.2f}" for peak in measured["peaks"])
        note = f"efficiency {measured['speed'] / rival / share * of:.0%}; peak memory a device {memory} GiB"
        found.append(faster(case.name, measured["speed"], rival, "tokens/s", None, note))
    return found


def rows(quick: bool) -> list[Row]:
    gpus = len(find_gpus())
    options = {"steps": 9 if quick else 23, "batch": 4 if gpus else 2, "length": 512 if gpus else 128}
    with tempfile.TemporaryDirectory() as folder:
        base = make_base(Path(folder) / "base", 22 if gpus else 2)
        return measure_all(cases_for(gpus, cpu_count()), {**options, "base": str(base)})


def work(base: str, precision: str, steps: int, batch: int, length: int) -> None:
    """One process of a case: a few LoRA steps, of which the first three are not timed, and one JSON line on stdout.

    Trainer falls back to nn.DataParallel when several GPUs are visible and nobody launched several processes.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainerCallback, TrainingArguments

    from models.precision import load_base_model
    from trainer.progress import peak_memory_bytes

    ended, has_cuda = [], torch.cuda.is_available()

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs) -> None:
            if has_cuda:
                torch.cuda.synchronize()
            ended.append(time.perf_counter())

    in_16_bit, native = has_cuda and precision != "fp32", has_cuda and torch.cuda.get_device_capability()[0] >= 8
    switches = {"use_cpu": not has_cuda, "bf16": in_16_bit and native, "fp16": in_16_bit and not native}
    switches |= {"ddp_find_unused_parameters": False, "save_strategy": "no", "report_to": "none", "disable_tqdm": True}
    output = {"output_dir": os.path.join(base, "out"), "logging_steps": steps}
    arguments = TrainingArguments(max_steps=steps, per_device_train_batch_size=batch, seed=0, **output, **switches)
    _ = arguments.device  # the processes meet, each on its own card: a quantised base is loaded onto the current one
    adapter = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(load_base_model(base, precision), adapter)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    ids = torch.randint(0, 32000, (batch * steps * 64, length), generator=torch.Generator().manual_seed(0))
    data = [{"input_ids": row, "labels": row, "attention_mask": torch.ones_like(row)} for row in ids]
    trainer = Trainer(model=model, args=arguments, train_dataset=data, callbacks=[Clock()])
    trainer.train()
    warm, world = min(3, steps - 2), trainer.args.world_size
    line = {
        "rank": trainer.args.process_index,
        "seconds": (ended[-1] - ended[warm]) / (len(ended) - 1 - warm),
        "tokens": batch * length * (world if world > 1 else max(1, trainer.args.n_gpu)),  # n_gpu > 1: DataParallel
        "peaks": [torch.cuda.max_memory_allocated(card) for card in range(torch.cuda.device_count())]
        or [peak_memory_bytes()],
    }
    print("MEASURED " + json.dumps(line), flush=True)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("{"):
        work(**json.loads(sys.argv[1]))
    else:
        main(rows, __doc__)
