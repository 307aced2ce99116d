"""What benchmarks.parallel measured as a table, a picture and the words beside them: which rows ran, and which say little."""

import argparse
import platform
import time

from benchmarks.parallel_picture import picture
from models.hardware import describe_hardware, processor_name

MOST_BUSY = 20.0  # per cent that others may take


def busy_words(rows: list[dict]) -> str:
    """Which rows say little, because they did not have the machine for themselves."""
    shared = [row for row in rows if row.get("busy_before", 0.0) > MOST_BUSY]
    if not shared:
        return ""
    shown = ", ".join(f"{row['name']} ({row['busy_before']:.0f} %)" for row in shared)
    return f"**Other programs were running** before these rows, whose numbers therefore say little: {shown}.\n\n"


def compare(found: list[dict]) -> list[dict]:
    """Each row with its speed-up over the first row that ran in its precision, and the efficiency a device."""
    first: dict[str, dict] = {}
    for row in found:
        if row.get("not_run"):
            continue
        base = first.setdefault(row["precision"], row)
        row["speed_up"] = row["tokens_per_second"] / base["tokens_per_second"]
        row["efficiency"] = row["speed_up"] / row["share"] * base["share"]
    return found


def table(rows: list[dict]) -> str:
    lines = ["| mode and precision | tokens/s | speed-up | efficiency | peak memory a device | mean load a device |"]
    lines.append("|---|---|---|---|---|---|")
    for row in rows:
        if row.get("not_run"):
            lines.append(f"| {row['name']} | not run: {row['not_run']} | | | | |")
            continue
        memory = ", ".join(f"{size / 2**30:.2f}" for size in row["peak_memory_bytes"])
        lines.append(
            f"| {row['name']} | {row['tokens_per_second']:,.0f} | {row['speed_up']:.2f} | {row['efficiency']:.0%} | "
            f"{memory} GiB | {_mean_load(row['load'])} |"
        )
    return "\n".join(lines) + "\n"


def _mean_load(load: list) -> str:
    """Of the second half of the time, in which the steps are: 'GPU 0, GPU 1, ...'."""
    later = [loads for _, loads in load[len(load) // 2 :]]
    if not later:
        return "not sampled"
    return ", ".join(f"{sum(values) / len(values):.0f} %" for values in zip(*later, strict=True))


REPORT = """# Parallel: what was measured

On {hardware} ({processor}), Python {python}, torch {torch}, transformers {transformers}; {date}. TinyLlama's shape with
{layers} layers and random weights, LoRA r=16 on all linear layers, {batch} rows of {length} tokens on each device, {steps} steps,
the first three left out. The same loop of plain `transformers.Trainer` in every row: SFTTrainer refuses nn.DataParallel, which is
unquantised here, since transformers does not wrap a quantised model. Speed-up is over the first row of the same precision, with
the same rows a device (more devices compute more rows a step); efficiency is the speed-up for each GPU, on a CPU for each
core.

{table}
![speed-up and load]({picture})

{words}Repeat it on your cards: `python -m benchmarks.parallel --layers 22`.
"""


CPU_WORDS = """No GPU was found: **nothing here says how DP compares with DDP on GPUs.** The rows show that the modes that a CPU
has work, and that two processes with a core each compute about as much as one process with both cores: a CPU gains nothing.

"""


def write_report(rows: list[dict], gpus: int, options: argparse.Namespace) -> None:
    """parallel.md and parallel.svg in the folder `options.out`."""
    import torch
    import transformers

    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "parallel.svg").write_text(picture(rows, "Speed-up over one device"))
    facts = {name: getattr(options, name) for name in ("layers", "batch", "length", "steps")}
    facts |= {"hardware": describe_hardware(), "processor": processor_name(), "python": platform.python_version()}
    facts |= {"torch": torch.__version__, "transformers": transformers.__version__, "date": time.strftime("%Y-%m-%d")}
    words = busy_words(rows) + ("" if gpus else CPU_WORDS)
    text = REPORT.format(table=table(rows), picture="parallel.svg", words=words, **facts)
    (options.out / "parallel.md").write_text(text)
