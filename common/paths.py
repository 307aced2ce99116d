"""Where data lives: one root (`STUDIO_HOME`), never beside the code. Knows names of folders, not what is in them.

STUDIO_HOME/runs/<owner>/<id>/         one training run
STUDIO_HOME/adapters/<owner>/<name>/   one finished adapter
STUDIO_HOME/datasets/<owner>/<name>.jsonl   rows that a person made in the chat
STUDIO_HOME/bases/                     the embedded base, laid out like a Hub cache
"""

import os
import re
import sys
from pathlib import Path

from common.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[1]
LOCAL_OWNER = "local"
GUEST_PREFIX = (
    "guest-"  # of an owner whom only a key in a browser tells from others: anybody makes as many as they like
)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")


def home() -> Path:
    """The root of all data: `STUDIO_HOME`, else a writable mounted volume on a Space, else the user's data folder."""
    if os.environ.get("STUDIO_HOME"):
        return Path(os.environ["STUDIO_HOME"]).expanduser().resolve()
    if os.environ.get("SPACE_ID") and os.path.ismount("/data") and os.access("/data", os.W_OK):
        return Path("/data/tinyllama-studio")
    return _user_data_folder() / "tinyllama-studio"


def check_home() -> None:
    """Raise UserError when something that is no folder is where the data should be."""
    if home().exists() and not home().is_dir():
        raise UserError(f"'{home()}' is a file, not a folder.", "Set STUDIO_HOME to a folder.")


def _user_data_folder() -> Path:
    """The platform's folder for a user's data: XDG on Linux, Application Support on macOS, LOCALAPPDATA on Windows."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"])
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def runs_folder(owner: str = LOCAL_OWNER) -> Path:
    return contained(home() / "runs", owner)


def adapters_folder(owner: str = LOCAL_OWNER) -> Path:
    return contained(home() / "adapters", owner)


def datasets_folder(owner: str = LOCAL_OWNER) -> Path:
    return contained(home() / "datasets", owner)


def bases_folder() -> Path:
    return home() / "bases"


def is_name(text: object) -> bool:
    """True for a plain name of a folder, as `contained` asks for; what a program sends may be no text at all."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None


def contained(root: Path, *names: str) -> Path:
    """`root/names...` with every name checked and links resolved. Raises UserError when the result would leave `root`."""
    for name in names:
        if not is_name(name):
            raise UserError(f"'{str(name)[:80]}' is not a valid name.", "Use letters, digits, '.', '_' and '-'.")
    root = root.resolve()
    path = root.joinpath(*names).resolve()
    if not path.is_relative_to(root):
        raise UserError(f"'{'/'.join(names)[:80]}' is outside of the data folder.")
    return path


def slug(text: str) -> str:
    """A folder name made of `text`: lower case, digits, '-', at most 60 characters; 'run' when nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", text[:1000].lower()).strip("-")[:60].strip("-") or "run"


def free_name(wanted: str, *folders: Path) -> str:
    """`wanted`, or `wanted-2`, `wanted-3`, ... : the first that exists in none of `folders`."""
    name, number = wanted, 1
    while any((folder / name).exists() or (folder / f"{name}.partial").exists() for folder in folders):
        number += 1
        name = f"{wanted}-{number}"
    return name
