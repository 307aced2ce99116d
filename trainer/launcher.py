"""Turns a config into a run folder and a command, and starts it: always `accelerate launch`, in its own session.

Light: no torch. Output goes to a file, so nobody has to keep reading for the training to go on. The environment of the
training process holds what it needs and no token.

launch(config) creates a run and starts it. Resume is start(run) again: the process finds its own checkpoints.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from common.errors import UserError
from common.files import write_json, write_text
from common.paths import LOCAL_OWNER, REPOSITORY, adapters_folder, free_name, home, runs_folder, slug
from models.base import Base, choose_base
from models.hardware import find_gpus
from models.precision import resolve_precision
from trainer.config import EXAMPLE, TrainConfig
from trainer.run import EventLog, Run, active_run, read_state, this_process

DISK_NEEDED_BYTES = 300_000_000
LAST_MOMENT_SECONDS = 20
CONFIGS = Path(__file__).parent / "accelerate"
PASSED_ON = (
    *(
        "PATH",
        "HOME",
        "USER",
        "LANG",
        "LC_ALL",
        "TMPDIR",
        "TEMP",
        "TMP",
        "SYSTEMROOT",
        "LD_LIBRARY_PATH",
        "VIRTUAL_ENV",
    ),
    *(
        "STUDIO_HOME",
        "SPACE_ID",
        "XDG_DATA_HOME",
        "XDG_CACHE_HOME",
        "LOCALAPPDATA",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
    ),
    *("HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "http_proxy", "https_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_CONFIG_FILE", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_CERT"),
)
PASSED_ON_PREFIXES = ("CUDA_", "NVIDIA_", "NCCL_", "GLOO_", "OMP_", "MKL_")


def create_run(config: TrainConfig, owner: str = LOCAL_OWNER) -> Run:
    """Check everything, decide on the base, copy the data, and write the run's folder. Raises UserError, leaving nothing.

    The config that is written names the base that was chosen and why, so that a resume takes the same one.
    """
    config.check()
    resolve_precision(config.precision, bool(find_gpus()))
    base = choose_base(config.base, config.base_revision)
    _check_disk()
    name = free_name(slug(config.name), runs_folder(owner), adapters_folder(owner))
    partial = runs_folder(owner) / f"{name}.partial"
    partial.mkdir(parents=True)
    try:
        _write(Run(partial), replace(config, name=name), base)
        partial.rename(runs_folder(owner) / name)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return Run(runs_folder(owner) / name)


def _check_disk() -> None:
    home().mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(home()).free
    if free < DISK_NEEDED_BYTES:
        raise UserError(
            f"Only {free / 1e6:.0f} MB of disk are free in {home()}; a run needs {DISK_NEEDED_BYTES / 1e6:.0f} MB.",
            "Free some, or set STUDIO_HOME to another disk.",
        )


def _write(run: Run, config: TrainConfig, base: Base) -> None:
    config = replace(config, base=base.choice, base_revision=base.revision, base_reason=base.reason)
    run.data_folder.mkdir()
    for field in ("data", "eval_data"):
        config = replace(config, **{field: _copy_data(getattr(config, field), field, run)})
    write_text(run.config_file, config.to_yaml())


def _copy_data(data: str | None, field: str, run: Run) -> str | None:
    """Keep a copy of a data file in the run, so that a resume trains on the same rows. Ids and 'example' stay as they are."""
    if not data or data == EXAMPLE or not Path(data).is_file():
        return data
    copied = run.data_folder / f"{field}{Path(data).suffix.lower()}"
    shutil.copyfile(data, copied)
    return str(copied.relative_to(run.folder))


def launch(config: TrainConfig, owner: str = LOCAL_OWNER) -> Run:
    """Create a run and start it. Raises UserError, leaving nothing, when it cannot start."""
    run = create_run(config, owner)
    try:
        start(run)
    except BaseException:
        shutil.rmtree(run.folder, ignore_errors=True)
        raise
    return run


def start(run: Run) -> None:
    """Start (or resume) the training process of `run` and return at once. Raises UserError while another one trains."""
    with FileLock(home() / "start.lock"):  # two tabs, two programs: one of them starts
        _wait_for_room(run.owner)
        run.stop_file.unlink(missing_ok=True)
        config = run.config()
        with open(run.log_file, "ab") as log:
            process = subprocess.Popen(
                command(run, config),
                cwd=REPOSITORY,
                env=environment(config.num_processes),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        write_json(run.process_file, {"launcher": this_process(process.pid)})
        EventLog(run).write("queued", base=config.base, base_reason=config.base_reason)
    threading.Thread(target=process.wait, daemon=True).start()  # reaps it; nothing else depends on this thread


def _wait_for_room(owner: str) -> None:
    """Raise UserError while a run trains. One that has said its last word gets a moment for its process to end."""
    deadline = time.monotonic() + LAST_MOMENT_SECONDS
    while (busy := active_run()) is not None:
        if read_state(busy).is_running or time.monotonic() > deadline:
            if busy.owner != owner:  # its name is its owner's business
                raise UserError("Somebody else's run is training on this machine.", "Try again when it is done.")
            raise UserError(f"The run '{busy.id}' is training on this machine.", "Wait for it, or stop it first.")
        time.sleep(0.1)


def command(run: Run, config: TrainConfig) -> list[str]:
    """The command that trains `run`. Running it in a shell does the same thing as the button."""
    has_gpu = bool(find_gpus())
    file = accelerate_config(config.num_processes, has_gpu)
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file)]
    launch += ["--num_processes", str(config.num_processes)]
    if config.num_processes > 1:
        launch += ["--main_process_port", "0"]
    if not has_gpu:
        threads = max(1, (os.cpu_count() or 1) // config.num_processes)
        launch += ["--num_cpu_threads_per_process", str(threads)]
    return [*launch, "-m", "trainer.train", "--run", str(run.folder)]


def accelerate_config(num_processes: int, has_gpu: bool) -> Path:
    """The accelerate config for this machine. On a CPU several processes need the torchrun path (see its comments)."""
    kind = "gpu" if has_gpu else "cpu"
    return CONFIGS / (f"multi_{kind}.yaml" if num_processes > 1 else f"single_{kind}.yaml")


def environment(num_processes: int = 1) -> dict[str, str]:
    """The environment of the training process: only what it needs. No token, and none taken from a file either."""
    kept = {
        name: value for name, value in os.environ.items() if name in PASSED_ON or name.startswith(PASSED_ON_PREFIXES)
    }
    kept["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1"
    kept["HF_HUB_DISABLE_TELEMETRY"] = "1"  # TRL reports usage from rank 0 otherwise
    kept["PYTHONUNBUFFERED"] = "1"
    kept["TOKENIZERS_PARALLELISM"] = "false"
    kept["PYTHONWARNINGS"] = "ignore::FutureWarning"  # for the authors of libraries, not for who reads the log
    if num_processes > 1 and not find_gpus():
        kept["ACCELERATE_USE_CPU"] = "true"
    return kept
