"""How fast this machine trains: measured once for a configuration and remembered, or read from earlier runs. No torch here.

`measure` starts `trainer.calibrate` in a process of its own, with the training process's environment
(no token in it), and keeps the answer in STUDIO_HOME/calibration.json under everything that it depends on.
`known` looks there without measuring.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from common.errors import UserError
from common.files import read_object, stamps, tail, write_json
from common.language import _, english, packed, unpacked
from common.paths import LOCAL_OWNER, REPOSITORY, home
from models.family import ModelShape
from models.hardware import Hardware, on_zero_gpu, processor_name
from models.hub.errors import child_environment
from runs.config import BATCH, SPEED, TrainConfig, marked
from runs.events import Metrics
from runs.forecast.memory import decided, estimate_memory, trained_parameters
from runs.forecast.plan import DataFacts
from runs.machines.parallel import local_processes
from runs.run import Run, active_run, list_runs
from runs.state import state_of

FILE = "calibration.json"
PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate")
MAX_SECONDS = 240
MAX_RUNS = 50  # earlier ones that are looked at for their speed: the page asks at every change of the form
# a CPU measures at most a batch of so many tokens; the time a token of a larger one is nearly the same
CPU_TOKENS = 1024
# operations a second: of a core with AVX-512 60e9 were measured, of cards nothing; a layer of a small batch waits for kernels
CPU_OPERATIONS, CPU_16_BITS = 50e9, 90
GPU_OPERATIONS = ((9.0, 100e12), (8.0, 30e12), (0.0, 8e12))  # from a compute capability on
GPU_LAYER_SECONDS = 0.01
Progress = Callable[[str, float | None], None]


@dataclass(frozen=True)
class Speed:
    """Seconds that one process takes for one token of a batch, and what it was measured with."""

    seconds_per_token: float
    source: str
    framework_bytes: int | None = None


def known(config: TrainConfig, shape: ModelShape, data_facts: DataFacts, hardware: Hardware) -> Speed | None:
    """Return what was measured for this configuration on this machine before, or None. Takes milliseconds."""
    request = _request(config, shape, data_facts, hardware)
    values = read_object(home() / FILE).get(_key(config, request, hardware))
    try:
        return Speed(**unpacked(values)) if values else None
    except TypeError:  # written by another version
        return None


def measure(
    config: TrainConfig,
    shape: ModelShape,
    data_facts: DataFacts,
    hardware: Hardware,
    progress: Progress = lambda what, fraction: None,
    stop: Callable[[], bool] = lambda: False,
) -> Speed | None:
    """Measure (about 15 seconds; TinyLlama on a CPU under a minute), or take what is known. None when `stop()` said so.

    Raises UserError while a run trains here (both would be slowed and measured wrong) and when the measurement fails.
    """
    if found := known(config, shape, data_facts, hardware):
        return found
    if on_zero_gpu():
        raise UserError(_("The speed cannot be measured on ZeroGPU."), _("Start a run of a few steps."))
    if not estimate_memory(config, shape, data_facts, hardware).fits:
        raise UserError(
            _("These settings do not fit into the memory of this machine."), _("Make them fit first, then measure.")
        )
    if active_run() is not None:
        raise UserError(
            _("A run is training on this machine: a measurement now would be wrong."), _("Measure when it is done.")
        )
    request = _request(config, shape, data_facts, hardware)
    values = _measured(request, hardware, progress, stop)
    if values is None:
        return None
    source = _("measured on this machine, {hardware}", hardware=hardware.description)
    found = Speed(values["seconds_per_token"], source, values["framework_bytes"])
    home().mkdir(parents=True, exist_ok=True)
    with FileLock(home() / f"{FILE}.lock"):
        write_json(
            home() / FILE, {**read_object(home() / FILE), _key(config, request, hardware): packed(asdict(found))}
        )
    return found


def _batch(config: TrainConfig, data_facts: DataFacts, has_gpu: bool) -> tuple[int, int]:
    """Return (rows, tokens a row) of the measured batch: the mean row, lengths in steps of an eighth of a power of two."""
    length = min(config.max_length, round(data_facts["mean_length"]))
    if config.packing:
        length = config.max_length
    grain = max(8, 2 ** (max(1, length).bit_length() - 4))
    length = max(8, min(config.max_length, round(length / grain) * grain))
    rows = config.per_device_train_batch_size
    if not has_gpu:
        length = min(length, CPU_TOKENS)
        rows = max(1, min(rows, CPU_TOKENS // length))
    return rows, length


def _request(config: TrainConfig, shape: ModelShape, data_facts: DataFacts, hardware: Hardware) -> dict[str, Any]:
    rows, length = _batch(config, data_facts, hardware.has_gpu)
    trained = round(data_facts["trained_tokens"] / max(1, data_facts["tokens"]), 1)
    config = decided(config, shape, data_facts, hardware)
    plain = {**config.to_dict(), "packing": False, "init_adapter": None, "eval_steps": 0, "neftune_noise_alpha": 0.0}
    return {
        "config": plain,
        "shape": asdict(shape),
        "rows": rows,
        "length": length,
        "trained_fraction": max(0.1, trained),
    }


def _key(config: TrainConfig, request: dict[str, Any], hardware: Hardware) -> str:
    """Hash everything that the speed depends on."""
    parts = {
        **{name: request[name] for name in ("shape", "rows", "length", "trained_fraction")},
        **{name: getattr(config, name) for name in marked(SPEED)},
        "precision": config.precision_on(hardware.has_gpu),
        "checkpointing": request["config"]["gradient_checkpointing"],
        "hardware": (english(hardware.description), processor_name(), hardware.cpu_count),
        "packages": _versions(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


@cache
def _versions() -> list[str]:
    return [version(name) for name in PACKAGES]


def _measured(
    request: dict[str, Any], hardware: Hardware, progress: Progress, stop: Callable[[], bool]
) -> dict[str, Any] | None:
    """Run the measuring process; None when `stop()` returned true. Raises UserError with the last line of one that fails."""
    variables = child_environment()
    if not hardware.has_gpu:
        variables["OMP_NUM_THREADS"] = str(os.cpu_count() or 1)  # what accelerate sets for the training
    with tempfile.TemporaryDirectory() as folder:
        files = request_file, result, log = [Path(folder) / name for name in ("request.json", "result.json", "log.txt")]
        write_json(request_file, request)
        with open(log, "wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "trainer.calibrate", *map(str, files[:2])],
                cwd=REPOSITORY,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            began = time.monotonic()
            while process.poll() is None and (seconds := time.monotonic() - began) < MAX_SECONDS:
                if stop():
                    return None
                progress(_("Measuring the speed of this machine"), min(0.95, seconds / 30))
                time.sleep(0.2)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
            process.wait()
        if result.exists():
            return read_object(result)
        words = tail(log, 1)[:200]
    raise UserError(_("The speed could not be measured on this machine."), words)


def from_earlier_runs(config: TrainConfig, base_id: str, hardware: Hardware, owner: str = LOCAL_OWNER) -> Speed | None:
    """Return the speed of the newest finished run of `owner` here with this base and the settings that matter, or None."""
    on_gpu = hardware.has_gpu
    wanted = _speed_settings(config, on_gpu)
    for run in list_runs(owner)[:MAX_RUNS]:
        metrics, settings = _finished(run, stamps(run.folder, "events.jsonl", "config.yaml"))
        fast = metrics.get("tokens_per_second")
        place = english(metrics.get("hardware", ""))  # the card's name, or the threads of a CPU
        is_here = place == hardware.gpus[0].name if on_gpu else place.startswith("CPU,")
        if not fast or settings is None or metrics.get("base") != base_id or not is_here:
            continue
        if _speed_settings(settings, on_gpu) == wanted:
            source = _("measured in the run '{name}' on this machine", name=run.id)
            return Speed(settings.num_processes / fast, source)
    return None


@lru_cache(maxsize=1000)
def _finished(run: Run, stamp: tuple) -> tuple[Metrics, TrainConfig | None]:
    """Return the results and the settings of a run; {} and None where there are none. Cached by the stamp of its files."""
    metrics = state_of(run.events_file, with_curves=False).metrics
    return metrics, run.config_or_none() if metrics else None


def _speed_settings(config: TrainConfig, on_gpu: bool) -> tuple:
    return (config.precision_on(on_gpu), *(getattr(config, name) for name in marked(SPEED, BATCH)))


def guess(config: TrainConfig, shape: ModelShape, data_facts: DataFacts, hardware: Hardware) -> Speed:
    """Estimate the speed from the size of the model, where nothing was measured: right to about a factor of two.

    A weight takes four operations a token (forward, and the gradient of its input), two more with checkpointing, and two more
    where it is trained itself; small batches keep a GPU waiting for its kernels.
    """
    precision, on_gpu = config.precision_on(hardware.has_gpu), hardware.has_gpu
    has_checkpointing = decided(config, shape, data_facts, hardware).gradient_checkpointing == "on"
    operations = (6 if has_checkpointing else 4) * shape.parameters + 2 * trained_parameters(config, shape)
    if on_gpu:
        rows, length = _batch(config, data_facts, on_gpu)
        capability = hardware.gpus[0].compute_capability or 0.0
        rate = next(rate for least, rate in GPU_OPERATIONS if capability >= least)
        waiting = GPU_LAYER_SECONDS * shape.num_hidden_layers / (rows * length)
        seconds = max(operations / rate, waiting)
    else:
        cores = max(1, hardware.cpu_count // local_processes(config))
        seconds = operations / (CPU_OPERATIONS * cores) * (CPU_16_BITS if precision in ("bf16", "fp16") else 1)
    return Speed(seconds, _("estimated from the size of the model"))
