"""UserError: what a person can fix. Raised by engines, shown once at the edge (ui/, trainer/train.py, command lines)."""

import errno
import os
import re
from collections.abc import Iterator

from common.language import Sentence, _

DISK_FULL = _("The disk is full.")
TOO_LARGE = _("A file would become larger than this system allows (`ulimit -f`).")
MAKE_ROOM = _("Free some space, then try again.")
OTHER_FOLDER = _("Change its permissions, or set STUDIO_HOME to another folder.")
WORDS = {  # what libraries that write with C++ or Rust say of an error number, in their own exceptions
    "No space left on device": errno.ENOSPC,
    r"\d+ requested and \d+ written": errno.ENOSPC,  # numpy's tofile
    "Disk quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
}
ERRORS = {  # an error number of the system: what is said of the file, and what to do
    errno.ENOSPC: (DISK_FULL, MAKE_ROOM),
    errno.EDQUOT: (DISK_FULL, MAKE_ROOM),
    errno.EFBIG: (TOO_LARGE, _("Raise the limit, then try again.")),
    errno.EROFS: (_("{file} is on a read-only disk."), _("Set STUDIO_HOME to a folder that can be written to.")),
    errno.EACCES: (_("No permission to use {file}."), OTHER_FOLDER),
    errno.EPERM: (_("No permission to change {file}."), OTHER_FOLDER),
    errno.ENOTDIR: (_("{file} is inside a file, not a folder."), _("Set STUDIO_HOME to a folder.")),
    errno.EEXIST: (_("{file} already exists."), _("Move it away; STUDIO_HOME must be a folder.")),
    errno.EISDIR: (_("{file} is a folder, not a file."), _("Move it away.")),
    errno.ENOENT: (
        _("{file} is missing."),
        _("Was it deleted, or its disk disconnected? Put it back, then try again."),
    ),
    errno.EIO: (
        _("The disk cannot read or write {file}."),
        _("Check the disk and its cables; the data may be damaged."),
    ),
    errno.ESTALE: (_("{file} is on a disk that was disconnected."), _("Connect it again, then try again.")),
    errno.EMFILE: (_("Too many files are open."), _("Raise `ulimit -n`, then restart the program.")),
    errno.ENFILE: (_("Too many files are open on this machine."), _("Close other programs, then try again.")),
}


class UserError(Exception):
    """A problem that a person can fix: `message` says what was found, `hint` what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows in the place of a traceback."""
        return [str(self)]


def as_user_error(error: BaseException, with_paths: bool = True) -> UserError | None:
    """Return what a person can fix about an error of the system (disk, permissions, memory), or None for anything else.

    Without paths only the name of a file is told: a visitor need not know where a server keeps its data.
    """
    if isinstance(error, UserError):
        return error
    if isinstance(error, MemoryError):
        return UserError(_("There is not enough memory."), _("Close other programs, or use less data, then try again."))
    number = error.errno if isinstance(error, OSError) else None
    if number not in ERRORS:
        number = next((code for words, code in WORDS.items() if re.search(words, str(error))), None)
    if number is None:
        return None
    message, hint = ERRORS[number]
    file = getattr(error, "filename", None)
    file = file if with_paths or not file else os.path.basename(file)
    return UserError(Sentence(message.msgid, {"file": f"'{file}'" if file else _("A file")}), hint)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and what caused it, from the outside in."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
