"""What this machine has, found without torch: the page and the launcher ask before anything heavy is loaded."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA card: its name and its memory in bytes."""

    name: str
    memory_bytes: int


@cache
def find_gpus() -> tuple[Gpu, ...]:
    """The cards that `nvidia-smi` lists, less those that CUDA_VISIBLE_DEVICES hides; () without one."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not shutil.which("nvidia-smi"):
        return ()
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [line.rsplit(",", 1) for line in result.stdout.splitlines() if "," in line]
    gpus = tuple(Gpu(name.strip(), int(memory) * 2**20) for name, memory in rows if memory.strip().isdigit())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return gpus[: len(visible.split(","))] if visible else gpus


def describe_hardware() -> str:
    """One line for a person: the cards, or the CPU."""
    gpus = find_gpus()
    if not gpus:
        return f"no GPU, {os.cpu_count()} CPU cores"
    return ", ".join(f"{gpu.name} ({gpu.memory_bytes / 2**30:.0f} GiB)" for gpu in gpus)
