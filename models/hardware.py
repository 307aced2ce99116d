"""The hardware of this machine, found without torch, so that page and launcher can ask before anything heavy is loaded."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from common.hosted import on_space
from common.language import n_

CGROUPS = Path("/sys/fs/cgroup")
CGROUP_FILES = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA card: its name, its memory in bytes, and its compute capability if `nvidia-smi` gives it."""

    name: str
    memory_bytes: int
    compute_capability: float | None = None


# What a call on ZeroGPU gets of its card at least: above it `spaces` asks for the size "xlarge", at twice the quota.
ZERO_GPU = Gpu("ZeroGPU", 45_097_156_608, 9.0)


@dataclass(frozen=True)
class Hardware:
    """The hardware for a training: the cards or the CPU, the free memory in bytes, and the Space's flavour."""

    gpus: tuple[Gpu, ...]
    cpu_count: int
    available_bytes: int  # of the smallest card with GPUs, of RAM without
    description: str
    space_flavor: str | None = None

    @property
    def has_gpu(self) -> bool:
        """Return whether there is an NVIDIA card."""
        return bool(self.gpus)


def find_hardware() -> Hardware:
    """Return the hardware and its free memory now. Runs `nvidia-smi` each time; takes milliseconds on a CPU."""
    gpus = find_gpus()
    if gpus:
        free = () if on_zero_gpu() else _visible(tuple(memory for _, memory in _ask_nvidia_smi("memory.free")))
        # without an answer of nvidia-smi this time: all of the card's memory
        available = min(free, default=0) or min(gpu.memory_bytes for gpu in gpus)
    else:
        available = available_memory()
    return Hardware(gpus, cpu_count(), available, describe_hardware(), space_flavor())


def on_zero_gpu() -> bool:
    """Return whether this is a Space on ZeroGPU: only a call that asks for the GPU has one, in a forked process of its own.

    False in the app's other child processes, whose environment does not say so: they have the CPU.
    """
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


@cache
def find_gpus() -> tuple[Gpu, ...]:
    """Return the cards that `nvidia-smi` lists, less those that CUDA_VISIBLE_DEVICES hides; () without one.

    On ZeroGPU: the one that a call gets, without asking for it.
    """
    if on_zero_gpu():
        return (ZERO_GPU,)
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or not shutil.which("nvidia-smi"):
        return ()
    cards = _ask_nvidia_smi("memory.total")
    # 8.0 and more have bf16; [] with a driver that does not tell
    capabilities = [float(value) for _, value in _query("compute_cap") if value.replace(".", "", 1).isdigit()]
    known = len(cards) == len(capabilities)
    return _visible(
        tuple(Gpu(name, memory, capabilities[n] if known else None) for n, (name, memory) in enumerate(cards))
    )


def _ask_nvidia_smi(what: str) -> list[tuple[str, int]]:
    """Return (name, bytes) for each card; `what` is a query of nvidia-smi in MiB."""
    return [(name, int(memory) * 2**20) for name, memory in _query(what) if memory.isdigit()]


def _query(what: str) -> list[tuple[str, str]]:
    """Return (name, value) for each card; [] when `nvidia-smi` does not answer."""
    query = ["nvidia-smi", f"--query-gpu=name,{what}", "--format=csv,noheader,nounits"]
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.rsplit(",", 1) for line in result.stdout.splitlines() if "," in line]
    return [(name.strip(), value.strip()) for name, value in rows]


def _visible(cards: tuple) -> tuple:
    """Return as many of the cards as CUDA_VISIBLE_DEVICES names, all without it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return cards[: len(visible.split(","))] if visible else cards


def available_memory() -> int:
    """Return the bytes of RAM for a new process: the system's, or what the container's limit leaves if that is less."""
    import psutil

    limits = [left for left in (_left_in_cgroup(*files) for files in CGROUP_FILES) if left is not None]
    return min([psutil.virtual_memory().available, *limits])


def _left_in_cgroup(limit_file: str, used_file: str) -> int | None:
    """Return the bytes that a cgroup's limit leaves, None without one. Page cache counts as used."""
    try:
        limit = int((CGROUPS / limit_file).read_text())
        used = int((CGROUPS / used_file).read_text())
        lines = (CGROUPS / limit_file).with_name("memory.stat").read_text().splitlines()
    except (OSError, ValueError):  # no cgroup of this version, or "max"
        return None
    statistics = dict(line.split(" ", 1) for line in lines if " " in line)
    return max(0, limit - used + int(statistics.get("inactive_file", 0)))


def cpu_count() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_resident_bytes() -> int:
    """Return the most RAM that this process held since its program began.

    Not getrusage's number on Linux: it starts with the parent's memory at the time of the fork.
    """
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    if sys.platform == "linux":
        peak = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
        if peak:  # the kernel may not say it (gVisor)
            return int(peak[1]) * 1024
    import resource  # not there on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def use_all_cores() -> None:
    """Let torch use all cores in this thread; a new thread has the chat's number of that moment, which may be one.

    OMP_NUM_THREADS remains the limit.
    """
    import torch

    said = os.environ.get("OMP_NUM_THREADS", "")
    torch.set_num_threads(int(said) if said.isdecimal() and int(said) else cpu_count())


def wait_briefly(environment: MutableMapping[str, str]) -> None:
    """Let torch's waiting threads give up their core after microseconds, before it is imported; what a person set remains.

    libgomp lets them turn 300,000 times first, so that two processes on the same cores hold each other up at every layer. 5,000
    cost nothing alone (benchmarks/README.md).
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & environment.keys():
        environment["GOMP_SPINCOUNT"] = "5000"


def space_flavor() -> str | None:
    """Return the hardware flavour of the Space that this runs on ('t4-small', 'cpu-basic', ...); None elsewhere."""
    if not on_space():
        return None
    flavor = os.environ.get("ACCELERATOR", "").strip().lower()
    if flavor and flavor != "none":
        return flavor
    return "cpu-upgrade" if os.environ.get("CPU_CORES", "") == "8" else "cpu-basic"


def describe_hardware() -> str:
    """Return one line for a person: the cards, or the CPU."""
    gpus = find_gpus()
    if not gpus:
        return n_("no GPU, {count} CPU core", "no GPU, {count} CPU cores", os.cpu_count() or 1)
    return ", ".join(f"{gpu.name} ({gpu.memory_bytes / 2**30:.0f} GiB)" for gpu in gpus)


@cache
def processor_name() -> str:
    """Return the CPU's model as the system gives it, for the key of a measured speed."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
