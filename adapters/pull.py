"""Pulls an adapter from the Hub: first an offer (base, size, who may see it), then a download that is published by rename.

What one person may read is never shown to another: every look and every load asks the Hub with the person's own token
(auth_check). The commit that was offered is downloaded, whatever changed in the repository since.
"""

import json
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.intake import Imported, accept, check_room, left_out_note, staged
from adapters.library import CONFIG, WEIGHTS, Adapter, find_adapter, read_adapter
from adapters.named_base import NamedBase, look_at_base
from adapters.origin import Origin
from adapters.trust.check import FILES, PICKLES, max_bytes
from adapters.trust.folders import choose_folder, initial_folder, parent_of
from adapters.trust.plain import INITIAL, plain_config, takes_from_base
from common.errors import MAKE_ROOM, UserError
from common.files import publish
from common.language import Sentence, _, joined
from common.paths import LOCAL_OWNER, home
from common.visitors import is_visitor
from models.hub.client import Token, account_of, client, errors_explained, parse_address, parse_folder
from models.hub.fetch import Progress
from models.hub.transfer import fetch, fetch_all

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

MAX_SEARCH_CHARACTERS = 200
MAX_FOUND = 30
NOT_DOWNLOADED = _("Nothing was downloaded.")
SPARE_DISK_BYTES = 100_000_000
DOWNLOADED = ".downloaded"  # of a staged adapter: the files as they come, in the folders of their repository


@dataclass(frozen=True)
class Offer:
    """An adapter in a repository, or in a folder of it, before it is downloaded.

    `revision` is a commit. `files` are the names it will have, with sizes in bytes; `remote` those of the Hub, with hashes, and
    `initial` the weights that its training began with, where it needs them. `named` is the base that a person named, "" for
    the one in its files; `found` is what became of either.
    """

    repo_id: str
    revision: str
    found: NamedBase
    files: dict[str, int]
    is_public: bool
    left_out: list[str]
    remote: "list[RepoSibling]" = field(default_factory=list, repr=False)
    folder: str = ""
    initial: "RepoSibling | None" = field(default=None, repr=False)
    named: str = ""

    @property
    def base(self) -> str:
        """Return the id of its base, "" while that cannot be had."""
        return "" if self.found.problem else self.found.config["base_model_name_or_path"]

    @property
    def size_bytes(self) -> int:
        """Return the size of all files."""
        return sum(self.files.values()) + (self.initial.size or 0 if self.initial else 0)

    @property
    def place(self) -> str:
        """Return the repository, with the folder in it where there is one."""
        return f"{self.repo_id}/{self.folder}" if self.folder else self.repo_id

    def sentence(self) -> Sentence:
        """Return the offer in words."""
        values = {
            "place": self.place,
            "secrecy": _("public") if self.is_public else _("not public"),
            "rank": self.found.config["r"],
            "size": self.size_bytes / 1e6,
        }
        if not self.base:
            return _("{place} ({secrecy}) is a LoRA of rank {rank}, {size:.1f} MB.", **values)
        words = _("{place} ({secrecy}) is a LoRA of rank {rank} for {base}, {size:.1f} MB.", base=self.base, **values)
        stored = self.found.shape.stored_in if self.found.shape else ""
        return joined([words, _("Its base's weights are {bits}-bit.", bits=stored[0]) if stored else ""])


def look(wanted: str, token: Token, revision: str | None = None, subfolder: str = "", base: str = "") -> Offer:
    """Return the adapter at `wanted` (see `parse_address`) that `token` may read: in `subfolder`, else the topmost.

    `base` is the base that a person names for it. One that cannot be had is a problem of the offer, which is then not pulled.
    Raises UserError; SeveralAdapters where somebody has to choose.
    """
    address = parse_address(wanted)
    repo_id, api = address.repo_id, client(token)
    with errors_explained(repo_id):
        api.auth_check(repo_id)
        info = api.model_info(repo_id, revision=revision or address.revision, files_metadata=True)
    remote = {file.rfilename: file for file in info.siblings or []}
    folder = _find(remote, parse_folder(subfolder) or address.folder, repo_id)
    inside = {name.rpartition("/")[2]: file for name, file in remote.items() if parent_of(name) == folder}
    place = f"{repo_id}/{folder}" if folder else repo_id
    if WEIGHTS not in inside:
        pickled = next((name for name in inside if name.endswith(PICKLES)), None)
        words = (
            _("The weights of {place} are in {file}, which can run code.", place=place, file=pickled)
            if pickled
            else _("{place} has no {file}.", place=place, file=WEIGHTS)
        )
        raise UserError(words, _("Only {weights} is loaded.", weights=WEIGHTS))
    config = _config_of(repo_id, info.sha, inside[CONFIG], token)
    initial = initial_folder(remote, folder) if takes_from_base(config) else None
    needed = None if initial is None else remote[f"{initial}/{WEIGHTS}"]
    files = {name: file for name, file in inside.items() if name in FILES}
    for file in [*files.values(), *([needed] if needed else [])]:
        if (file.size or 0) > max_bytes(file.rfilename.rpartition("/")[2]):
            values = {"file": file.rfilename, "repo": repo_id, "size": (file.size or 0) / 1e6}
            words = _("{file} of {repo} is {size:.1f} MB, more than any adapter's.", **values)
            raise UserError(words, NOT_DOWNLOADED)
    taken = {file.rfilename for file in files.values()} | ({needed.rfilename} if needed else set())
    return Offer(
        repo_id=repo_id,
        revision=info.sha,
        found=look_at_base(plain_config(config, needed is not None), base),
        files={name: file.size or 0 for name, file in files.items()},
        is_public=not info.private and not info.gated,
        left_out=sorted(set(remote) - taken - {".gitattributes"}),
        remote=list(files.values()),
        folder=folder,
        initial=needed,
        named=base,
    )


def _find(remote: "dict[str, RepoSibling]", wanted: str, repo_id: str) -> str:
    """Return the folder of the adapter among the files of a repository. Raises UserError for a repository without one."""
    if not wanted and not any(name.rpartition("/")[2] == CONFIG for name in remote):
        values = {"repo": repo_id, "config": CONFIG}
        words = (
            _("{repo} is a whole model: it has no {config}.", **values)
            if "config.json" in remote
            else _("{repo} is not an adapter: it has no {config}.", **values)
        )
        raise UserError(words, _("Choose a LoRA adapter."))
    return choose_folder(remote.keys(), wanted, repo_id)


def _config_of(repo_id: str, revision: str, file: "RepoSibling", token: Token) -> dict[str, Any]:
    """Return the adapter_config.json, fetched into a temporary folder."""
    home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home()) as folder:
        try:
            value = json.loads(fetch(repo_id, file, revision, Path(folder), token).read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            words = _("{file} of {repo} is damaged.", file=CONFIG, repo=repo_id)
            raise UserError(words, NOT_DOWNLOADED) from error
    if not isinstance(value, dict):
        raise UserError(_("{file} of {repo} does not hold a JSON object.", file=CONFIG, repo=repo_id), NOT_DOWNLOADED)
    return value


def pull(
    offer: Offer,
    token: Token,
    owner: str = LOCAL_OWNER,
    name: str = "",
    progress: Progress = lambda what, fraction: None,
) -> Imported:
    """Download an offer into the library of `owner`, check it, and publish it by rename.

    Raises UserError, leaving nothing. Access is checked again, because it may have changed since the offer was made.
    """
    if offer.found.problem:
        raise offer.found.problem
    total = offer.size_bytes
    home().mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(home()).free < 2 * total + SPARE_DISK_BYTES:
        words = _(
            "{repo} needs {size:.0f} MB, and there is too little free disk space.", repo=offer.repo_id, size=total / 1e6
        )
        raise UserError(words, MAKE_ROOM)
    check_room(owner, total)
    default = offer.place.split("/", 1)[1]
    with staged(name or default, owner) as (partial, final):
        with errors_explained(offer.repo_id):
            client(token).auth_check(offer.repo_id)
        files = [*offer.remote, *([offer.initial] if offer.initial else [])]
        place = (offer.repo_id, files, offer.revision, partial / DOWNLOADED, token)
        paths = fetch_all(*place, lambda words, part: progress(words, 0.97 * part))
        for file, path in zip(files, paths, strict=True):
            target = partial / INITIAL / WEIGHTS if file is offer.initial else partial / path.name
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
        shutil.rmtree(partial / DOWNLOADED)
        progress(_("Checking the download"), 0.98)
        by = account_of(token).name if token else ""
        origin = Origin("pulled", offer.place, offer.repo_id, offer.revision, offer.is_public, by, time.time())
        notes = accept(partial, origin, (name, default), offer.named)
        publish(partial, final)
    progress(_("Done"), 1.0)
    notes += [left_out_note(offer.left_out)] if offer.left_out else []
    return Imported(read_adapter(final), notes)


def check_access(adapter: Adapter, token: Token) -> None:
    """Raise UserError unless `token` may still read the repository that `adapter` was pulled from. Call before every load.

    Adapters that were not pulled are never checked; those that were public then, only for visitors. On a laptop without a
    network, files on its disk stay usable.
    """
    origin = adapter.origin
    if origin.kind != "pulled" or (origin.is_public and not is_visitor()):
        return
    try:
        with errors_explained(origin.repo_id):
            client(token).auth_check(origin.repo_id)
    except UserError as error:
        from huggingface_hub.errors import HfHubHTTPError

        if isinstance(error.__cause__, HfHubHTTPError) or is_visitor():
            raise


def open_adapter(name: str, owner: str, token: Token) -> Adapter:
    """Return the adapter of `owner` with this name after `check_access`. Raises UserError."""
    adapter = find_adapter(name, owner)
    check_access(adapter, token)
    return adapter


@dataclass(frozen=True)
class Found:
    """One adapter in the result of a search on the Hub."""

    repo_id: str
    is_private: bool
    downloads: int
    likes: int
    changed: str


def search_hub(token: Token, base: str = "", words: str = "", mine: bool = False, tag: str = "peft") -> list[Found]:
    """Return repositories on the Hub, the most downloaded first: adapters of the base with this id, or one's own.

    Raises UserError.
    """
    if len(words) > MAX_SEARCH_CHARACTERS or len(base) > MAX_SEARCH_CHARACTERS:
        words = _("The search is too long.")
        raise UserError(words, _("At most {most:,} characters are allowed.", most=MAX_SEARCH_CHARACTERS))
    wanted = {
        "filter": [f"base_model:adapter:{base}" if base else tag],
        "author": account_of(token).name if mine else None,
        "search": words or None,
    }
    with errors_explained():
        listed = list(client(token).list_models(**wanted, sort="downloads", limit=MAX_FOUND))
    return [
        Found(
            model.id,
            bool(model.private),
            model.downloads or 0,
            model.likes or 0,
            model.last_modified.date().isoformat() if model.last_modified else "",
        )
        for model in listed
    ]
