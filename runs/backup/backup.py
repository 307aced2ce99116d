"""Checkpoints in a private repository of one's own, so that a run goes on elsewhere when this machine forgets it.

    repo_id = find_repo(run_folder, account)                          user/run-checkpoints
    commit = send_checkpoint(run_folder, checkpoint, account, repo_id, parent)
    folder = restore(repo_id, account, runs_folder())                 then a normal resume

Knows nothing of the page: a job elsewhere calls the same functions with its own token. One commit holds one checkpoint whole
and takes the one before it away, from the history as well. `backup.json` in the run's folder keeps what was sent and what
went wrong, never a token.
"""

import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import read_json, sweep, write_json
from common.language import _, packed, unpacked
from common.paths import contained, free_name, home, slug
from models.hub.client import Account, client, errors_explained, parse_repo
from models.hub.transfer import fetch_all
from runs.backup.backup_files import check_restored, max_bytes, stage
from runs.backup.backup_repo import (
    RECORD,
    commit_checkpoint,
    forget_older,
    is_free,
    is_own,
    look,
    make,
    parent_of,
    sizes_of,
    writer_of,
)
from runs.events import append_event

Progress = Callable[[str, float | None], None]  # (what is done, fraction from 0 to 1 or None)
SUFFIX = "-checkpoints"
MAX_REPO_BYTES = 6_000_000_000
NOT_DOWNLOADED = _("That is too large for a checkpoint of a run. Nothing was downloaded.")
CARD = """---
tags:
- tinyllama-studio
---
# Checkpoints of {run}

A training run of TinyLlama Studio that has not ended, or might go on: its newest checkpoint, its settings **and its training
data**. Keep this repository private. To go on with it: *Restore a run from Hugging Face* in the Train tab, or
`python -m trainer restore {repo_id}`. It can be deleted when the run is done.
"""


@dataclass(frozen=True)
class Backup:
    """The contents of backup.json. `writer` identifies this copy of the run; `revision` is the commit that it made last."""

    writer: str = ""
    repo_id: str = ""
    revision: str | None = None
    checkpoint: str = ""
    time: float = 0.0
    problem: str = ""


BACKUP_TYPES = {**dict.fromkeys(Backup.__dataclass_fields__, str), "time": (int, float)}


def read_backup(run_folder: Path) -> Backup | None:
    """Read backup.json in the run's folder; None for a run without one."""
    values = unpacked(read_json(run_folder / RECORD))
    if not isinstance(values, dict) or not isinstance(values.get("writer"), str):
        return None
    known = {name: value for name, value in values.items() if isinstance(value, BACKUP_TYPES.get(name, ()))}
    return Backup(**known)


def note_backup(run_folder: Path, **values) -> Backup:
    """Change these values in the run's backup.json, which is made when there is none; return all."""
    known = replace(read_backup(run_folder) or Backup(writer=secrets.token_hex(16)), **values)
    write_json(run_folder / RECORD, packed(asdict(known)))
    return known


def backup_repo_name(user: str, run_id: str) -> str:
    """Return the repository for the checkpoints of a run of `user` (or of an organisation)."""
    return f"{user}/{run_id}{SUFFIX}"


def find_repo(run_folder: Path, account: Account) -> str:
    """Return the repository for this run in the account's name: a free one, or the one it has written to. Raises UserError."""
    known = read_backup(run_folder) or note_backup(run_folder)
    if known.repo_id and is_own(known.repo_id, account):
        return known.repo_id
    name = backup_repo_name(account.name, run_folder.name)
    for number in range(1, 100):
        repo_id = name if number == 1 else f"{name}-{number}"
        info = look(repo_id, account)
        if info is None or is_free(info) or writer_of(info, account) == known.writer:
            note_backup(run_folder, repo_id=repo_id)
            return repo_id
    raise UserError(
        _("There are a hundred repositories called {name}.", name=name), _("Delete old ones on Hugging Face.")
    )


def send_checkpoint(run_folder: Path, checkpoint: Path, account: Account, repo_id: str, parent: str | None) -> str:
    """Put `checkpoint` into the private repository in one commit, in place of the one before. Returns the commit.

    `parent` is the commit that this run made last, None for the first. Raises UserError and leaves the repository as it
    was: when it is not private, not the account's own, or holds another run; it can be repeated.
    """
    if not is_own(repo_id, account):
        words = _("{repo} does not belong to {account}.", repo=repo_id, account=account.name)
        raise UserError(words, _("Sign in as the owner of the run."))
    home().mkdir(parents=True, exist_ok=True)
    sweep(*home().glob("tmp*"))
    mine = read_backup(run_folder) or note_backup(run_folder)
    with tempfile.TemporaryDirectory(dir=home()) as temporary:
        folder = Path(temporary)
        names = stage(run_folder, checkpoint, folder)
        for name in names:
            is_text = name.endswith((".json", ".jsonl", ".yaml"))
            if is_text and account.token.encode() in (folder / name).read_bytes():
                raise UserError(_("{file} contains your Hugging Face token.", file=name), _("Nothing was sent."))
        (folder / "README.md").write_text(CARD.format(run=run_folder.name, repo_id=repo_id), encoding="utf-8")
        inside = checkpoint.relative_to(run_folder).as_posix()
        write_json(folder / RECORD, {"writer": mine.writer, "checkpoint": inside})
        info = look(repo_id, account) or make(repo_id, account)
        base = parent_of(info, mine.writer, parent, account)
        done = commit_checkpoint(info, folder, [*names, "README.md", RECORD], account, base, f"Checkpoint {inside}")
    if any(name.startswith("checkpoints/") for name in sizes_of(info)):
        done = forget_older(repo_id, account, done)
    note_backup(run_folder, repo_id=repo_id, revision=done, checkpoint=inside, time=time.time(), problem="")
    return done


@dataclass(frozen=True)
class Offer:
    """The files of a repository with checkpoints, before anything is downloaded. `revision` is a commit; sizes in bytes."""

    repo_id: str
    revision: str
    files: dict[str, int]
    remote: list[Any] = field(default_factory=list, repr=False)  # the same files as the Hub lists them, with hashes

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(self.files.values())


def look_for_checkpoints(wanted: str, account: Account) -> Offer:
    """List the files of `wanted`, a repository of the account's own. Raises UserError."""
    repo_id, revision = parse_repo(wanted)
    if not is_own(repo_id, account):
        raise UserError(
            _("{repo} belongs to someone else.", repo=repo_id), _("Only runs of your own account can be brought back.")
        )
    with errors_explained(repo_id):
        client(account.token).auth_check(repo_id)
        info = client(account.token).model_info(repo_id, revision=revision, files_metadata=True)
    files = {name: size for name, size in sizes_of(info).items() if max_bytes(name)}
    if not any(name.startswith("checkpoints/") for name in files):
        raise UserError(
            _("{repo} holds no checkpoint of a run.", repo=repo_id),
            _("Repositories of checkpoints have names that end in -checkpoints."),
        )
    for name, size in files.items():
        if size > max_bytes(name):
            words = _("{file} of {repo} is {size:,.0f} MB.", file=name, repo=repo_id, size=size / 1e6)
            raise UserError(words, NOT_DOWNLOADED)
    if sum(files.values()) > MAX_REPO_BYTES:
        words = _("{repo} is {size:.1f} GB.", repo=repo_id, size=sum(files.values()) / 1e9)
        raise UserError(words, NOT_DOWNLOADED)
    return Offer(repo_id, info.sha, files, [file for file in info.siblings if file.rfilename in files])


def restore(
    repo_id: str,
    account: Account,
    into: Path,
    progress: Progress = lambda what, fraction: None,
    accept: Callable[[Path], None] = lambda folder: None,
) -> Path:
    """Bring a run back from the Hub into the folder of runs `into`, published by rename; a normal resume goes on with it.

    `accept` may look at the folder before it is published. Returns the run's folder. Raises UserError, leaving nothing.
    """
    offer = look_for_checkpoints(repo_id, account)
    into.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(into).free < offer.size_bytes + 300_000_000:
        words = _("{repo} needs {size:,.0f} MB of disk space.", repo=offer.repo_id, size=offer.size_bytes / 1e6)
        raise UserError(words, _("Free some space, then try again."))
    wanted = slug(offer.repo_id.split("/")[1].split(SUFFIX)[0])
    partial = contained(into, f"{wanted}-{secrets.token_hex(4)}.partial")
    partial.mkdir()
    try:
        files = sorted(offer.remote, key=lambda file: file.size or 0)
        fetch_all(offer.repo_id, files, offer.revision, partial, account.token, progress)
        shutil.rmtree(partial / ".cache", ignore_errors=True)
        checkpoint = check_restored(partial).relative_to(partial).as_posix()
        accept(partial)
        message = _("Brought back from {repo}.", repo=offer.repo_id)
        words = {"message": message, "hint": _("Press Resume to continue from its checkpoint.")}
        append_event(partial / "events.jsonl", {"time": round(time.time(), 3), "event": "stopped", **words})
        now = {"revision": offer.revision, "checkpoint": checkpoint, "time": time.time()}
        note_backup(partial, repo_id=offer.repo_id, **now)
        final = contained(into, free_name(wanted, into))
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return final
