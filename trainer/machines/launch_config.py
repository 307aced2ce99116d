"""From a config to what `accelerate launch` gets: its YAML, its flags, and the variables beside them.

The files in `trainer/accelerate/` are the templates: the numbers of the config take the place of theirs, the comments stay.
What accelerate takes only as a flag (rendezvous, restarts) is a flag. Light: no torch.

    text = accelerate_yaml(config, find_gpus())
    line = launch_command(config, file, find_gpus())
    variables = launch_variables(config, find_gpus())
"""

import os
import re
import socket
import sys
from pathlib import Path

from models.hardware import Gpu
from models.precision import resolve_precision
from trainer.config import TrainConfig
from trainer.machines.parallel import ENGINES, local_processes, mode_of, rendezvous_of

CONFIGS = Path(__file__).parents[1] / "accelerate"
NATIVE_BF16 = 8.0  # compute capability from which a card has bf16; torch counts emulation on older ones too


def template_of(config: TrainConfig, has_gpu: bool) -> Path:
    """The file in `trainer/accelerate/` for this mode on this kind of machine."""
    mode, kind = mode_of(config), "gpu" if has_gpu else "cpu"
    if mode in ENGINES:
        return CONFIGS / f"{mode}.yaml"
    if config.num_machines > 1:
        return CONFIGS / ("multi_node.yaml" if rendezvous_of(config) == "static" else "multi_node_c10d.yaml")
    return CONFIGS / (f"multi_{kind}.yaml" if mode == "ddp" else f"single_{kind}.yaml")


def mixed_precision(precision: str, gpus: tuple[Gpu, ...]) -> str:
    """What the training process will compute in: said to accelerate too, since two answers would be mixed silently."""
    if not gpus or resolve_precision(precision, True) == "fp32":
        return "no"
    old = any(gpu.compute_capability is not None and gpu.compute_capability < NATIVE_BF16 for gpu in gpus)
    return "fp16" if old or precision == "fp16" else "bf16"


def accelerate_yaml(config: TrainConfig, gpus: tuple[Gpu, ...], card: str = "") -> str:
    """The YAML of `config` on a machine with these cards: the template with the config's numbers in it.

    `card` is what one process takes: the first that CUDA_VISIBLE_DEVICES leaves here, unless given.
    """
    mode = mode_of(config)
    values: dict[str, object] = {"mixed_precision": mixed_precision(config.precision, gpus)}
    if mode == "single" and gpus:  # it takes the place of CUDA_VISIBLE_DEVICES, and other cards may be somebody else's
        values["gpu_ids"] = card or f'"{_first_card()}"'
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
    return _filled(template_of(config, bool(gpus)).read_text(encoding="utf-8"), values)


def _first_card() -> str:
    return os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"


def _filled(text: str, values: dict[str, object]) -> str:
    """`text` with these values; a key that is not in it is added at its end."""
    for name, value in values.items():
        written = str(value).lower() if isinstance(value, bool) else f'"{value}"' if value == "no" else str(value)
        text, found = re.subn(rf"^( *{name}): .*$", lambda match, w=written: f"{match[1]}: {w}", text, flags=re.M)
        text += "" if found else f"{name}: {written}\n"
    return text


def launch_command(config: TrainConfig, file: Path | str, gpus: tuple[Gpu, ...], run: Path | str) -> list[str]:
    """The command that trains: the same on every machine, and again after it ended, since it resumes by itself."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
    if not config.accelerate_config or rendezvous_of(config) == "c10d":
        launch += _rendezvous_flags(config)
    is_alone = config.num_machines == 1 and mode_of(config) != "single"
    if is_alone and not config.accelerate_config and rendezvous_of(config) == "static":
        launch += ["--main_process_port", "0"]  # any free one
    if not gpus:
        threads = max(1, (os.cpu_count() or 1) // local_processes(config))
        launch += ["--num_cpu_threads_per_process", str(threads)]
    return [*launch, "-m", "trainer.train", "--run", str(run)]


def _rendezvous_flags(config: TrainConfig) -> list[str]:
    """accelerate takes these as flags only. Meeting is bounded: a machine that never comes ends the wait of the others."""
    if mode_of(config) == "single":
        return []
    if rendezvous_of(config) == "static":
        return ["--rdzv_conf", f"timeout={config.ddp_timeout}"] if config.num_machines > 1 else []
    settings = f"join_timeout={config.ddp_timeout},read_timeout={config.ddp_timeout}"
    if config.num_machines > 1:  # torch would guess the host from names, which private networks do not have
        settings += f",is_host={int(config.machine_rank == 0)}"
    return ["--rdzv_backend", "c10d", "--rdzv_conf", settings, "--max_restarts", str(config.max_restarts)]


def launch_variables(config: TrainConfig, gpus: tuple[Gpu, ...]) -> dict[str, str]:
    """Environment variables that the command needs beside those that every training has."""
    found = {}
    if config.accelerate_config and mode_of(config) == "single" and len(gpus) > 1:
        # else the Trainer takes DataParallel; the file's own gpu_ids win over this
        found["CUDA_VISIBLE_DEVICES"] = _first_card()
    if mode_of(config) != "single" and not gpus:
        found["ACCELERATE_USE_CPU"] = "true"  # with it every config is DDP over gloo
    if rendezvous_of(config) == "c10d":
        # else restarted processes read the addresses of those that died from the shared store (pytorch issue 135712)
        found["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        one_machine = config.num_machines == 1  # any free port: the default is one port for all runs
        place = "localhost:0" if one_machine else f"{config.main_process_ip.strip()}:{config.main_process_port}"
        found["PET_RDZV_ENDPOINT"] = place
    if config.num_machines > 1:
        address = own_address(config.main_process_ip.strip(), config.main_process_port)
        interface = interface_of(address)
        if address and rendezvous_of(config) == "c10d":
            found["PET_LOCAL_ADDR"] = (
                address  # what the others reach this machine by; its name may mean nothing to them
            )
        if interface and "GLOO_SOCKET_IFNAME" not in os.environ:
            found["GLOO_SOCKET_IFNAME"] = (
                interface  # gloo would take the interface of the machine's name: often loopback
            )
    return found


def own_address(other: str, port: int) -> str:
    """The address by which this machine reaches `other`; "" when there is no way to it. Sends nothing."""
    try:
        family, kind, _, _, target = socket.getaddrinfo(other, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(target)
            return probe.getsockname()[0]
    except OSError:
        return ""


def interface_of(address: str) -> str:
    """The name of the network interface that has `address`; "" when none has."""
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(known.address == address for known in addresses):
            return name
    return ""
