"""How a training is spread over processes: the modes, the one table of what works with what, and every refusal.

The table is what `TrainConfig.problems()` refuses by, what the page shows, and what docs/parallel.md prints (a test compares).
Light: no torch. How a mode becomes a file and a command is in `runs.machines.command`.
"""

import importlib.util
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from common.errors import UserError
from common.language import Sentence, _, n_
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
    "single": _("one process"),
    "ddp": _("DDP, one machine"),
    "machines": _("DDP, several machines"),
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
    why: Sentence


TABLE = {
    "single": {
        "none": Cell(True, _("the fastest where the model fits")),
        "8bit": Cell(True, _("half the memory for weights, slower")),
        "4bit": Cell(True, _("a quarter of the memory for weights, slower")),
    },
    "ddp": {
        "none": Cell(True, _("the first choice: each process has the whole model, only gradients are exchanged")),
        "8bit": Cell(True, _("each process has its own 8-bit copy")),
        "4bit": Cell(True, _("each process has its own 4-bit copy")),
    },
    "machines": {
        "none": Cell(True, _("as on one machine; only the adapter's gradients go over the network")),
        "8bit": Cell(True, _("as on one machine")),
        "4bit": Cell(True, _("as on one machine")),
    },
    "zero2": {
        "none": Cell(
            True, _("splits gradients and optimizer states; they are small with LoRA, so it gains little over DDP")
        ),
        "8bit": Cell(True, _("only the adapter's states are split")),
        "4bit": Cell(True, _("only the adapter's states are split")),
    },
    "zero3": {
        "none": Cell(True, _("splits the weights too: for a base model that is too large for one GPU")),
        "8bit": Cell(
            False,
            _(
                "bitsandbytes keeps the whole 8-bit weights beside those that ZeRO-3 splits, so no memory is saved; "
                "use zero2 or ddp with 8bit, or zero3 with 4bit or bf16"
            ),
        ),
        "4bit": Cell(True, _("splits 4-bit weights, stored in the dtype of the rest")),
    },
    "fsdp2": {
        "none": Cell(True, _("splits the weights too, with PyTorch alone")),
        "8bit": Cell(
            False,
            _(
                "an 8-bit weight carries its scales beside it, and FSDP2 cannot split that; "
                "use ddp with 8bit, or fsdp2 with 4bit or bf16"
            ),
        ),
        "4bit": Cell(True, _("QLoRA with split weights, stored in the dtype of the rest")),
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
            _(
                "This run trains on {rows} examples per step, which {processes} processes cannot share equally.",
                rows=rows,
                processes=processes,
            ),
            _("Use one of these numbers of processes: {numbers}.", numbers=fitting),
        )
    device = config.per_device_train_batch_size
    if gathered % processes:  # fewer rows on each device, gathered oftener where that leaves a rest
        device = max(each for each in range(1, device + 1) if rows % (processes * each) == 0)
    steps = rows // (processes * device)
    return replace(
        config, num_processes=processes, per_device_train_batch_size=device, gradient_accumulation_steps=steps
    )


def on_all_cards(config: "TrainConfig", gpus: tuple[Gpu, ...]) -> "TrainConfig":
    """Put `config` on as many of these cards as can share its rows equally, with as many rows a step: the losses stay the same.

    What names its own processes, machines or accelerate config stays as it is.
    """
    if config.num_processes > 1 or config.num_machines > 1 or config.accelerate_config or not gpus:
        return config
    rows = config.gradient_accumulation_steps * config.per_device_train_batch_size
    return with_processes(config, max(count for count in range(1, len(gpus) + 1) if rows % count == 0))


def rendezvous_of(config: "TrainConfig") -> str:
    """Return 'static' or 'c10d': restarts need c10d."""
    if config.rendezvous != "auto":
        return config.rendezvous
    return "c10d" if config.max_restarts else "static"


def parallel_problems(config: "TrainConfig") -> list[Problem]:
    """Say what is wrong with the processes of `config` on any machine."""
    cell, mode = TABLE[row_of(config)][kind_of(config.precision)], config.parallel
    found = []
    if not cell.works:
        words = _("{mode} does not work with 8bit: {why}.", mode=mode, why=cell.why)
        if config.precision == "auto":
            words = _("{mode} does not work with 8bit, which auto is on a GPU: {why}.", mode=mode, why=cell.why)
        found.append(Problem("parallel", words))
    if mode in ENGINES and not config.makes_adapter:
        words = _("The method {method} is not tested with {mode}; use ddp.", method=config.method, mode=mode)
        found.append(Problem("parallel", words))
    if mode in ENGINES and config.text_data:
        words = _(
            "Plain text cannot be trained on with {mode}; use a run of its own first and start from its adapter.",
            mode=mode,
        )
        found.append(Problem("parallel", words))
    if mode in SPLIT_WEIGHTS and config.use_dora:
        words = _("DoRA needs whole weights, and {mode} splits them; use ddp.", mode=mode)
        found.append(Problem("use_dora", words))
    if mode in ENGINES and config.lora_plus_ratio > 1:
        words = _("LoRA+ is not tested with {mode}; use ddp.", mode=mode)
        found.append(Problem("lora_plus_ratio", words))
    machines = config.num_machines
    if config.num_processes % max(1, machines):
        words = _(
            "{processes} processes cannot be shared equally by {machines} machines; enter the total over all machines.",
            processes=config.num_processes,
            machines=machines,
        )
        found.append(Problem("num_processes", words))
    if config.machine_rank >= machines:
        found.append(Problem("machine_rank", _("Use a number from 0 to {last}.", last=machines - 1)))
    if machines > 1 and not config.main_process_ip.strip():
        found.append(Problem("main_process_ip", _("Several machines need the address of machine 0.")))
    if any(letter.isspace() or letter in ",=/" for letter in config.main_process_ip.strip()):
        found.append(Problem("main_process_ip", _("Enter an IP address or a host name.")))
    if config.max_restarts and config.rendezvous == "static":
        found.append(Problem("max_restarts", _("Restarts need the rendezvous c10d.")))
    if config.max_restarts and mode_of(config) == "single":
        found.append(Problem("max_restarts", _("Restarts need several processes; with one, press Resume.")))
    return found


def check_machine(config: "TrainConfig", gpus: tuple[Gpu, ...], cores: int) -> None:
    """Raise UserError when this machine cannot do what `config` asks of it."""
    wanted, most = local_processes(config), len(gpus) or cores
    if config.parallel in ENGINES and not gpus:
        raise UserError(_("{mode} needs GPUs, and this machine has none.", mode=config.parallel), _("Use auto or ddp."))
    if wanted > most:
        have = (
            n_("{count} GPU", "{count} GPUs", most)
            if gpus
            else n_("{count} CPU core and no GPU", "{count} CPU cores and no GPU", most)
        )
        raise UserError(
            _("{count} processes do not fit on this machine: it has {have}.", count=wanted, have=have),
            _("Set GPUs (processes) to at most {limit} per machine.", limit=most),
        )
    check_engine(config)


def check_engine(config: "TrainConfig") -> None:
    """Raise UserError when this Python lacks what the mode is made of."""
    if config.parallel in NEEDS_DEEPSPEED and not importlib.util.find_spec("deepspeed"):
        raise UserError(_("{mode} needs DeepSpeed, which is not installed.", mode=config.parallel), INSTALL_DEEPSPEED)
