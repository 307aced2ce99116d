"""Does every mode that one GPU can do really train, stop and resume there: a smoke test, with peak memory and tokens a second.

    python -m benchmarks.gpu_smoke [--only WORD] [--layers 22] [--out benchmarks/results]

Each row is a training as the app starts it (`accelerate launch` with the run's own YAML) on a model of TinyLlama's shape with
random weights: 8-bit, bf16, 4-bit, fp16 with a gradient scaler, and ZeRO-2, ZeRO-3 and FSDP2 with one process. Rows that resume
are stopped in the middle and started again. What cannot run here is named with its reason; exits with 1 when a row failed.

NOT YET RUN ON A GPU: a test runs it in small on a CPU. ZeRO needs DeepSpeed, see trainer/machines/parallel.py. Takes about half a
minute a start; `--only` picks rows, and rows of earlier calls stay in the report.
"""

import argparse
import json
import math
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.memory import make_base
from benchmarks.rows import machine
from benchmarks.train_gpu import write_data
from common.errors import UserError
from common.files import read_json, read_json_lines, write_json
from common.paths import REPOSITORY, home
from models.hardware import cpu_count, find_gpus
from trainer.config import TrainConfig
from trainer.launcher import create_run, start
from trainer.machines.parallel import ENGINES, check_machine
from trainer.process.checkpoints import last_checkpoint
from trainer.run import Run, read_state

STEPS = 30
SECONDS = 400  # the most that one start may take
ROWS = 400
COMMON = {
    "per_device_train_batch_size": 4,
    "max_length": 1024,
    "learning_rate": 1e-4,
    "eval_steps": 1000,
    "save_steps": 10,
}
COMMON |= {"sample_prompts": "Why is the sky blue?", "eval_fraction": 0.02}
FACTS = (
    "status",
    "message",
    "steps",
    "first_loss",
    "last_loss",
    "tokens_per_second",
    "peak_memory_bytes",
    "resumed_at",
)


@dataclass(frozen=True)
class Case:
    """One row: the settings of a training, and whether it is stopped and resumed."""

    name: str
    settings: dict = field(default_factory=dict)
    resumes: bool = False

    def config(self, base: str, data: str, steps: int) -> TrainConfig:
        values = {**COMMON, **self.settings, "max_steps": steps, "base": base, "data": data, "name": "gpu-smoke"}
        return TrainConfig.from_dict(values)


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


def reason_against(case: Case) -> str:
    """Why it cannot run on this machine; "" when it can."""
    gpus = find_gpus()
    if not gpus and case.settings["precision"] in ("bf16", "fp16", "4bit"):
        return "needs a GPU; none was found"
    try:
        check_machine(TrainConfig.from_dict(case.settings), gpus, cpu_count())
    except UserError as error:
        return f"{error}"
    return ""


def measure(case: Case, base: str, data: str, steps: int = STEPS) -> dict:
    """Train, once more from the middle where it resumes. Returns the row, with `not_run` or `problem` where there is one."""
    if reason := reason_against(case):
        return {"name": case.name, "not_run": reason}
    config, began = case.config(base, data, steps), time.monotonic()
    run = create_run(config)
    stopped_at = None
    if case.resumes:
        train(run, stop_after=steps // 3)
        stopped_at = read_state(run).step
    train(run)
    row = {"name": case.name, **facts_of(run), "seconds": round(time.monotonic() - began)}
    row["scaler"] = (last_checkpoint(run.checkpoints_folder) or run.folder).joinpath("scaler.pt").exists()
    return {**row, "problem": problem_of(case, row, steps, stopped_at, run)}


def train(run: Run, stop_after: int = 0) -> None:
    """Start `run` as the button does and wait for its end; asked to stop after so many steps. Ended hard after SECONDS."""
    start(run)
    deadline = time.monotonic() + SECONDS
    while run.is_alive():
        if stop_after and _losses(run)[stop_after - 1 :]:
            run.request_stop()
            stop_after = 0
        if time.monotonic() > deadline:
            os.killpg(read_json(run.process_file)["launcher"]["pid"], signal.SIGKILL)  # its session is its own
        time.sleep(0.05)


def _losses(run: Run) -> list[float]:
    return [event["loss"] for event in read_json_lines(run.events_file) if event["event"] == "step"]


def facts_of(run: Run) -> dict:
    """What a run says of itself."""
    events = read_json_lines(run.events_file)
    speeds = [event["tokens_per_second"] for event in events if event["event"] == "step"]
    state, losses = read_state(run), _losses(run)
    resumed = [event["step"] for event in events if event["event"] == "resumed"]
    return {
        "status": state.status,
        "message": f"{state.message} {state.hint}".strip(),
        "steps": state.step,
        "first_loss": losses[0] if losses else None,
        "last_loss": losses[-1] if losses else None,
        "tokens_per_second": median(speeds[len(speeds) // 2 :]) if speeds else None,
        "peak_memory_bytes": state.peak_memory_bytes,
        "resumed_at": resumed[-1] if resumed else None,
        "adapter": state.adapter,
    }


def problem_of(case: Case, row: dict, steps: int, stopped_at: int | None, run: Run) -> str:
    """What is wrong with a row; "" when nothing is."""
    if row["status"] != "done" or row["steps"] != steps:
        last = (run.log_tail(1) or "").strip()
        return f"{row['status']} at step {row['steps']}: {row['message']} {last}".strip()[:200]
    if (
        not all(math.isfinite(row[name]) for name in ("first_loss", "last_loss"))
        or row["last_loss"] >= row["first_loss"]
    ):
        return f"the loss went from {row['first_loss']} to {row['last_loss']}"
    if case.resumes and not 0 < (stopped_at or 0) < steps:
        return "it was over before it could be stopped: take more steps"
    if case.resumes and row["resumed_at"] != stopped_at:
        return f"stopped at step {stopped_at}, resumed at {row['resumed_at']}"
    if case.settings["precision"] == "fp16" and case.settings.get("parallel") not in ENGINES and not row["scaler"]:
        return "no gradient scaler in its checkpoint"
    return "" if row["adapter"] else "no adapter came out"


def table(rows: list[dict]) -> str:
    lines = ["| mode | steps | loss | tokens/s | peak memory | resumed at | took |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        if words := row.get("not_run") or row.get("problem"):
            kind = "not run" if row.get("not_run") else "**failed**"
            lines.append(f"| {row['name']} | {kind}: {words.replace('|', '/')} | | | | | |")
            continue
        resumed = row["resumed_at"] if row["resumed_at"] is not None else ""
        lines.append(
            f"| {row['name']} | {row['steps']} | {row['first_loss']:.3f} to {row['last_loss']:.3f} | "
            f"{row['tokens_per_second']:,.0f} | {row['peak_memory_bytes'] / 2**30:.2f} GiB | {resumed} | {row['seconds']} s |"
        )
    return "\n".join(lines) + "\n"


def write_report(rows: list[dict], layers: int, out: Path) -> None:
    """gpu_smoke.json and gpu_smoke.md in `out`; rows of an earlier call on the same card stay."""
    facts, file = {**machine(), "layers": layers}, out / "gpu_smoke.json"
    known = read_json(file, {})
    is_same = all(known.get(name) == facts[name] for name in ("gpu", "layers"))
    kept = {row["name"]: row for row in [*(known.get("rows", []) if is_same else []), *rows]}
    ordered = [kept[case.name] for case in CASES if case.name in kept]
    out.mkdir(parents=True, exist_ok=True)
    write_json(file, {**facts, "rows": ordered})
    where = facts["gpu"] or f"no GPU ({facts['cpu']})"
    versions = ", ".join(
        f"{name} {facts['versions'][name]}" for name in ("torch", "transformers", "accelerate", "peft")
    )
    head = f"# One GPU: does every mode train, stop and resume\n\nOn {where}; {versions}; {facts['date']}. TinyLlama's shape "
    head += f"with {layers} layers and random weights, {COMMON['per_device_train_batch_size']} rows of up to "
    head += f"{COMMON['max_length']} tokens a step. Repeat it: `python -m benchmarks.gpu_smoke`.\n\n"
    (out / "gpu_smoke.md").write_text(head + table(ordered))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose name holds this word")
    parser.add_argument("--layers", type=int, default=22)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results")
    options = parser.parse_args()
    cases, rows = [case for case in CASES if options.only in case.name], []
    if all(reason_against(case) for case in cases if case.settings["precision"] != "8bit"):
        print("No GPU was found: only what a CPU can do is tried.", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STUDIO_HOME"] = folder  # the runs are not the user's
        home().mkdir(parents=True, exist_ok=True)
        base = str(make_base(options.layers, "bfloat16", Path(folder) / "base"))
        data = write_data(Path(folder) / "rows.jsonl", ROWS)
        for case in cases:
            rows.append(measure(case, base, data, options.steps))
            print(json.dumps({name: rows[-1].get(name) for name in ("name", "not_run", "problem", *FACTS)}), flush=True)
    write_report(rows, options.layers, options.out)
    return int(any(row.get("problem") for row in rows))


if __name__ == "__main__":
    sys.exit(main())
