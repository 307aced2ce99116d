"""From a config to the YAML, the flags and the variables of `accelerate launch`, and to a description of the start.

The files in `runs/machines/accelerate/` are the templates: the numbers of the config take the place of theirs, the comments stay.
What accelerate takes only as a flag (rendezvous, restarts) is a flag. Light: no torch.

    gpus = find_gpus()                              # once for a start
    text = accelerate_yaml(config, gpus)
    line = launch_command(config, file, gpus, run.folder)
    variables = launch_variables(config, gpus)
    plan = launch_plan(config, find_hardware())     # all of it, before the start
"""

import os
import re
import shlex
import socket
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from common.language import Sentence, _, joined, n_
from models.hardware import Gpu, Hardware
from runs.config import TrainConfig
from runs.machines.parallel import ENGINES, NAMES, TABLE, kind_of, local_processes, mode_of, rendezvous_of, row_of
from runs.machines.user_config import FILE as USER_FILE

CONFIGS = Path(__file__).parent / "accelerate"
ON_STDIN = "-"  # in the place of the run's folder: the process has its imports done and waits for its name
NATIVE_BF16 = 8.0  # compute capability from which a card has bf16; torch counts emulation on older ones too


@dataclass(frozen=True)
class LaunchPlan:
    """`rows` are (what, words) for a person; `yaml` is "" for a file of the user's own, which is used as it is."""

    rows: list[tuple[Sentence, Sentence]]
    command: str
    yaml: str


def accelerate_file_of(config: TrainConfig, has_gpu: bool) -> Path:
    """Return the file in `runs/machines/accelerate/` for this mode on this kind of machine."""
    mode, kind = mode_of(config), "gpu" if has_gpu else "cpu"
    if mode in ENGINES:
        return CONFIGS / f"{mode}.yaml"
    if config.num_machines > 1:
        return CONFIGS / ("multi_node.yaml" if rendezvous_of(config) == "static" else "multi_node_c10d.yaml")
    return CONFIGS / (f"multi_{kind}.yaml" if mode == "ddp" else f"single_{kind}.yaml")


def mixed_precision(precision: str, gpus: tuple[Gpu, ...]) -> str:
    """Return accelerate's name for the dtype that the training process computes in; two dtypes would be mixed silently."""
    if not gpus or precision == "fp32":
        return "no"
    old = any(gpu.compute_capability is not None and gpu.compute_capability < NATIVE_BF16 for gpu in gpus)
    return "fp16" if old or precision == "fp16" else "bf16"


def accelerate_yaml(config: TrainConfig, gpus: tuple[Gpu, ...], card: str = "") -> str:
    """Write the YAML of `config` on a machine with these cards: the template with the config's numbers in it.

    `card` is what one process takes: the first that CUDA_VISIBLE_DEVICES leaves here, unless given.
    """
    mode = mode_of(config)
    values: dict[str, object] = {"mixed_precision": mixed_precision(config.precision, gpus)}
    if mode == "single" and gpus:  # it takes the place of CUDA_VISIBLE_DEVICES, and other cards may be somebody else's
        values["gpu_ids"] = card or f'"{card_name(0)}"'
    if mode != "single":
        values |= {"num_machines": config.num_machines, "num_processes": config.num_processes, "use_cpu": not gpus}
    if config.num_machines > 1:
        values |= {
            "machine_rank": config.machine_rank,
            "main_process_ip": config.main_process_ip.strip(),
            "main_process_port": config.main_process_port,
        }
    if mode in ("zero2", "zero3"):
        values |= {"gradient_accumulation_steps": config.gradient_accumulation_steps}
        values |= {"gradient_clipping": config.max_grad_norm}
    text = accelerate_file_of(config, bool(gpus)).read_text(encoding="utf-8")
    for name, value in values.items():  # a key that is not in the template is added at its end
        written = str(value).lower() if isinstance(value, bool) else f'"{value}"' if value == "no" else str(value)
        text, found = re.subn(rf"^( *{name}): .*$", lambda match, w=written: f"{match[1]}: {w}", text, flags=re.M)
        text += "" if found else f"{name}: {written}\n"
    return text


def card_name(place: int) -> str:
    """Return how CUDA is told of the card at `place`, from 0, among those that are left to this program."""
    names = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    return names[place] if any(names) else str(place)


def launch_command(config: TrainConfig, file: Path | str, gpus: tuple[Gpu, ...], run: Path | str) -> list[str]:
    """Return the command that trains: the same on every machine, and again after it ended, since it resumes by itself.

    Meeting is bounded: a machine that never comes ends the wait of the others.
    """
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
    is_single, is_static = mode_of(config) == "single", rendezvous_of(config) == "static"
    if not is_single and not is_static:
        settings = f"join_timeout={config.ddp_timeout},read_timeout={config.ddp_timeout}"
        if config.num_machines > 1:  # torch would guess the host from names, which private networks do not have
            settings += f",is_host={int(config.machine_rank == 0)}"
        launch += ["--rdzv_backend", "c10d", "--rdzv_conf", settings, "--max_restarts", str(config.max_restarts)]
    elif not is_single and not config.accelerate_config:
        alone = ["--main_process_port", "0"]  # any free one
        launch += ["--rdzv_conf", f"timeout={config.ddp_timeout}"] if config.num_machines > 1 else alone
    if not gpus:
        threads = max(1, (os.cpu_count() or 1) // local_processes(config))
        launch += ["--num_cpu_threads_per_process", str(threads)]
    return [*launch, "-m", "trainer.train", "--run", str(run)]


def launch_variables(config: TrainConfig, gpus: tuple[Gpu, ...]) -> dict[str, str]:
    """Return the environment variables that the command needs beside those that every training has."""
    found, is_single, is_c10d = {}, mode_of(config) == "single", rendezvous_of(config) == "c10d"
    address, port = config.main_process_ip.strip(), config.main_process_port
    if config.accelerate_config and is_single and len(gpus) > 1:
        # else the Trainer takes DataParallel; the file's own gpu_ids win over this
        found["CUDA_VISIBLE_DEVICES"] = card_name(0)
    if not is_single and not gpus:
        found["ACCELERATE_USE_CPU"] = "true"  # with it every config is DDP over gloo
    if is_c10d:
        # else restarted processes read the addresses of those that died from the shared store (pytorch issue 135712)
        found["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        # on one machine any free port: the default is one port for all runs
        found["PET_RDZV_ENDPOINT"] = "localhost:0" if config.num_machines == 1 else f"{address}:{port}"
    if config.num_machines > 1 and (own := _own_address(address, port)):
        if is_c10d:  # what the others reach this machine by; its name may mean nothing to them
            found["PET_LOCAL_ADDR"] = own
        interface = _interface_of(own)
        if interface and "GLOO_SOCKET_IFNAME" not in os.environ:  # gloo takes the one of the machine's name: loopback
            found["GLOO_SOCKET_IFNAME"] = interface
    return found


def _own_address(other: str, port: int) -> str:
    """Return the address by which this machine reaches `other`; "" when there is no way to it. Sends nothing."""
    try:
        family, kind, _, _, target = socket.getaddrinfo(other, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)
            return probe.getsockname()[0]
    except OSError:
        return ""


def _interface_of(address: str) -> str:
    """Return the name of the network interface that has `address`; "" when none has."""
    import psutil

    interfaces = psutil.net_if_addrs().items()
    return next((name for name, known in interfaces if address in [each.address for each in known]), "")


def launch_plan(config: TrainConfig, hardware: Hardware, bytes_per_process: int | None = None) -> LaunchPlan:
    """Describe how `config` (with the numbers of its own accelerate config in it) would be started on this machine."""
    gpus = hardware.gpus
    resolved, mixed = config.precision_on(hardware.has_gpu), mixed_precision(config.precision, gpus)
    computed = "fp32" if mixed == "no" else mixed
    precision = _("base model in {stored}, computed in {computed}, adapter in fp32", stored=resolved, computed=computed)
    if not config.makes_adapter:
        precision = _("weights in fp32, computed in {computed}", computed=computed)
    rows = [(_("Hardware"), _hardware_words(hardware)), (_("Processes"), _processes_words(config, resolved, hardware))]
    rows += [(_("Precision"), precision), (_("Batch"), _batch_words(config))]
    if bytes_per_process is not None:
        size, place = bytes_per_process / 2**30, memory_place(config, hardware)
        rows.append((_("Memory"), _("about {size:.2f} GiB {place}", size=size, place=place)))
    if config.num_machines > 1:
        words = _(
            "this is machine {number} of 0 to {last}; start the same on each, with its own number; "
            "they connect at {address}:{port} within {seconds} s",
            number=config.machine_rank,
            last=config.num_machines - 1,
            address=config.main_process_ip,
            port=config.main_process_port,
            seconds=config.ddp_timeout,
        )
        rows.append((_("Machines"), words))
    if config.max_restarts:
        words = n_(
            "all restart from the last checkpoint, at most {count} time",
            "all restart from the last checkpoint, at most {count} times",
            config.max_restarts,
        )
        rows.append((_("If a process fails"), words))
    file = USER_FILE if config.accelerate_config else "accelerate.yaml"
    command = shlex.join(["accelerate", "launch", *launch_command(config, file, gpus, "RUN")[3:]])
    variables = "".join(f"{name}={shlex.quote(value)} " for name, value in launch_variables(config, gpus).items())
    return LaunchPlan(rows, variables + command, "" if config.accelerate_config else accelerate_yaml(config, gpus))


def _hardware_words(hardware: Hardware) -> Sentence:
    """Return the hardware in words: '2 x NVIDIA L4 (22 GiB), 12 CPU cores'."""
    counts = Counter(f"{gpu.name} ({gpu.memory_bytes / 2**30:.0f} GiB)" for gpu in hardware.gpus)
    cards = [f"{count} x {words}" if count > 1 else words for words, count in counts.items()]
    return joined([*(cards or [_("no GPU")]), _cores(hardware.cpu_count)], ", ")


def _cores(count: int) -> Sentence:
    return n_("{count} CPU core", "{count} CPU cores", count)


def memory_place(config: TrainConfig, hardware: Hardware) -> Sentence:
    """Return the words for the memory that an estimate is about."""
    if hardware.has_gpu:
        return _("on each GPU") if local_processes(config) > 1 else _("on the GPU")
    return _("of RAM for each process") if local_processes(config) > 1 else _("of RAM")


def _processes_words(config: TrainConfig, precision: str, hardware: Hardware) -> Sentence:
    name, count = NAMES[row_of(config)], config.num_processes
    if mode_of(config) == "single":
        return _("one process on the GPU") if hardware.has_gpu else _("one process on the CPU")
    why = TABLE[row_of(config)][kind_of(precision)].why
    if not hardware.has_gpu:
        cores = _cores(max(1, hardware.cpu_count // local_processes(config)))
        why = why if config.num_machines > 1 else _("a test of what several GPUs would do; it is not faster")
        return _("{count}, each with {cores}: {mode} ({why})", count=count, cores=cores, mode=name, why=why)
    words = _("{count}, one on each GPU: {mode} ({why})", count=count, mode=name, why=why)
    idle = len(hardware.gpus) - local_processes(config)
    unused = n_("{count} GPU is not used", "{count} GPUs are not used", idle) if idle > 0 else ""
    return joined([words, unused], "; ")


def _batch_words(config: TrainConfig) -> Sentence:
    """Return '4 examples per device x 2 batches x 4 processes = 32 examples per step'."""
    device, gathered = config.per_device_train_batch_size, config.gradient_accumulation_steps
    parts = [n_("{count} example per device", "{count} examples per device", device)]
    parts += [n_("{count} batch", "{count} batches", gathered)] if gathered > 1 else []
    parts += [n_("{count} process", "{count} processes", config.num_processes)] if config.num_processes > 1 else []
    total = device * gathered * config.num_processes
    step = n_("{count} example per step", "{count} examples per step", total)
    return _("{product} = {step}", product=joined(parts, " x "), step=step)
