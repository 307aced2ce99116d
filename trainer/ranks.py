"""The processes of one training: the rendezvous, the one that writes, collective sums, and lost processes.

With one process everything here returns at once. Each process has a device of its own from `meet` on; no model is ever spread
by `device_map="auto"`. One process writes: rank 0, or, on machines that share no disk, the first process of each machine into
its own folder.
"""

import os
import secrets
import time
from datetime import timedelta
from pathlib import Path

import psutil
import torch
from accelerate import PartialState

from common.errors import UserError
from common.language import _
from runs.events import read_events
from runs.failures import Failure, diagnose
from runs.run import Run, read_state
from runs.state import FINISHED

# what gloo, NCCL and torch's store say of another process: always a RuntimeError, unlike what a broken download raises
GONE = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Socket closed",
    "remote process exited",
)
SILENT = (
    "collective operation timeout",
    "Timed out waiting",
    "timed out after",
    "Timeout waiting",
    "timeout after",
    "wait timeout",
)
LOST = ("process_lost", "process_silent")
MARGIN_SECONDS = 10.0  # after the training's own watch, which can name the process that stands still
REASON_SECONDS = 3.0  # how long a process that lost another waits for that one's own reason


def rank() -> int:
    """Return the number of this process among all, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Return the number of this process on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """Return the number of processes on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def machines() -> int:
    """Return the number of machines."""
    return max(1, world_size() // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def restarts() -> tuple[int, int]:
    """Return (how often the processes were restarted since the launch, how often they may be)."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")), int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))


def final_status(run: Run) -> str:
    """Return the status in which a run ended since its launch, "" when it goes on.

    A restart cures no reported failure, and where a process died after the end nothing is left to do. With several machines
    only a failure counts: the others may not have come so far.
    """
    state = read_state(run)
    is_over = state.status == "failed" or (state.status in FINISHED and machines() == 1)
    try:
        launched = psutil.Process(os.getppid()).create_time()
    except psutil.Error:
        return ""
    return state.status if is_over and (state.ended_at or 0.0) >= launched else ""


def meet(seconds: float) -> None:
    """Wait for the other processes, at most `seconds` and a margin, as every later wait does.

    From then on this process computes on its own device, where a quantised base is loaded.
    """
    PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(seconds=seconds + MARGIN_SECONDS))


def writes_here(folder: Path) -> bool:
    """Return True in the one process that writes into `folder`; all must call it.

    Rank 0 makes a file with a random name there: a process that sees it shares the disk of rank 0.
    """
    if machines() == 1:
        return rank() == 0
    mark = torch.tensor([secrets.randbelow(2**31)], dtype=torch.int64, device=_device())
    torch.distributed.broadcast(mark, 0)
    file = folder / f"meeting-{mark.item()}"
    if rank() == 0:
        file.touch()
    wait_for_everyone()
    is_shared = file.exists()
    wait_for_everyone()
    if rank() == 0:
        file.unlink()
    return rank() == 0 if is_shared else local_rank() == 0


def wait_for_everyone() -> None:
    """Wait until every process has called this; all must."""
    PartialState().wait_for_everyone()


def sum_over_ranks(*numbers: int) -> tuple[int, ...]:
    """Return the sums over all processes, so that all act at the same step on a request that one has seen."""
    return tuple(_reduced(numbers, torch.distributed.ReduceOp.SUM))


def max_over_ranks(*numbers: int) -> tuple[int, ...]:
    """Return the largest of each over all processes."""
    return tuple(_reduced(numbers, torch.distributed.ReduceOp.MAX))


def check_alike(rows: int) -> None:
    """Raise UserError in all processes when they do not hold the same number of rows."""
    most, least = max_over_ranks(rows, -rows)
    if most != -least:
        words = _(
            "The machines do not train on the same data: one has {least:,} rows, another {most:,}.",
            least=-least,
            most=most,
        )
        raise UserError(words, _("Start all of them with the same files and settings."))


def common(numbers: list[int], most: int) -> list[int]:
    """Return those of `numbers` that every process has, the largest first; no process may have more than `most`."""
    if not _is_distributed():
        return sorted(numbers, reverse=True)
    padded = torch.tensor((sorted(numbers, reverse=True) + [-1] * most)[:most], dtype=torch.int64, device=_device())
    found = [torch.empty_like(padded) for _ in range(world_size())]
    torch.distributed.all_gather(found, padded)
    shared = set.intersection(*(set(each.tolist()) for each in found)) - {-1}
    return sorted(shared, reverse=True)


def lost(error: BaseException) -> Failure | None:
    """Return the failure that a broken or silent connection to another process stands for; None for this one's own errors."""
    if isinstance(error, Failure) and error.code in LOST:
        return error
    if world_size() == 1 or not isinstance(error, RuntimeError):
        return None
    text = str(error)
    if any(words in text for words in GONE):
        return diagnose("process_lost")
    return diagnose("process_silent") if any(words in text for words in SILENT) else None


def others_reason(events_file: Path, since: int) -> bool:
    """Wait `REASON_SECONDS` for the `failed` event of another process; return whether it came.

    `since`: the number of events that were there before.
    """
    deadline = time.monotonic() + REASON_SECONDS
    while True:
        if any(event.get("event") == "failed" for event in read_events(events_file)[since:]):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)


def has_lost_a_sibling() -> bool:
    """Return True when a process that was started with this one is gone: the launcher then ends this one, as for a stop."""
    if world_size() == 1:
        return False
    try:
        children = psutil.Process(os.getppid()).children()
        alive = sum(child.status() != psutil.STATUS_ZOMBIE for child in children)
    except psutil.Error:
        return False
    return alive < int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _reduced(numbers: tuple, how) -> list[int]:
    whole = [int(number) for number in numbers]
    if not _is_distributed():
        return whole
    values = torch.tensor(whole, dtype=torch.int64, device=_device())
    torch.distributed.all_reduce(values, how)
    return values.tolist()
