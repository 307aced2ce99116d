"""Keeps what was deleted for some time: each deletion is a folder in the owner's trash, and can be undone.

TRASH/<name>.<nanoseconds since 1970>/<part>/     what was deleted, in one part or more
"""

import errno
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.language import _


@dataclass(frozen=True)
class Deletion:
    """One deletion: the folder that holds its parts, the name that it had, and when it was deleted (seconds since 1970)."""

    folder: Path
    name: str
    time: float

    @property
    def entry(self) -> str:
        """Return the name of the folder in the trash: unique, unlike the name of what was deleted."""
        return self.folder.name


def move_to_trash(trash: Path, name: str, **parts: Path) -> Deletion:
    """Move the folders `parts` to the trash, in this order, as one deletion. Raises UserError when one is gone."""
    moment = time.time_ns()
    folder = trash / f"{name}.{moment}"
    folder.mkdir(parents=True)
    try:
        for part, path in parts.items():
            path.rename(folder / part)
    except FileNotFoundError as error:
        with suppress(OSError):  # holds what came before
            folder.rmdir()
        raise UserError(_("'{name}' is gone.", name=name), _("It was deleted or renamed just now.")) from error
    return Deletion(folder, name, moment / 1e9)


def list_trash(trash: Path) -> list[Deletion]:
    """Return the deletions that can be undone, the last first."""
    found = []
    for folder in trash.glob("*.*"):
        name, _, moment = folder.name.rpartition(".")
        with suppress(OSError):  # taken back or removed for good meanwhile; or no folder of ours
            # empty: a program was killed in the middle
            if moment.isascii() and moment.isdigit() and not folder.is_symlink() and any(folder.iterdir()):
                found.append(Deletion(folder, name, int(moment) / 1e9))
    return sorted(found, key=lambda one: one.time, reverse=True)


def find_in_trash(trash: Path, wanted: str) -> Deletion:
    """Return the deletion with the entry or the name `wanted`, of several the last. Raises UserError when there is none."""
    for one in list_trash(trash):
        if wanted in (one.entry, one.name):
            return one
    raise UserError(_("'{name}' cannot be restored.", name=wanted[:80]), _("It was not deleted, or too long ago."))


def take_back(deletion: Deletion, part: str, target: Path) -> None:
    """Move a part of a deletion to `target`. Raises UserError when somebody else took it, or `target`, at this moment."""
    try:
        (deletion.folder / part).rename(target)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY):
            raise UserError(
                _("'{name}' was restored just now.", name=deletion.name), _("It is in the list again.")
            ) from error
        raise


def empty_trash(trash: Path, max_seconds: float, max_entries: int | None = None) -> None:
    """Remove for good what was deleted more than `max_seconds` ago, and all but the last `max_entries`."""
    for place, one in enumerate(list_trash(trash)):
        if time.time() - one.time > max_seconds or (max_entries is not None and place >= max_entries):
            shutil.rmtree(one.folder, ignore_errors=True)
