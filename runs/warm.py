"""A training process that has its imports done before there is a run: `accelerate launch ... -m trainer.train --run -`.

It is started when the form of the Train tab is touched, for one owner, and knows nothing of them: no settings, no data, no token.
The next new run of that owner takes it over, if it would be started with the very same words, file and environment: a line on
stdin names its folder, and the log becomes its log. From then on it is a training like any other. One that nobody takes ends
with the app, whose pipe it reads, UNUSED_SECONDS after the last touch, and when this program starts another run.

Light: no torch. One at a time in this program. What it saves is in benchmarks/README.md.
"""

import os
import shutil
import subprocess
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from common.files import write_text
from common.limits import switch
from common.paths import runs_folder
from common.visitors import working_for
from models.hardware import Gpu, available_memory, find_gpus, on_zero_gpu
from models.hub.errors import child_environment
from runs.closing import is_closing
from runs.config import TrainConfig
from runs.machines.command import ON_STDIN, accelerate_yaml, launch_command, launch_variables
from runs.machines.parallel import mode_of, on_all_cards
from runs.processes import start_process
from runs.run import UNFINISHED, Run, active_run

UNUSED_SECONDS = 300
BYTES_NEEDED = 4 * 2**30  # with less free, 0.6 GB are not held for a wish


@dataclass(frozen=True)
class Start:
    """What a training process is started with, less the names of its folders."""

    words: list[str]
    yaml: str
    environment: dict[str, str]


@dataclass
class _Waiting:
    owner: str
    start: Start
    folder: Path  # of its log
    process: subprocess.Popen
    timer: threading.Timer


_lock = threading.Lock()
_waiting: _Waiting | None = None


def start_of(config: TrainConfig, gpus: tuple[Gpu, ...], environment: dict[str, str], card: str = "") -> Start | None:
    """Return how a training is started on these cards; None for more than a process, and with one's own accelerate config."""
    if mode_of(config) != "single" or config.accelerate_config:
        return None
    return Start(launch_command(config, "", gpus, ""), accelerate_yaml(config, gpus, card), environment)


def prepare(owner: str) -> None:
    """Let a process wait for the next run of `owner`, if none waits, nothing trains and there is memory for both."""
    global _waiting
    with _lock:
        if _waiting and _waiting.process.poll() is not None:  # somebody killed it
            _end(_waiting)
            _waiting = None
        if _waiting and _waiting.owner == owner:
            _waiting.timer.cancel()
            _waiting.timer = _timer()
        if _waiting:
            return
        if switch("STUDIO_WARM_START") is False or on_zero_gpu() or is_closing() or active_run():
            return
        config, gpus = on_all_cards(TrainConfig(), find_gpus()), find_gpus()
        with working_for(owner):
            start = start_of(config, gpus, child_environment() | launch_variables(config, gpus))
        if start is None or available_memory() < BYTES_NEEDED:
            return
        runs_folder(owner).mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="warm-", suffix=UNFINISHED, dir=runs_folder(owner)))
        write_text(folder / "accelerate.yaml", start.yaml)
        words = launch_command(config, folder / "accelerate.yaml", gpus, ON_STDIN)
        process = start_process(words, start.environment, folder / "train.log", subprocess.PIPE)
        _waiting = _Waiting(owner, start, folder, process, _timer())


def _timer() -> threading.Timer:
    timer = threading.Timer(UNUSED_SECONDS, end)
    timer.daemon = True
    timer.start()
    return timer


def take(run: Run, start: Start | None) -> subprocess.Popen | None:
    """Return the process that waits, its log now that of `run`, if it is its owner's and was started as `run` would be.

    Else None, and none waits any more: a training has the machine's memory to itself.
    """
    global _waiting
    with _lock:
        found, _waiting = _waiting, None
    if not found:
        return None
    if found.owner != run.owner or found.start != start or found.process.poll() is not None or run.log_file.exists():
        _end(found)
        return None
    os.replace(found.folder / "train.log", run.log_file)
    _let_go(found)
    return found.process


def tell(process: subprocess.Popen, run: Run) -> None:
    """Let a process that was taken train `run`; if it died this moment, the run is one whose process was killed."""
    assert process.stdin
    with suppress(BrokenPipeError), process.stdin:
        process.stdin.write(f"{run.folder}\n".encode())


def end() -> None:
    """End the process that waits, if one does."""
    global _waiting
    with _lock:
        found, _waiting = _waiting, None
    if found:
        _end(found)


def _end(found: _Waiting) -> None:
    assert found.process.stdin
    found.process.stdin.close()  # the end of its input is the end of it, as soon as its imports are done
    _let_go(found)


def _let_go(found: _Waiting) -> None:
    found.timer.cancel()

    def clean() -> None:  # not earlier: accelerate may not have read its file yet
        found.process.wait()
        shutil.rmtree(found.folder, ignore_errors=True)

    threading.Thread(target=clean, daemon=True).start()
