"""Downloads files of the Hub into a folder, within the announced size and with the announced hash.

A repository gives the sizes and hashes of its files; bytes are counted as they come and hashed at the end. Files go into the
owner's own folder, not into the shared cache, from which other visitors could read them.
"""

import hashlib
import io
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.language import _
from common.paths import home
from models.hub.client import Token, client, errors_explained

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

TIMEOUT_SECONDS = 5
MAX_CONFIG_BYTES = 1_000_000


def fetch(
    repo_id: str,
    file: "RepoSibling",
    revision: str,
    folder: Path,
    token: Token,
    progress: Callable[[int], None] = lambda received: None,
    repo_type: str = "model",
) -> Path:
    """Download `file`, one of a `repo_info(files_metadata=True).siblings`; `progress` gets the bytes received so far.

    Raises UserError when the Hub refuses it, or sends more or other bytes than announced.
    """
    from huggingface_hub import hf_hub_download

    said = file.size or 0
    with errors_explained(repo_id):
        path = Path(
            hf_hub_download(
                repo_id,
                file.rfilename,
                repo_type=repo_type,
                revision=revision,
                local_dir=folder,
                token=token or False,
                tqdm_class=_bar(file.rfilename, said, progress),
            )
        )
    if path.stat().st_size != said:
        words = _("{file} of {repo} arrived incomplete.", file=file.rfilename, repo=repo_id)
        raise UserError(words, _("Download it again."))
    if not is_same(path, file):
        words = _("{file} of {repo} is not what the Hub announced.", file=file.rfilename, repo=repo_id)
        raise UserError(words, _("It was not kept."))
    return path


def fetch_all(
    repo_id: str,
    files: Sequence["RepoSibling"],
    revision: str,
    folder: Path,
    token: Token,
    progress: Callable[[str, float], None],
    repo_type: str = "model",
) -> list[Path]:
    """Download one file after the other; `progress` gets words and how much of all of them is here. Raises like `fetch`."""
    paths, done, total = [], 0, sum(file.size or 0 for file in files) or 1
    for file in files:

        def tell(received: int, name: str = file.rfilename, before: int = done) -> None:
            here = before + received
            values = {"file": name, "done": here / 1e6, "total": total / 1e6}
            progress(_("Downloading {file}: {done:.1f} of {total:.1f} MB", **values), here / total)

        tell(0)
        paths.append(fetch(repo_id, file, revision, folder, token, tell, repo_type))
        done += file.size or 0
    return paths


def base_config_of(model_id: str, revision: str | None = None) -> dict[str, Any] | None:
    """Return the config.json of a public base on the Hub; None when it cannot be read, {} when it is no config.

    Raises UserError when the Hub has no such repository or revision. Nothing is kept and no token is sent, because any adapter
    may name any repository as its base.
    """
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home()) as folder:
        try:
            with errors_explained(model_id):  # a look first: a download tries for minutes
                info = client(False).model_info(
                    model_id, revision=revision, files_metadata=True, timeout=TIMEOUT_SECONDS
                )
            file = next((file for file in info.siblings or [] if file.rfilename == "config.json"), None)
            if file is None:
                return None
            if (file.size or 0) > MAX_CONFIG_BYTES:
                return {}
            value = json.loads(fetch(model_id, file, info.sha, Path(folder), False).read_text(encoding="utf-8"))
        except UserError as error:
            is_missing = isinstance(error.__cause__, RepositoryNotFoundError | RevisionNotFoundError)
            if is_missing and not isinstance(error.__cause__, GatedRepoError):
                raise
            return None
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else {}


def is_same(path: Path, remote: "RepoSibling") -> bool:
    """Return True when the file has the hash that the Hub gives: of a large file its SHA-256, else git's own."""
    with open(path, "rb") as file:
        if remote.lfs:
            return hashlib.file_digest(file, "sha256").hexdigest() == remote.lfs.sha256
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
        return hashlib.file_digest(file, lambda: digest).hexdigest() == remote.blob_id


def _bar(name: str, most: int, progress: Callable[[int], None]):
    """Return a tqdm class that calls `progress`, writes nothing, and raises UserError after `most` bytes."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args, **kwargs):
            kwargs.pop("name", None)
            # of Xet's two bars this one counts what goes over the wire, which may be a little more than the file
            self.is_transfer = str(kwargs.get("desc")).endswith(": downloading bytes")
            super().__init__(*args, **{**kwargs, "disable": False, "mininterval": 0.5, "file": io.StringIO()})

        def update(self, n=1):
            shown = super().update(n)
            if self.n > most and not self.is_transfer:
                raise UserError(_("{file} is larger than the Hub announced.", file=name), _("It was not kept."))
            return shown

        def display(self, *args, **kwargs) -> None:
            if not self.is_transfer:
                progress(min(self.n, most))

    return Bar
