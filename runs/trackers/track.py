"""Sends the curves of a run to trackers: once, or following it to its end. Light: the trackers are in a process of their own.

The only source is the run's `events.jsonl`; the training itself knows no tracker. tensorboard and wandb become files in the
run's folder under trackers/, trackio a local database of the run's owner in STUDIO_HOME, or a Space of theirs.
"""

import shlex
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from common.child import Tell, ask_child
from common.errors import UserError
from common.files import write_json
from common.language import _
from common.paths import REPOSITORY, contained, home
from models.hub.client import Account, parse_address
from models.hub.errors import child_environment
from runs.run import Run
from runs.trackers.names import tracker_problem

PROCESS = "runs.trackers.process"
WANDB_VARIABLES = {
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_CONSOLE": "off",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_DISABLE_JOB_CREATION": "true",
    "WANDB_X_DISABLE_STATS": "true",
    "WANDB_X_DISABLE_META": "true",
    "WANDB_X_DISABLE_MACHINE_INFO": "true",
}


def check_tracker(name: str) -> None:
    """Raise UserError for a tracker that is not known or not installed."""
    if problem := tracker_problem(name):
        raise UserError(problem)


def trackio_folder(owner: str) -> Path:
    """Return the folder of trackio's database with the runs of `owner`."""
    return contained(home() / "trackio", owner)


def tracker_folder(run: Run, name: str) -> Path:
    """Return where a tracker's files of `run` lie."""
    return trackio_folder(run.owner) if name == "trackio" else run.folder / "trackers" / name


def viewer_command(name: str, folder: Path) -> str:
    """Return the command that shows what a tracker has in `folder`."""
    place = shlex.quote(str(folder))
    return {
        "tensorboard": f"tensorboard --logdir {place}",
        "wandb": f"wandb sync {place}/offline-run-*",
        "trackio": f"TRACKIO_DIR={place} trackio show",
    }[name]


def track(run: Run, name: str, folder: Path, is_followed: bool, tell: Tell = lambda what, fraction: None) -> int:
    """Write a run for one tracker into `folder`, `is_followed` to its end; return how many points. Raises UserError."""
    check_tracker(name)
    request = {"run": str(run.folder), "folders": {name: str(folder)}, "follow": is_followed}
    return ask_child(PROCESS, request, variables(folder), tell)


def send_to_space(run: Run, space: str, account: Account, tell: Tell = lambda what, fraction: None) -> str:
    """Send a run to a trackio Space of `account`, private when it is new, and return its address. Raises UserError.

    The process that sends has the token in its environment; nothing else of a run does.
    """
    check_tracker("trackio")
    repo_id = parse_address(space if "/" in space else f"{account.name}/{space}").repo_id
    if repo_id.split("/")[0] not in (account.name, *account.orgs):
        words = _("'{space}' is not a Space of yours.", space=repo_id)
        raise UserError(words, _("Name one as {name}/metrics.", name=account.name))
    with tempfile.TemporaryDirectory(prefix="studio-trackio-") as folder:
        signed_in = {"HF_TOKEN": account.token, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0"}
        request = {"run": str(run.folder), "folders": {"trackio": folder}, "follow": False, "space": repo_id}
        ask_child(PROCESS, request, variables(Path(folder)) | signed_in, tell)
    return f"https://huggingface.co/spaces/{repo_id}"


def track_in_background(run: Run, names: Sequence[str]) -> None:
    """Start a process that follows `run` for these trackers until it ends; it outlives this one, and has no token."""
    folder = run.folder / "trackers"
    folder.mkdir(exist_ok=True)
    folders = {name: str(tracker_folder(run, name)) for name in names}
    asked = folder / "request.json"
    write_json(asked, {"run": str(run.folder), "folders": folders, "follow": True})
    with open(folder / "log.txt", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", PROCESS, str(asked), str(folder / "answer.json")],
            cwd=REPOSITORY,
            env=variables(trackio_folder(run.owner)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, daemon=True).start()  # reaps it


def variables(trackio_at: Path) -> dict[str, str]:
    """Return the environment of a process that writes for trackers: no token, and nobody is told that it runs."""
    return child_environment() | WANDB_VARIABLES | {"TRACKIO_DIR": str(trackio_at)}
