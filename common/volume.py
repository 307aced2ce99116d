"""A volume that is mounted into a Space, as a Storage Bucket at /data: does it hold what the app writes, over a restart too.

A bucket is no disk: some mounts only take files that are written once, from their start to their end; then no event could be
appended and no settings replaced. What the app needs is tried, once in a process, in a folder that is removed again.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from mmap import ACCESS_READ, mmap
from pathlib import Path

from common.hosted import on_space
from common.language import Sentence, _, joined

MOUNT = Path("/data")


def is_mounted() -> bool:
    """Return whether this is a Space with a volume at /data."""
    return on_space() and os.path.ismount(MOUNT)


def outlives_restart(folder: Path) -> bool:
    """Return whether what lies in `folder` outlives a restart: on a Space only what is on a mounted volume does."""
    places = [place for place in (folder, *folder.parents) if place != Path(folder.anchor)]
    return not on_space() or any(os.path.ismount(place) for place in places)


def lost_words(home: Path) -> Sentence | None:
    """Return that a restart loses what lies in `home`, and why no volume holds it; None where nothing is lost."""
    if outlives_restart(home):
        return None
    words = _("This Space loses all runs and adapters when it restarts: push to the Hub what you want to keep.")
    problem = problem_of(MOUNT) if is_mounted() else None
    return joined([words, problem or _("Its owner can mount a Storage Bucket at {mount}.", mount=str(MOUNT))])


@cache
def problem_of(mount: Path) -> Sentence | None:
    """Return why the app's data cannot lie on `mount`, None when it can. Takes a moment, on a slow volume seconds."""
    steps: list[tuple[Sentence, Callable[[Path], object]]] = [
        (_("write files"), _write),
        (_("replace a file"), _replace),
        (_("append to a file"), _append),
        (_("rename a folder"), _rename),
        (_("lock a file"), _lock),
        (_("map a file into memory"), _map),
    ]
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix=".studio-trial-", dir=mount))
        if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
            return _("The volume at {mount} gives its files to another user.", mount=str(mount))
        for words, step in steps:
            try:
                step(folder)
            except (OSError, ValueError, NotImplementedError) as error:
                return _("The volume at {mount} cannot {do} ({error}).", mount=str(mount), do=words, error=_why(error))
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return _("The volume at {mount} is read-only.", mount=str(mount))
        return _("The volume at {mount} cannot {do} ({error}).", mount=str(mount), do=steps[0][0], error=_why(error))
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
    return None


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__


def _write(folder: Path) -> None:
    for name in ("file", "newer"):
        with open(folder / name, "wb") as file:
            file.write(name.encode())
            os.fsync(file.fileno())


def _replace(folder: Path) -> None:
    os.replace(folder / "newer", folder / "file")
    _check(folder / "file", b"newer")


def _append(folder: Path) -> None:
    with open(folder / "file", "ab+", buffering=0) as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"," + file.read(1))
        file.truncate(6)
    _check(folder / "file", b"newer,")


def _rename(folder: Path) -> None:
    (folder / "partial").mkdir()
    os.rename(folder / "file", folder / "partial" / "file")
    os.rename(folder / "partial", folder / "whole")
    _check(folder / "whole" / "file", b"newer,")


def _lock(folder: Path) -> None:
    if os.name != "posix":
        return
    import fcntl

    with open(folder / "lock", "wb") as first, open(folder / "lock", "rb") as second:
        fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
    raise ValueError


def _map(folder: Path) -> None:
    with open(folder / "whole" / "file", "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as mapped:
        if mapped[:] != b"newer,":
            raise ValueError


def _check(path: Path, content: bytes) -> None:
    """Raise ValueError unless the file holds `content`."""
    if path.read_bytes() != content:
        raise ValueError
