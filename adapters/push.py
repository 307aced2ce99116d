"""Pushes an adapter to the Hub: first a plan that says what would change, then one commit that holds everything.

One commit, because a repository is then never half of an adapter: until it arrives, the old state is what everybody sees.
Private unless wished otherwise, and the Hub is asked again whether it is before anything can be seen; in the account that
the Hub gives for the token, and in no other.
"""

import math
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from adapters.download import is_same
from adapters.hub import Account, client, in_words
from adapters.library import Adapter, read_adapter, update_record
from adapters.parcel import Wish, make_parcel
from adapters.source import check_source
from common.errors import UserError
from common.files import sweep
from common.paths import home

Progress = Callable[[str, float | None], None]  # (what is done, fraction from 0 to 1 or None)
WHOLE_MODEL = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "consolidated.00.pth")


@dataclass(frozen=True)
class PlannedFile:
    """One file of the push: its size in bytes and what it does there: 'new', 'changed' or 'same'."""

    path: str
    size: int
    change: str


@dataclass(frozen=True)
class PushPlan:
    """What a push would do. `parent` is the commit that it was compared with, None for a new repository.

    `is_less_public` tells that everybody was to see it, but the repository that is there is private.
    """

    repo_id: str
    private: bool
    parent: str | None
    files: list[PlannedFile]
    kept: list[str] = field(default_factory=list)
    is_less_public: bool = False

    @property
    def is_new(self) -> bool:
        return self.parent is None

    @property
    def changes(self) -> list[PlannedFile]:
        return [file for file in self.files if file.change != "same"]

    def sentence(self) -> str:
        """The plan in words."""
        secrecy = "private" if self.private else "public"
        if self.is_new:
            return (
                f"Makes the {secrecy} repository {self.repo_id} with {len(self.files)} files, {_megabytes(self.files)}."
            )
        if not self.changes:
            return f"{self.repo_id} ({secrecy}) holds all of this already: nothing would change."
        count = f"{len(self.changes)} file{'s' * (len(self.changes) != 1)}"
        stays = " and stays so: who may see it is changed on the Hub" if self.is_less_public else ""
        return f"Changes {count} ({_megabytes(self.changes)}) of {self.repo_id}, which is {secrecy}{stays}."


@dataclass(frozen=True)
class Pushed:
    """Where the adapter is now. `changed` is False when everything was there already."""

    repo_id: str
    url: str
    revision: str
    private: bool
    changed: bool


def plan_push(adapter: Adapter, account: Account, wish: Wish) -> PushPlan:
    """Compare what would be sent with what is there. Sends nothing. Raises UserError."""
    with _parcel(adapter, account, wish) as (repo_id, folder, names):
        plan = _compare(repo_id, folder, names, account, wish)
    check_source(adapter, plan.private)
    return plan


def push_adapter(
    adapter: Adapter,
    account: Account,
    wish: Wish,
    parent: str | None = None,
    progress: Progress = lambda what, fraction: None,
) -> Pushed:
    """Push, and return where it is. `parent` is the commit of the plan that was agreed to; anything newer is refused.

    With `wish.private` nothing is sent to a repository that others may see: pass what the plan said.

    Raises UserError that says what is on the Hub afterwards. It can be repeated: what is there already is not sent again.
    """
    progress("Preparing what is sent, and looking it through", 0.02)
    with _parcel(adapter, account, wish) as (repo_id, folder, names):
        plan = _compare(repo_id, folder, names, account, wish)
        check_source(adapter, plan.private)
        if plan.changes and plan.parent and plan.parent != parent and _is_somebodys(plan):
            raise UserError(
                f"{repo_id} is there already, and not as you saw it.", "Look at what would change, then push."
            )
        revision = _send(plan, folder, account, progress) if plan.changes else plan.parent
    assert revision  # nothing changes only where there is a commit
    progress("Done", 1.0)
    pushed = Pushed(repo_id, f"{client(False).endpoint}/{repo_id}", revision, plan.private, bool(plan.changes))
    entry = {"repo_id": repo_id, "url": pushed.url, "revision": revision, "time": time.time(), "private": plan.private}
    others = [one for one in read_adapter(adapter.folder).pushed if one.get("repo_id") != repo_id]
    update_record(adapter.folder, pushed=[*others, entry])
    return pushed


@contextmanager
def _parcel(adapter: Adapter, account: Account, wish: Wish):
    """(repository id, folder, names): what is sent, in a folder that is gone afterwards."""
    repo_id = repository_of(adapter, account, wish)
    (home() / "sending").mkdir(parents=True, exist_ok=True)
    sweep(*(home() / "sending").iterdir())
    with tempfile.TemporaryDirectory(dir=home() / "sending") as temporary:
        yield repo_id, Path(temporary), make_parcel(adapter, repo_id, wish, Path(temporary), account.token)


def repository_of(adapter: Adapter, account: Account, wish: Wish) -> str:
    """owner/name in the account, or in an organisation that it belongs to. Raises UserError for a name that is none."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    owner, _, name = (wish.repo_name or adapter.name).strip().rpartition("/")
    owner = owner or account.name
    if owner != account.name and owner not in account.orgs:
        raise UserError(f"{account.name} cannot push to {owner[:60]}.", "Choose your own account or your organisation.")
    try:
        validate_repo_id(f"{owner}/{name}")
    except HFValidationError as error:
        raise UserError(
            f"'{name[:100]}' is no name for a repository.", "Use letters, digits, '-', '_' and '.'."
        ) from error
    return f"{owner}/{name}"


def _check_privacy(repo_id: str, is_private: bool, wish_private: bool) -> None:
    if wish_private and not is_private:
        raise UserError(
            f"{repo_id} is public: everybody would see the adapter.", "Agree to public, or choose another name."
        )


def _compare(repo_id: str, folder: Path, names: list[str], account: Account, wish: Wish) -> PushPlan:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    sizes = {name: (folder / name).stat().st_size for name in names}
    with in_words("look at the repository", repo_id):
        try:
            info = client(account.token).model_info(repo_id, files_metadata=True)
        except RepositoryNotFoundError as error:
            if isinstance(error, GatedRepoError):
                raise
            return PushPlan(repo_id, wish.private, None, [PlannedFile(name, sizes[name], "new") for name in names])
    there = {file.rfilename: file for file in info.siblings or []}
    if any(name in there for name in WHOLE_MODEL):
        raise UserError(f"{repo_id} holds a whole model.", "An adapter beside it would hide it. Choose another name.")
    _check_privacy(repo_id, bool(info.private), wish.private)
    files = [PlannedFile(name, sizes[name], _change(folder / name, there.get(name))) for name in names]
    kept = sorted(set(there) - set(names))
    is_less_public = bool(info.private) and not wish.private
    return PushPlan(repo_id, bool(info.private), info.sha, files, kept, is_less_public)


def _change(path: Path, remote) -> str:
    """'new', 'changed' or 'same'."""
    if remote is None:
        return "new"
    return "same" if is_same(path, remote) else "changed"


def _send(plan: PushPlan, folder: Path, account: Account, progress: Progress) -> str:
    """Make the repository when it is new, upload, commit once. Returns the commit. Raises UserError with what is there."""
    from huggingface_hub import CommitOperationAdd

    api = client(account.token)
    if plan.is_new:
        progress(f"Making the repository {plan.repo_id}", 0.05)
        with in_words("make a repository", plan.repo_id):
            api.create_repo(plan.repo_id, private=plan.private, exist_ok=True)
    additions = [CommitOperationAdd(file.path, folder / file.path) for file in plan.changes]
    try:
        with in_words("write", plan.repo_id):
            _check_privacy(plan.repo_id, bool(api.model_info(plan.repo_id).private), plan.private)
            _upload(api, plan, additions, progress)
            progress("Publishing all of it in one commit", 0.95)
            message = "Add the adapter" if plan.is_new else "Update the adapter"
            _check_privacy(plan.repo_id, bool(api.model_info(plan.repo_id).private), plan.private)
            done = api.create_commit(plan.repo_id, additions, commit_message=message, parent_commit=plan.parent)
        return done.oid
    except UserError as error:
        return _after_failure(error, plan, folder, account)


def _upload(api, plan: PushPlan, additions: list, progress: Progress) -> None:
    """Send the large files one by one; small ones travel inside the commit."""
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # they would be written between our own lines
    total = sum(file.size for file in plan.changes) or 1
    sent = 0
    for addition, file in zip(additions, plan.changes, strict=True):
        progress(f"Sending {file.path}, {sent / 1e6:.1f} of {total / 1e6:.1f} MB", 0.1 + 0.8 * sent / total)
        api.preupload_lfs_files(plan.repo_id, [addition], free_memory=False)
        sent += file.size


def _after_failure(error: UserError, plan: PushPlan, folder: Path, account: Account) -> str:
    """The commit when it arrived although its answer did not; else raise what is on the Hub now."""
    try:
        now = _compare(plan.repo_id, folder, [file.path for file in plan.files], account, Wish(private=False))
    except UserError:
        raise UserError(
            f"{error} The Hub cannot be asked what it has.", "Push again: it goes on from there."
        ) from error
    if now.parent and not now.changes:
        return now.parent
    if plan.is_new and now.parent:
        state = f"{plan.repo_id} is there, without the adapter."
    else:
        state = "Nothing was made on the Hub." if plan.is_new else f"{plan.repo_id} is as it was."
    raise UserError(str(error), f"{state} Pushing again goes on from there.") from error


def _megabytes(files: list[PlannedFile]) -> str:
    return f"{max(0.1, math.fsum(file.size for file in files) / 1e6):.1f} MB"


def _is_somebodys(plan: PushPlan) -> bool:
    """True for a repository that holds more than the Hub's own first file, as one does that an interrupted push made."""
    return any(file.change != "new" for file in plan.files) or bool(set(plan.kept) - {".gitattributes"})
