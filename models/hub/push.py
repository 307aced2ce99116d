"""Pushes a folder of files to the Hub: first a plan of the changes, then one commit with all of them.

One commit, so that a repository never holds half of an adapter or a dataset. Private unless asked otherwise, and the Hub is asked
again for the repository's visibility before anything is sent; only to the account that the Hub gives for the token, or its
organisations.
"""

import shutil
import tempfile
import weakref
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from common.errors import UserError
from common.files import sweep
from common.language import Sentence, _, english, joined, n_
from common.paths import home
from models.hub.client import Account, client, errors_explained
from models.hub.fetch import Progress
from models.hub.transfer import is_same

RepoType = Literal["model", "dataset", "space"]

AGAIN = _("Push again to continue from there.")
WHOLE_MODEL = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "consolidated.00.pth")
CHANGES = {"new": _("new"), "changed": _("changed"), "same": _("unchanged"), "removed": _("removed")}
CONTENTS: dict[RepoType, Sentence] = {"model": _("the adapter"), "dataset": _("the dataset"), "space": _("the app")}
PLACES: dict[RepoType, str] = {"model": "", "dataset": "datasets/", "space": "spaces/"}  # in addresses
SMALL_BYTES = 1_000_000  # what is smaller is announced to the Hub in one request


@dataclass(frozen=True)
class PlannedFile:
    """One file of a push: its size in bytes, and its change: 'new', 'changed', 'same', or 'removed' from the repository."""

    path: str
    size: int
    change: str


class Changes(NamedTuple):
    """How the files of a push differ from the repository. `parent` is its commit, None for a new one; `kept` stays there."""

    parent: str | None
    private: bool
    files: list[PlannedFile]
    kept: list[str]


@dataclass(frozen=True)
class Pushed:
    """The result of a push. `changed` is False when the repository held everything already."""

    repo_id: str
    url: str
    revision: str
    private: bool
    changed: bool


@dataclass(frozen=True)
class PushPlan:
    """The plan of a push, and the folder with its files, which is removed with the plan.

    `parent` is the commit that it was compared with, None for a new repository; `kept` are its other files, which stay.
    `is_less_public` means that a public push was asked for, but the repository that exists is private. `note` is called with what
    was pushed. `hardware` is that of a new Space, None for the Hub's own choice.
    """

    account: Account
    repo_id: str
    repo_type: RepoType
    folder: Path
    parent: str | None
    private: bool
    files: list[PlannedFile]
    kept: list[str]
    is_less_public: bool
    note: Callable[[Pushed], object]
    hardware: str | None = None

    def __post_init__(self) -> None:
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    @property
    def changes(self) -> list[PlannedFile]:
        """Return the files that are new or changed."""
        return [file for file in self.files if file.change != "same"]

    @property
    def is_new(self) -> bool:
        """Return whether the repository does not exist yet."""
        return self.parent is None

    def sentence(self) -> Sentence:
        """Return the plan in words."""
        values = {"repo": self.repo_id, "secrecy": _("private") if self.private else _("public")}
        if self.is_new:
            return n_(
                "Creates {repo} ({secrecy}) with {count} file, {size:.1f} MB.",
                "Creates {repo} ({secrecy}) with {count} files, {size:.1f} MB.",
                len(self.files),
                size=_megabytes(self.files),
                **values,
            )
        if not self.changes:
            return _("{repo} ({secrecy}) has all of this already: nothing would change.", **values)
        words = n_(
            "Changes {count} file in {repo} ({secrecy}), {size:.1f} MB.",
            "Changes {count} files in {repo} ({secrecy}), {size:.1f} MB.",
            len(self.changes),
            size=_megabytes(self.changes),
            **values,
        )
        return joined([words, _("It stays private: who may see it is set on the Hub.") if self.is_less_public else ""])

    def lines(self) -> list[str]:
        """Return a line for each file: its change, name and size."""
        return [f"  {CHANGES[file.change]:10} {file.path} ({file.size / 1e6:.2f} MB)" for file in self.files]

    def check_agreed(self, parent: str | None) -> None:
        """Raise UserError when the repository is not empty and not at the commit `parent` that the person agreed to."""
        is_somebodys = any(file.change != "new" for file in self.files) or set(self.kept) - {".gitattributes"}
        if self.changes and self.parent and self.parent != parent and is_somebodys:
            raise UserError(
                _("{repo} already exists, and is not as you saw it.", repo=self.repo_id),
                _("Preview the changes, then push."),
            )

    def push(self, progress: Progress = lambda what, fraction: None) -> Pushed:
        """Send the files in one commit; return where they are. It can be repeated: files that are there are not sent again.

        Raises UserError that says what is on the Hub afterwards, and when the repository was changed since it was compared.
        """
        revision = self._send(progress) if self.changes else self.parent
        assert revision  # nothing changes only where there is a commit
        progress(_("Done"), 1.0)
        url = f"{client(False).endpoint}/{PLACES[self.repo_type]}{self.repo_id}"
        pushed = Pushed(self.repo_id, url, revision, self.private, changed=bool(self.changes))
        self.note(pushed)
        return pushed

    def _send(self, progress: Progress) -> str:
        """Make the repository when it is new, upload, commit once. Returns the commit."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        from huggingface_hub.utils import disable_progress_bars

        api, kind = client(self.account.token), self.repo_type
        if self.is_new:
            progress(_("Creating {repo}", repo=self.repo_id), 0.05)
            with errors_explained(self.repo_id):
                space = {"space_sdk": "gradio", "space_hardware": self.hardware} if kind == "space" else {}
                api.create_repo(self.repo_id, repo_type=kind, private=self.private, exist_ok=True, **space)
        sending = [file for file in self.changes if file.change != "removed"]
        additions = [CommitOperationAdd(file.path, self.folder / file.path) for file in sending]
        removals = [CommitOperationDelete(file.path) for file in self.changes if file.change == "removed"]
        disable_progress_bars()  # they would be written between our own lines
        total, sent = sum(file.size for file in self.changes) or 1, 0
        try:
            with errors_explained(self.repo_id):
                self._check_privacy()
                pairs = [*zip(additions, sending, strict=True)]
                small = [pair for pair in pairs if pair[1].size < SMALL_BYTES]  # they travel inside the commit
                for batch in ([small] if small else []) + [[pair] for pair in pairs if pair not in small]:
                    values = {"file": batch[-1][1].path, "done": sent / 1e6, "total": total / 1e6}
                    progress(_("Uploading {file}: {done:.1f} of {total:.1f} MB", **values), 0.1 + 0.8 * sent / total)
                    batched = [addition for addition, _file in batch]
                    api.preupload_lfs_files(self.repo_id, batched, repo_type=kind, free_memory=False)
                    sent += sum(file.size for _addition, file in batch)
                progress(_("Publishing everything in one commit"), 0.95)
                self._check_privacy()
                done = api.create_commit(
                    self.repo_id,
                    [*additions, *removals],
                    commit_message=f"{'Add' if self.is_new else 'Update'} {english(CONTENTS[kind])}",
                    repo_type=kind,
                    parent_commit=self.parent,
                )
            return done.oid
        except UserError as error:
            return self._after_failure(error)

    def _check_privacy(self) -> None:
        """Ask the Hub who may see the repository now. Raises UserError for a public one when it must be private."""
        info = client(self.account.token).repo_info(self.repo_id, repo_type=self.repo_type)
        check_privacy(self.repo_id, self.repo_type, bool(info.private), self.private)

    def _after_failure(self, error: UserError) -> str:
        """Return the commit if it arrived although its answer did not. Raises UserError with the state of the repository."""
        try:
            names = [file.path for file in self.files if file.change != "removed"]
            gone = {file.path for file in self.files} - {*names}
            now = _compare(self.folder, names, self.repo_id, self.repo_type, self.account, False, gone)
        except UserError:
            words = joined([error.message, error.hint, _("What arrived on the Hub is not known.")])
            raise UserError(words, AGAIN) from error
        if now.parent and all(file.change == "same" for file in now.files):
            return now.parent
        state = _("Nothing was created on the Hub.") if self.is_new else _("{repo} is unchanged.", repo=self.repo_id)
        if self.is_new and now.parent:
            state = _("{repo} was created, without {content}.", repo=self.repo_id, content=CONTENTS[self.repo_type])
        raise UserError(joined([error.message, error.hint]), joined([state, AGAIN])) from error


@contextmanager
def sending_folder() -> Generator[Path]:
    """Yield an empty folder for the files of a push. It is removed when something is raised, else with the plan."""
    (home() / "sending").mkdir(parents=True, exist_ok=True)
    sweep(*(home() / "sending").iterdir())
    folder = Path(tempfile.mkdtemp(dir=home() / "sending"))
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def plan_files(
    folder: Path,
    names: list[str],
    repo_id: str,
    repo_type: RepoType,
    account: Account,
    private: bool,
    note: Callable[[Pushed], object] = lambda pushed: None,
    obsolete: Collection[str] = (),
    hardware: str | None = None,
) -> PushPlan:
    """Compare the files `names` of a sending folder with the repository; nothing is sent. A new one would be `private`.

    Those of the names `obsolete` that are in the repository are removed by the push. `hardware` is that of a new Space. Raises
    UserError for a repository that is public when it must be private, or that holds a whole model.
    """
    now = _compare(folder, names, repo_id, repo_type, account, private, obsolete)
    is_less = now.private and not private
    return PushPlan(account, repo_id, repo_type, folder, *now, is_less_public=is_less, note=note, hardware=hardware)


def repository_of(account: Account, wanted: str) -> str:
    """Return owner/name in the account or one of its organisations. Raises UserError for an invalid name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    owner, _slash, name = wanted.strip().rpartition("/")
    owner = owner or account.name
    if owner != account.name and owner not in account.orgs:
        words = _("{account} cannot push to {owner}.", account=account.name, owner=owner[:60])
        raise UserError(words, _("Choose your own account or your organisation."))
    try:
        validate_repo_id(f"{owner}/{name}")
    except HFValidationError as error:
        raise UserError(
            _("'{name}' is not a valid name for a repository.", name=name[:100]),
            _("Use letters, digits, '-', '_' and '.'."),
        ) from error
    return f"{owner}/{name}"


def check_privacy(repo_id: str, repo_type: RepoType, is_private: bool, must_be_private: bool) -> None:
    """Raise UserError for a public repository when it must be private."""
    if must_be_private and not is_private:
        raise UserError(
            _("{repo} is public: everybody would see {content}.", repo=repo_id, content=CONTENTS[repo_type]),
            _("Agree to public, or choose another name."),
        )


def _compare(
    folder: Path,
    names: list[str],
    repo_id: str,
    repo_type: RepoType,
    account: Account,
    private: bool,
    obsolete: Collection[str],
) -> Changes:
    """Compare the files `names` of `folder` with the repository; a new one would be `private`. Raises UserError."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    sizes = {name: (folder / name).stat().st_size for name in names}
    with errors_explained(repo_id):
        try:
            info = client(account.token).repo_info(repo_id, repo_type=repo_type, files_metadata=True)
        except RepositoryNotFoundError as error:
            if isinstance(error, GatedRepoError):
                raise
            return Changes(None, private, [PlannedFile(name, size, "new") for name, size in sizes.items()], [])
    there = {file.rfilename: file for file in info.siblings or []}
    if any(name in there for name in WHOLE_MODEL):
        words = _("{repo} holds a whole model, which an adapter beside it would hide.", repo=repo_id)
        raise UserError(words, _("Choose another name."))
    check_privacy(repo_id, repo_type, bool(info.private), private)
    files = []
    for name, size in sizes.items():
        same = name in there and is_same(folder / name, there[name])
        files.append(PlannedFile(name, size, "same" if same else "changed" if name in there else "new"))
    gone = sorted({*there} & {*obsolete} - {*names})
    files += [PlannedFile(name, there[name].size or 0, "removed") for name in gone]
    return Changes(info.sha, bool(info.private), files, sorted({*there} - {*names, *gone}))


def _megabytes(files: list[PlannedFile]) -> float:
    """Return the size of files in MB, at least 0.1."""
    return max(0.1, sum(file.size for file in files) / 1e6)
