"""How a training would be started, before it is: the hardware found, the processes, the batch, the command and its YAML.

For the page and for `python -m trainer plan`; says nothing that the launcher would not do. Light: no torch.
"""

import shlex
from dataclasses import dataclass

from models.hardware import Hardware
from models.precision import resolve_precision
from trainer.config import TrainConfig
from trainer.machines.launch_config import accelerate_yaml, launch_command, launch_variables, mixed_precision
from trainer.machines.parallel import NAMES, TABLE, kind_of, local_processes, mode_of, row_of
from trainer.machines.user_config import FILE as USER_FILE


@dataclass(frozen=True)
class LaunchPlan:
    """`rows` are (what, words) for a person; `yaml` is "" for a file of the user's own, which is used as it is."""

    rows: list[tuple[str, str]]
    command: str
    yaml: str


def launch_plan(config: TrainConfig, hardware: Hardware, bytes_per_process: int | None = None) -> LaunchPlan:
    """The start of `config` (with the numbers of its own accelerate config in it) on this machine."""
    gpus = hardware.gpus
    rows = [("Hardware", hardware_words(hardware)), ("Processes", _processes_words(config, hardware))]
    rows += [("Precision", _precision_words(config, hardware)), ("Batch", batch_words(config))]
    if bytes_per_process is not None:
        rows.append(("Memory", f"about {bytes_per_process / 2**30:.2f} GiB {memory_place(config, hardware)}"))
    if config.num_machines > 1:
        rows.append(("Machines", _machines_words(config)))
    if config.max_restarts:
        rows.append(("If one dies", f"all restart from the last checkpoint, {config.max_restarts} times at most"))
    file = USER_FILE if config.accelerate_config else "accelerate.yaml"
    words = launch_command(config, file, gpus, "RUN")
    command = shlex.join(["accelerate", "launch", *words[3:]])
    variables = "".join(f"{name}={shlex.quote(value)} " for name, value in launch_variables(config, gpus).items())
    return LaunchPlan(rows, variables + command, "" if config.accelerate_config else accelerate_yaml(config, gpus))


def hardware_words(hardware: Hardware) -> str:
    """'2 x NVIDIA L4 (22 GiB), 12 CPU cores': what was found."""
    counts: dict[str, int] = {}
    for gpu in hardware.gpus:
        words = f"{gpu.name} ({gpu.memory_bytes / 2**30:.0f} GiB)"
        counts[words] = counts.get(words, 0) + 1
    cards = [f"{count} x {words}" if count > 1 else words for words, count in counts.items()]
    return f"{', '.join(cards) or 'no GPU'}, {hardware.cpu_count} CPU core{'s' if hardware.cpu_count > 1 else ''}"


def memory_place(config: TrainConfig, hardware: Hardware) -> str:
    """Whose memory an estimate speaks of."""
    if hardware.has_gpu:
        return "on each card" if local_processes(config) > 1 else "on the card"
    return "of RAM for each process" if local_processes(config) > 1 else "of RAM"


def _processes_words(config: TrainConfig, hardware: Hardware) -> str:
    name = NAMES[row_of(config)]
    if mode_of(config) == "single":
        return f"{name} on {'one GPU' if hardware.has_gpu else 'the CPU'}"
    why = TABLE[row_of(config)][kind_of(config.precision, hardware.has_gpu)].why
    if not hardware.has_gpu:
        cores = max(1, hardware.cpu_count // local_processes(config))
        each = f"each with {cores} CPU core{'s' if cores > 1 else ''}"
        why = why if config.num_machines > 1 else "to try out what several GPUs would do; it is not faster"
        return f"{config.num_processes}, {each}: {name} ({why})"
    idle = len(hardware.gpus) - local_processes(config)
    unused = f"; {idle} of the GPUs stay{'s' if idle == 1 else ''} unused" if idle > 0 else ""
    return f"{config.num_processes}, one on each GPU: {name} ({why}){unused}"


def _precision_words(config: TrainConfig, hardware: Hardware) -> str:
    resolved, mixed = (
        resolve_precision(config.precision, hardware.has_gpu),
        mixed_precision(config.precision, hardware.gpus),
    )
    return f"base in {resolved}, computed in {'fp32' if mixed == 'no' else mixed}, adapters in fp32"


def batch_words(config: TrainConfig) -> str:
    """'4 rows a device x 2 gathered x 4 processes = 32 rows a step'."""
    device, gathered = config.per_device_train_batch_size, config.gradient_accumulation_steps
    parts = [f"{device} row{'s' if device > 1 else ''} a device"]
    parts += [f"{gathered} gathered"] if gathered > 1 else []
    parts += [f"{config.num_processes} processes"] if config.num_processes > 1 else []
    rows = device * gathered * config.num_processes
    return f"{' x '.join(parts)} = {rows} row{'s' if rows > 1 else ''} a step (the effective batch)"


def _machines_words(config: TrainConfig) -> str:
    others = f"the same on each of the {config.num_machines}, with machine_rank 0 to {config.num_machines - 1}"
    where = f"{config.main_process_ip}:{config.main_process_port}"
    return f"this is machine {config.machine_rank}; start {others}; they meet at {where} within {config.ddp_timeout} s"
