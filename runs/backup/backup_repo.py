"""The private repository that holds the checkpoints of one run: who may write there, and one commit a checkpoint.

It is refused unless it is private, in the account's own name, and written by this copy of the run alone.
"""

import tempfile
from contextlib import suppress
from pathlib import Path

from common.errors import UserError
from common.files import read_json
from common.language import _
from common.paths import home
from models.hub.client import Account, client, errors_explained, parse_repo
from models.hub.transfer import fetch

RECORD = "backup.json"  # in the repository: which copy of which run wrote there last
UNTOUCHED = {".gitattributes", "README.md"}
MAX_RECORD_BYTES = 10_000


def is_own(repo_id: str, account: Account) -> bool:
    """Return whether the repository is in the name of the account or of one of its organisations."""
    return parse_repo(repo_id)[0].split("/")[0] in (account.name, *account.orgs)


def look(repo_id: str, account: Account):
    """Return what the Hub says of the repository, None when there is none."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    with errors_explained(repo_id):
        try:
            return client(account.token).model_info(repo_id, files_metadata=True)
        except RepositoryNotFoundError as error:
            if isinstance(error, GatedRepoError):
                raise
            return None


def make(repo_id: str, account: Account):
    """Create the private repository unless it exists; return what the Hub says of it. Raises UserError."""
    with errors_explained(repo_id):
        client(account.token).create_repo(repo_id, private=True, exist_ok=True)
    return look(repo_id, account)


def sizes_of(info) -> dict[str, int]:
    """Return the size in bytes of each file, by name."""
    return {file.rfilename: file.size or 0 for file in info.siblings or []}


def is_free(info) -> bool:
    """Return whether the repository holds nothing but what the Hub puts into a new one."""
    return not set(sizes_of(info)) - UNTOUCHED


def writer_of(info, account: Account) -> str:
    """Return which copy of a run wrote there last, "" when nobody did."""
    file = next((file for file in info.siblings or [] if file.rfilename == RECORD), None)
    if file is None or (file.size or 0) > MAX_RECORD_BYTES:
        return ""
    with tempfile.TemporaryDirectory(dir=home()) as folder:
        values = read_json(fetch(info.id, file, info.sha, Path(folder), account.token), {})
    return str(values.get("writer", "")) if isinstance(values, dict) else ""


def parent_of(info, writer: str, parent: str | None, account: Account) -> str:
    """Return the commit to build on. Raises UserError for a repository in which somebody else has written.

    The run's own last commit may be another than `parent`: its answer was lost on the way.
    """
    if is_free(info) or info.sha == parent or writer_of(info, account) == writer:
        return info.sha
    raise UserError(
        _("{repo} holds another run, or this run was continued somewhere else.", repo=info.id),
        _("Its checkpoints are left as they are."),
    )


def commit_checkpoint(info, folder: Path, names: list[str], account: Account, parent: str, message: str) -> str:
    """Make one commit of what is new, and of what is no longer the newest. Raises UserError unless the repository is private.

    Not `HfApi.upload_folder(delete_patterns=...)`: with hf_xet it makes several commits, so that a repository may hold half of
    a checkpoint, and it leaves no moment between the upload, which takes long, and the commit to ask who may read.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    there = sizes_of(info)
    keeps = {name for name in names if name.startswith(("data/", "init_adapter/"))}
    new = [name for name in names if not (name in keeps and there.get(name) == (folder / name).stat().st_size)]
    old = [name for name in there if name.startswith("checkpoints/") and name not in names]
    added = [CommitOperationAdd(name, folder / name) for name in new]
    operations = [*added, *(CommitOperationDelete(name, is_folder=False) for name in old)]
    api = client(account.token)
    with errors_explained(info.id):
        _check_private(info.id, info.private)
        api.preupload_lfs_files(info.id, added, free_memory=False)
        _check_private(info.id, api.model_info(info.id).private)  # the upload may have taken long
        return api.create_commit(info.id, operations, commit_message=message, parent_commit=parent).oid


def forget_older(repo_id: str, account: Account, commit: str) -> str:
    """Make all commits one, and delete the large files of older checkpoints, which a squash leaves in the owner's storage.

    Returns the newest commit. A Hub that refuses is no failure: the checkpoint is there, and the next one tries again.
    """
    api = client(account.token)
    with suppress(UserError), errors_explained(repo_id):
        api.super_squash_history(repo_id, commit_message="The newest checkpoint")
        info = api.model_info(repo_id, files_metadata=True)
        commit = info.sha or commit
        names, hashes = sizes_of(info), {file.lfs.sha256 for file in info.siblings or [] if file.lfs}
        older = [
            file
            for file in api.list_lfs_files(repo_id)
            if file.filename.startswith("checkpoints/")
            and file.filename not in names
            and hashes.isdisjoint((file.file_oid, file.oid))
        ]
        api.permanently_delete_lfs_files(repo_id, older, rewrite_history=False)
    return commit


def _check_private(repo_id: str, is_private: bool | None) -> None:
    if not is_private:
        raise UserError(
            _("{repo} is public: everyone would see the data.", repo=repo_id), _("Make it private on Hugging Face.")
        )
