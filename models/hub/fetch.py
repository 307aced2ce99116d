"""Downloads a repository's files into the Hub's cache in a child process, so that it can be stopped at once.

    python -m models.hub.fetch MODEL_ID COMMIT '["*.safetensors"]'      one JSON object a line: {"bytes": n}, then
                                                                       {"folder": ...} or {"error": [message, hint]}

huggingface_hub 2.4 downloads in threads of Rust and Python that only the end of their process stops. Complete files stay for the
next time; incomplete ones are removed, since the library never resumes them. Tokens are never sent.
"""

import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from common.child import run_child
from common.errors import UserError
from common.language import _, joined, packed, unpacked
from models.hub.errors import client_environment, errors_explained

Progress = Callable[[str, float | None], None]  # (what is done, fraction from 0 to 1 or None)
SECRET_WORDS = ("TOKEN", "SECRET", "PASSWORD", "KEY")  # in the names of variables that no download needs
KEPT = _("Complete files are kept.")


def download(
    model_id: str, commit: str | None, patterns: list[str], progress: Progress, stop: threading.Event | None = None
) -> Path:
    """Return the folder with the files of a repository that match `patterns`, downloaded by a child process.

    Setting `stop` ends it. Raises UserError when it failed or was stopped; complete files are kept.
    """
    total, told = size_of(model_id, commit, patterns), {}

    def watch(lines: list[str]) -> None:
        if stop and stop.is_set() and "folder" not in told:
            raise UserError(_("The download of {model} was stopped.", model=model_id), KEPT)
        for line in lines:
            told.update(json.loads(line) if line.startswith("{") else {})
            if "bytes" in told and total:
                words = _(
                    "Downloading {model}: {done:.0f} of {total:.0f} MB",
                    model=model_id,
                    done=told["bytes"] / 1e6,
                    total=total / 1e6,
                )
                progress(words, min(1.0, told["bytes"] / total))

    without_tokens = {
        name: value for name, value in os.environ.items() if not any(word in name for word in SECRET_WORDS)
    }
    with tempfile.TemporaryFile() as log:
        try:
            arguments = ["models.hub.fetch", model_id, commit or "main", json.dumps(patterns)]
            run_child(arguments, without_tokens | client_environment(), log, watch)
        finally:
            if "folder" not in told:
                remove_halves(model_id)
        if "error" in told:
            message, hint = unpacked(told["error"])
            raise UserError(message, joined([hint, KEPT]))
        if "folder" not in told:
            log.seek(0)
            line = (log.read().decode(errors="replace").strip().splitlines() or [_("no reason given")])[-1][:200]
            words = _("The download of {model} was interrupted ({reason}).", model=model_id, reason=line.rstrip("."))
            raise UserError(words, joined([_("Start again."), KEPT]))
    return Path(told["folder"])


def remove_halves(model_id: str) -> None:
    """Remove the incomplete files of downloads of this repository that are not going on: those whose lock is free."""
    from filelock import FileLock, Timeout
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    name = repo_folder_name(repo_id=model_id, repo_type="model")
    cache = Path(constants.HF_HUB_CACHE)
    for half in (cache / name / "blobs").glob("*.incomplete"):
        try:
            with FileLock(cache / ".locks" / name / f"{half.name.split('.')[0]}.lock", timeout=0):
                half.unlink(missing_ok=True)
        except (Timeout, OSError, NotImplementedError):
            continue  # somebody downloads it just now


def size_of(model_id: str, commit: str | None, patterns: list[str]) -> int:
    """Return the bytes to download, by the repository's list of files. Raises UserError when the Hub does not give it."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects

    with errors_explained(model_id, has_token=False):
        tree = HfApi(token=False).list_repo_tree(model_id, revision=commit, recursive=True)
        sizes = {entry.path: getattr(entry, "size", 0) for entry in tree}
    return sum(sizes[path] for path in filter_repo_objects(sizes, allow_patterns=patterns))


def _bar():
    """Return a tqdm class for snapshot_download that prints the bytes downloaded, at most once a second."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **{**kwargs, "disable": False, "mininterval": 1.0})

        def display(self, *args, **kwargs) -> None:
            # of its three bars, the one of bytes written; the others count files and network traffic
            if self.unit == "B" and (self.desc or "").startswith("Reconstruct"):
                print(json.dumps({"bytes": self.n}), flush=True)

    return Bar


def main(model_id: str, commit: str, patterns: str) -> None:
    """Download in this process; print progress and the folder, or the error, as JSON lines."""
    from huggingface_hub import snapshot_download

    try:
        with errors_explained(model_id, has_token=False):
            folder = snapshot_download(
                model_id, revision=commit, allow_patterns=json.loads(patterns), token=False, tqdm_class=_bar()
            )
    except UserError as error:
        print(json.dumps({"error": packed([error.message, error.hint])}), flush=True)
        sys.exit(1)
    print(json.dumps({"folder": folder}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
