"""The folders of all data under one root (`STUDIO_HOME`), never beside the code.

STUDIO_HOME/runs/<owner>/<id>/         one training run
STUDIO_HOME/adapters/<owner>/<name>/   one finished adapter
STUDIO_HOME/datasets/<owner>/<name>.jsonl   rows of what a person said of answers in the chat
STUDIO_HOME/testsets/<owner>/<id>/     questions on which models are compared
STUDIO_HOME/evaluations/<owner>/<id>/  one evaluation
STUDIO_HOME/experiments/<owner>/<id>/  one experiment
STUDIO_HOME/making/<owner>/<id>/       rows that a teacher made, and what they were made from
STUDIO_HOME/trash/<owner>/<name>.<ns>/      an adapter that was deleted, for a while
STUDIO_HOME/trackio/<owner>/           trackio's database of the runs that were sent to it
STUDIO_HOME/keys/<hash>.json           the owner of a key of the interface for programs
STUDIO_HOME/bases/                     the embedded base, laid out like a Hub cache
STUDIO_HOME/temporary/                 uploads and downloads, the only folder that the page serves; nothing stays for long
"""

import os
import re
import shutil
import stat
import sys
import tempfile
import time
import unicodedata
from pathlib import Path
from typing import TypeGuard

from common import volume
from common.errors import UserError
from common.language import _

REPOSITORY = Path(__file__).resolve().parents[1]
LOCAL_OWNER = "local"
# of an owner whom only a key in a browser tells from others: anybody makes as many as they like
GUEST_PREFIX = "guest-"
MAX_TEMPORARY_SECONDS = 86400
MAX_DOWNLOAD_FOLDERS = 5  # of one owner; the page serves copies of what is in them
MAX_TITLE_CHARACTERS = 100
HANGUL = "HANGUL SYLLABLE "  # what the Unicode name of each begins with; its sound in Latin letters follows
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


def home() -> Path:
    """Return the root of all data: `STUDIO_HOME`, else on a Space a volume that can hold it, else the user's data folder."""
    if os.environ.get("STUDIO_HOME"):
        return Path(os.environ["STUDIO_HOME"]).expanduser().resolve()
    if volume.is_mounted() and volume.problem_of(volume.MOUNT) is None:
        return volume.MOUNT / "tinyllama-studio"
    if sys.platform == "darwin":
        folder = Path.home() / "Library" / "Application Support"
    elif sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        folder = Path(os.environ["LOCALAPPDATA"])
    else:
        folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return folder / "tinyllama-studio"


def check_home() -> None:
    """Raise UserError when something that is no folder is where the data should be."""
    if home().exists() and not home().is_dir():
        raise UserError(_("'{path}' is a file, not a folder.", path=str(home())), _("Set STUDIO_HOME to a folder."))


def runs_folder(owner: str = LOCAL_OWNER) -> Path:
    """Return the folder of the runs of `owner`. Raises UserError for an owner that is no plain name."""
    return contained(home() / "runs", owner)


def adapters_folder(owner: str = LOCAL_OWNER) -> Path:
    """Return the folder of the adapters of `owner`. Raises UserError for an owner that is no plain name."""
    return contained(home() / "adapters", owner)


def datasets_folder(owner: str = LOCAL_OWNER) -> Path:
    """Return the folder of the data sets of `owner`. Raises UserError for an owner that is no plain name."""
    return contained(home() / "datasets", owner)


def test_sets_folder(owner: str = LOCAL_OWNER) -> Path:
    """Return the folder of the test sets of `owner`. Raises UserError for an owner that is no plain name."""
    return contained(home() / "testsets", owner)


def evaluations_folder(owner: str = LOCAL_OWNER) -> Path:
    """Return the folder of the evaluations of `owner`. Raises UserError for an owner that is no plain name."""
    return contained(home() / "evaluations", owner)


def experiments_folder(owner: str = LOCAL_OWNER) -> Path:
    """Return the folder of the experiments of `owner`. Raises UserError for an owner that is no plain name."""
    return contained(home() / "experiments", owner)


def making_folder(owner: str = LOCAL_OWNER) -> Path:
    """Return the folder of the made sets of `owner`. Raises UserError for an owner that is no plain name."""
    return contained(home() / "making", owner)


def trash_folder(owner: str = LOCAL_OWNER) -> Path:
    """Return where the adapters of `owner` lie that were deleted."""
    return contained(home() / "trash", owner)


def bases_folder() -> Path:
    """Return the folder of the embedded base, laid out like a Hub cache."""
    return home() / "bases"


def keys_folder() -> Path:
    """Return the folder of the API keys, of which only the hashes are kept."""
    return home() / "keys"


def data_folders() -> list[Path]:
    """Return the folders that the page never serves to anybody."""
    names = (
        "runs",
        "adapters",
        "datasets",
        "testsets",
        "evaluations",
        "experiments",
        "making",
        "trackio",
        "trash",
        "bases",
        "keys",
    )
    return [home() / name for name in names]


def temporary_folder() -> Path:
    """Make STUDIO_HOME/temporary for this user alone and return it. Raises UserError for a link or another user's folder."""
    folder = home() / "temporary"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or (hasattr(os, "getuid") and found.st_uid != os.getuid()):
        raise UserError(
            _("{folder} is a link, or belongs to another user.", folder=str(folder)),
            _("Remove it, then start again."),
        )
    if found.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def new_download_folder(owner: str) -> Path:
    """Make an empty folder for downloads of `owner`; keep only the newest few of theirs."""
    prefix = f"download-{contained(home(), owner).name}-"
    old = sorted(temporary_folder().glob(f"{prefix}????????"), key=lambda path: path.lstat().st_mtime)
    for path in old[: -MAX_DOWNLOAD_FOLDERS + 1]:
        shutil.rmtree(path, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=temporary_folder(), prefix=prefix))


def remove_old_files(seconds: float = MAX_TEMPORARY_SECONDS) -> None:
    """Remove what has lain in the temporary folder for longer than `seconds`."""
    for path in temporary_folder().iterdir():
        try:
            if time.time() - path.lstat().st_mtime > seconds:
                path.unlink() if path.is_symlink() or path.is_file() else shutil.rmtree(path)
        except OSError:  # it is being written or removed at this moment
            continue


def is_name(text: object) -> TypeGuard[str]:
    """Return whether `text` is a plain name of a folder, as `contained` asks for."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def contained(root: Path, *names: str) -> Path:
    """Return `root/names...` with links resolved. Raises UserError for an invalid name, or one that leads out of `root`."""
    for name in names:
        if not is_name(name):
            raise UserError(
                _("'{name}' is not a valid name.", name=str(name)[:80]),
                _("Use lowercase letters, digits, '.', '_' and '-'."),
            )
    root = root.resolve()
    path = root.joinpath(*names).resolve()
    if not path.is_relative_to(root):
        raise UserError(_("'{path}' is outside the data folder.", path="/".join(names)[:80]))
    return path


def as_title(text: str) -> str:
    """Return a name as a person typed it, on one line, without control characters; "" when nothing is left."""
    printable = "".join(one if one.isprintable() else " " for one in text[: 10 * MAX_TITLE_CHARACTERS])
    return " ".join(printable.split())[:MAX_TITLE_CHARACTERS].strip()


def slug(title: str) -> str:
    """Make a folder name of a title: ASCII in lower case, digits, '-', at most 60 characters; 'run' when nothing is left.

    Hangul is romanised and accents are dropped: the same name stands on the Hub, in jobs and in shells, which take no more.
    """
    composed = unicodedata.normalize("NFC", title[:1000])
    names = [(one, unicodedata.name(one, "")) for one in composed]
    latin = "".join(name.removeprefix(HANGUL).lower() if name.startswith(HANGUL) else one for one, name in names)
    bare = "".join(one for one in unicodedata.normalize("NFKD", latin) if not unicodedata.combining(one))
    return re.sub(r"[^a-z0-9]+", "-", bare.lower()).strip("-")[:60].strip("-") or "run"


def free_name(wanted: str, *folders: Path) -> str:
    """Return the first of `wanted`, `wanted-2`, `wanted-3`, ... that exists in none of `folders`."""
    name, number = wanted, 1
    while any((folder / name).exists() or (folder / f"{name}.partial").exists() for folder in folders):
        number += 1
        name = f"{wanted}-{number}"
    return name
