"""Sends what a job of Hugging Face needs: the app's own source and one run, as one zip in a private repository of the user's.

    job.zip     studio/   the folders that train, and requirements.txt
                run/      config.yaml, data/, init_adapter/, backup.json

The job takes exactly the commit that was made for it. No token and no path of this machine goes along.
"""

import tempfile
import zipfile
from pathlib import Path

from common.errors import UserError
from common.language import _
from common.paths import REPOSITORY, home
from models.hub.client import Account, client, errors_explained
from runs.run import Run

ARCHIVE = "job.zip"
STOP_FILE = "stop"  # asks the job to stop, see jobs.stop
SOURCE_FOLDERS = ("common", "models", "adapters", "data", "runs", "trainer", "jobs", "examples")
SOURCE_SUFFIXES = (".py", ".yaml", ".jinja", ".jsonl", ".json")
RUN_FILES = ("config.yaml", "backup.json")
RUN_FOLDERS = ("data", "init_adapter")
MAX_BYTES = 2_000_000_000
CARD = """---
tags: [tinyllama-studio]
---
# A job of TinyLlama Studio

The settings **and the training data** of the run {run}, and the source that trains it: what Hugging Face Jobs needs. Keep this
repository private; delete it when the run is done.
"""


def job_repo(run: Run, account: Account) -> str:
    """Return the id of the repository that the job of `run` comes from."""
    return f"{account.name}/{run.id}-job"


def send_run(run: Run, account: Account) -> tuple[str, str]:
    """Put the zip of `run` into its private repository. Returns (repository id, commit). Raises UserError."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    repo_id, api = job_repo(run, account), client(account.token)
    home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home()) as folder:
        archive = zip_run(run, Path(folder) / ARCHIVE, account.token)
        with errors_explained(repo_id):
            api.create_repo(repo_id, private=True, exist_ok=True)
        with errors_explained(repo_id):
            info = api.model_info(repo_id)
            names = {file.rfilename for file in info.siblings or []}
            if not info.private or names - {".gitattributes", "README.md", ARCHIVE, STOP_FILE}:
                raise UserError(
                    _("{repository} already exists and is not the private repository of a job.", repository=repo_id),
                    _("Rename the run, or that repository."),
                )
            card = CommitOperationAdd("README.md", CARD.format(run=run.id).encode())
            old = [CommitOperationDelete(STOP_FILE)] if STOP_FILE in names else []  # it was for the job before
            operations = [CommitOperationAdd(ARCHIVE, archive), card, *old]
            return repo_id, api.create_commit(
                repo_id, operations, commit_message="Send the run", parent_commit=info.sha
            ).oid


def zip_run(run: Run, archive: Path, token: str = "") -> Path:
    """Write the zip to `archive`. Raises UserError for a run that is too large, or that holds the token."""
    found = [run.folder / name for name in RUN_FILES]
    for name in RUN_FOLDERS:
        found += sorted((run.folder / name).rglob("*"))
    found = [path for path in found if path.is_file() and not path.is_symlink()]
    if sum(path.stat().st_size for path in found) > MAX_BYTES:
        raise UserError(
            _("The data of this run is larger than 2 GB."),
            _("Upload it to the Hugging Face Hub as a dataset and use that."),
        )
    if token and token.encode() in run.config_file.read_bytes():
        raise UserError(_("The settings contain your Hugging Face token."), _("Nothing was sent. Remove it first."))
    files = {f"run/{path.relative_to(run.folder).as_posix()}": path for path in found}
    for folder in SOURCE_FOLDERS:
        for path in sorted((REPOSITORY / folder).rglob("*")):
            if path.suffix in SOURCE_SUFFIXES and path.is_file():
                files[f"studio/{path.relative_to(REPOSITORY).as_posix()}"] = path
    files["studio/requirements.txt"] = REPOSITORY / "requirements.txt"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for name, path in files.items():
            target.write(path, name)
    return archive
