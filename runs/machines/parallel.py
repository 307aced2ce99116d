"""How a training is spread over processes: the modes, the one table of what works with what, and every refusal.

The table is what `TrainConfig.problems()` refuses by, what the page shows, and what docs/parallel.md prints (a test compares).
Light: no torch. How a mode becomes a file and a command is in `runs.machines.command`.
"""

import importlib.util
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from common.errors import UserError
from models.hardware import Gpu
from runs.fields import Problem

if TYPE_CHECKING:  # it asks this module for its problems
    from runs.config import TrainConfig

MODES = ("auto", "ddp", "zero2", "zero3", "fsdp2")
ENGINES = ("zero2", "zero3", "fsdp2")  # need GPUs, and split what DDP copies
SPLIT_WEIGHTS = ("zero3", "fsdp2")
NEEDS_DEEPSPEED = ("zero2", "zero3")
RENDEZVOUS = ("auto", "static", "c10d")
KINDS = ("none", "8bit", "4bit")
NAMES = {
    "single": "one process",
    "ddp": "DDP, one machine",
    "machines": "DDP, several machines",
    "zero2": "DeepSpeed ZeRO-2",
    "zero3": "DeepSpeed ZeRO-3",
    "fsdp2": "FSDP2",
}
MAX_NAMED = 64  # processes that a refusal counts up to
INSTALL_DEEPSPEED = "pip install deepspeed==0.19.8"


@dataclass(frozen=True)
class Cell:
    """One cell of the table: whether it works, and what it is good for, or why not and the nearest that works."""

    works: bool
    why: str


TABLE = {
    "single": {
        "none": Cell(True, "the fastest where the model fits"),
        "8bit": Cell(True, "half the weights' memory, slower"),
        "4bit": Cell(True, "a quarter of the weights' memory, slower"),
    },
    "ddp": {
        "none": Cell(True, "the first choice: each process holds the whole model once, only gradients travel"),
        "8bit": Cell(True, "each process holds its own 8-bit copy"),
        "4bit": Cell(True, "each process holds its own 4-bit copy"),
    },
    "machines": {
        "none": Cell(True, "as on one machine; the network carries the adapter's gradients only"),
        "8bit": Cell(True, "as on one machine"),
        "4bit": Cell(True, "as on one machine"),
    },
    "zero2": {
        "none": Cell(True, "splits gradients and optimiser: with LoRA they are small, so little is won over DDP"),
        "8bit": Cell(True, "only the adapter's state is split"),
        "4bit": Cell(True, "only the adapter's state is split"),
    },
    "zero3": {
        "none": Cell(True, "splits the weights too: for a base that is too large for one card"),
        "8bit": Cell(
            False,
            "bitsandbytes keeps the whole 8-bit weights beside those that ZeRO-3 splits, so no memory is saved; "
            "take zero2 or ddp with 8bit, or zero3 with 4bit or bf16",
        ),
        "4bit": Cell(True, "splits 4-bit weights, stored in the dtype of the rest"),
    },
    "fsdp2": {
        "none": Cell(True, "splits the weights too, with torch alone"),
        "8bit": Cell(
            False,
            "an 8-bit weight carries its scales beside it, and FSDP2 cannot split that; "
            "take ddp with 8bit, or fsdp2 with 4bit or bf16",
        ),
        "4bit": Cell(True, "QLoRA with split weights, stored in the dtype of the rest"),
    },
}


def mode_of(config: "TrainConfig") -> str:
    """Return 'single', 'ddp', 'zero2', 'zero3' or 'fsdp2': `auto` is DDP as soon as there are two processes.

    An engine that was asked for is taken with one process too.
    """
    if config.parallel in ENGINES:
        return config.parallel
    return "ddp" if config.num_processes > 1 or config.num_machines > 1 else "single"


def row_of(config: "TrainConfig") -> str:
    """Return the row of the table for `config`."""
    mode = mode_of(config)
    return "machines" if mode == "ddp" and config.num_machines > 1 else mode


def kind_of(precision: str) -> str:
    """Return the column of the table for a precision; for 'auto' that of a GPU, where it is 8bit."""
    return "8bit" if precision == "auto" else precision if precision in KINDS else "none"


def local_processes(config: "TrainConfig") -> int:
    """Count the processes on this machine: `num_processes` is the total over all machines."""
    return max(1, config.num_processes // max(1, config.num_machines))


def with_processes(config: "TrainConfig", processes: int) -> "TrainConfig":
    """Put `config` on another number of processes with as many rows a step, so that a resume goes on where it was.

    Steps are counted, and rows are skipped, by whole effective batches. Raises UserError when they cannot be shared equally.
    """
    gathered = config.gradient_accumulation_steps * config.num_processes
    rows = gathered * config.per_device_train_batch_size
    if rows % processes:
        fitting = ", ".join(str(number) for number in range(1, rows + 1) if rows % number == 0 and number <= MAX_NAMED)
        raise UserError(
            f"This run learns from {rows} rows a step, which {processes} processes cannot share equally.",
            f"Go on with {fitting} of them.",
        )
    device = config.per_device_train_batch_size
    if gathered % processes:  # fewer rows on each device, gathered oftener where that leaves a rest
        device = max(each for each in range(1, device + 1) if rows % (processes * each) == 0)
    steps = rows // (processes * device)
    return replace(
        config, num_processes=processes, per_device_train_batch_size=device, gradient_accumulation_steps=steps
    )


def rendezvous_of(config: "TrainConfig") -> str:
    """Return 'static' or 'c10d': restarts need c10d."""
    if config.rendezvous != "auto":
        return config.rendezvous
    return "c10d" if config.max_restarts else "static"


def parallel_problems(config: "TrainConfig") -> list[Problem]:
    """Say what is wrong with the processes of `config` on any machine."""
    cell = TABLE[row_of(config)][kind_of(config.precision)]
    found = []
    if not cell.works:
        is_auto = " (auto is 8bit on a GPU)" if config.precision == "auto" else ""
        found.append(Problem("parallel", f"{config.parallel} does not go with 8bit{is_auto}: {cell.why}."))
    if config.parallel in ENGINES and config.text_data:
        words = "the text of stage 1 needs whole weights between the stages; train it in a run of its own first"
        found.append(Problem("parallel", f"{config.parallel}: {words}, then continue from its adapter."))
    if config.parallel in SPLIT_WEIGHTS and config.use_dora:
        found.append(Problem("use_dora", f"DoRA reads whole weights, and {config.parallel} splits them; take ddp."))
    if config.parallel in ENGINES and config.lora_plus_ratio > 1:
        words = f"LoRA+ trains A and B in groups of their own, which nobody has tried with {config.parallel}; take ddp."
        found.append(Problem("lora_plus_ratio", words))
    if config.num_processes % max(1, config.num_machines):
        words = f"{config.num_processes} processes cannot be shared equally by {config.num_machines} machines"
        found.append(Problem("num_processes", f"{words}: it is the total over all of them."))
    if config.machine_rank >= config.num_machines:
        ranks = f"with num_machines {config.num_machines} it goes from 0 to {config.num_machines - 1}"
        found.append(Problem("machine_rank", f"{config.machine_rank} is too high; {ranks}."))
    if config.num_machines > 1 and not config.main_process_ip.strip():
        found.append(Problem("main_process_ip", "several machines need the address of machine 0."))
    if any(letter.isspace() or letter in ",=/" for letter in config.main_process_ip.strip()):
        found.append(Problem("main_process_ip", "is no address: give an IP or a host name."))
    if config.max_restarts and config.rendezvous == "static":
        found.append(Problem("max_restarts", "restarts need rendezvous c10d: processes cannot meet again by static."))
    if config.max_restarts and mode_of(config) == "single":
        found.append(Problem("max_restarts", "restarts need several processes; Resume goes on with one."))
    return found


def check_machine(config: "TrainConfig", gpus: tuple[Gpu, ...], cores: int) -> None:
    """Raise UserError when this machine cannot do what `config` asks of it."""
    wanted, most = local_processes(config), len(gpus) or cores
    if config.parallel in ENGINES and not gpus:
        raise UserError(f"parallel: {config.parallel} needs GPUs, and this machine has none.", "Take auto or ddp.")
    if wanted > most:
        have = f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''}" if gpus else f"{most} CPU cores and no GPU"
        here = f"{wanted} of {config.num_processes}" if config.num_machines > 1 else f"{wanted}"
        raise UserError(f"num_processes: {here} are asked for; this machine has {have}.", f"Give at most {most}.")
    check_engine(config)


def check_engine(config: "TrainConfig") -> None:
    """Raise UserError when this Python lacks what the mode is made of."""
    if config.parallel in NEEDS_DEEPSPEED and not importlib.util.find_spec("deepspeed"):
        raise UserError(f"parallel: {config.parallel} needs DeepSpeed, which is not installed.", INSTALL_DEEPSPEED)


def table_markdown() -> str:
    """Write the table for the docs."""
    lines = ["| | none (bf16, fp16, fp32) | 8bit | 4bit |", "|---|---|---|---|"]
    for mode, row in TABLE.items():
        cells = [f"{'works' if row[kind].works else '**refused**'}: {row[kind].why}" for kind in KINDS]
        lines.append(f"| {NAMES[mode]} | {' | '.join(cells)} |")
    return "\n".join(lines)
