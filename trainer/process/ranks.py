"""The processes of one training: how they meet, who writes, what they agree on, and what is said when one is lost.

With one process everything here is at once done. Each process has a device of its own from `meet` on; no model is ever spread
by `device_map="auto"`. One process writes: rank 0, or, on machines that share no disk, the first process of each machine into
its own folder.
"""

import os
import secrets
import time
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState

from common.errors import UserError
from trainer.events import read_events
from trainer.process.failures import Failure, diagnose
from trainer.run import Run, read_state
from trainer.state import FINISHED

# what gloo, NCCL and torch's store say of another process; always as a RuntimeError, unlike what a broken download raises
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
REASON_SECONDS = 3.0  # how long the one that notices waits for the reason of the one that died


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def machines() -> int:
    return max(1, world_size() // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def restarts() -> tuple[int, int]:
    """(how often the processes were restarted since the launch, how often they may be)."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")), int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))


def last_word(run: Run) -> str:
    """What a run that is being restarted has said last since its launch, "" when it goes on: a restart cures no failure that was
    told, and where a process died after the end there is nothing left to do. Other machines may not have come so far.
    """
    import psutil

    state = read_state(run)
    is_over = state.status == "failed" or (state.status in FINISHED and machines() == 1)
    try:
        launched = psutil.Process(os.getppid()).create_time()
    except psutil.Error:
        return ""
    return state.status if is_over and (state.ended_at or 0.0) >= launched else ""


def meet(seconds: float) -> None:
    """Wait for the other processes, at most `seconds` and a margin; so long is every later wait for them too.

    After it this process computes on its own device, which is where a quantised base is loaded.
    """
    PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(seconds=seconds + MARGIN_SECONDS))


def writes_here(folder: Path) -> bool:
    """True in the one process that writes into `folder`; all must call it. Rank 0 leaves a mark and the others look for it."""
    if machines() == 1:
        return rank() == 0
    (mark,) = _broadcast(secrets.randbelow(2**31))
    file = folder / f"meeting-{mark}"
    if rank() == 0:
        file.touch()
    wait_for_everyone()
    is_shared = file.exists()
    wait_for_everyone()
    if rank() == 0:
        file.unlink()
    return rank() == 0 if is_shared else local_rank() == 0


def wait_for_everyone() -> None:
    PartialState().wait_for_everyone()


def sum_over_ranks(*numbers: int) -> tuple[int, ...]:
    """The sums over all processes: whoever heard a request, all act on it at the same step."""
    return tuple(_reduced(numbers, torch.distributed.ReduceOp.SUM))


def max_over_ranks(*numbers: int) -> tuple[int, ...]:
    """The largest of each over all processes."""
    return tuple(_reduced(numbers, torch.distributed.ReduceOp.MAX))


def check_alike(what: str, number: int) -> None:
    """Raise UserError in all processes when they do not hold the same `number` of `what`."""
    most, least = max_over_ranks(number, -number)
    if most != -least:
        raise UserError(
            f"The machines do not train on the same data: {what} are {-least} on one and {most} on another.",
            "Start all of them with the same files and settings.",
        )


def common(numbers: list[int], most: int) -> list[int]:
    """Those of `numbers` that every process has, the largest first; each may have up to `most`."""
    if not _is_distributed():
        return sorted(numbers, reverse=True)
    padded = torch.tensor((sorted(numbers, reverse=True) + [-1] * most)[:most], dtype=torch.int64, device=_device())
    found = [torch.empty_like(padded) for _ in range(world_size())]
    torch.distributed.all_gather(found, padded)
    shared = set.intersection(*(set(each.tolist()) for each in found)) - {-1}
    return sorted(shared, reverse=True)


def lost(error: BaseException) -> Failure | None:
    """The failure that a broken or silent connection to another process stands for; None for what is this one's own."""
    if isinstance(error, Failure) and error.code in LOST:
        return error
    if world_size() == 1 or not isinstance(error, RuntimeError):
        return None
    text = str(error)
    if any(words in text for words in GONE):
        return diagnose("process_lost")
    return diagnose("process_silent") if any(words in text for words in SILENT) else None


def others_reason(events_file: Path, since: int) -> bool:
    """True once another process has written why it failed; waits for it a moment. `since`: events that were there before."""
    deadline = time.monotonic() + REASON_SECONDS
    while True:
        if any(event.get("event") == "failed" for event in read_events(events_file)[since:]):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)


def has_lost_a_sibling() -> bool:
    """True when a process that was started with this one is gone: its launcher then ends this one too, as for a stop."""
    import psutil

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


def _broadcast(number: int) -> list[int]:
    """Rank 0's number, in all processes."""
    value = torch.tensor([number], dtype=torch.int64, device=_device())
    torch.distributed.broadcast(value, 0)
    return value.tolist()
