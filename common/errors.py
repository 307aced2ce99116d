"""UserError: what a person can fix. Raised by engines, shown once at the edge (ui/, trainer/train.py, command lines)."""

import errno
import os
import re
from collections.abc import Iterator

DISK_FULL = "The disk is full."
TOO_LARGE = "A file would become larger than this system lets it (`ulimit -f`)."
WORDS = {  # what libraries that write with C++ or Rust say of an error number, in their own exceptions
    "No space left on device": errno.ENOSPC,
    r"\d+ requested and \d+ written": errno.ENOSPC,  # numpy's tofile
    "Disk quota exceeded": errno.EDQUOT,
    "File too large": errno.EFBIG,
}
ERRORS = {  # an error number of the system: what is said of the file, and what to do
    errno.ENOSPC: (DISK_FULL, "Free some space, then try again."),
    errno.EDQUOT: (DISK_FULL, "Free some space, then try again."),
    errno.EFBIG: (TOO_LARGE, "Raise the limit, then try again."),
    errno.EROFS: ("{file} is on a disk that can only be read.", "Set STUDIO_HOME to a folder that can be written."),
    errno.EACCES: (
        "{file} may not be used by this user.",
        "Change its permissions, or set STUDIO_HOME to another folder.",
    ),
    errno.EPERM: ("{file} may not be changed.", "Change its permissions, or set STUDIO_HOME to another folder."),
    errno.ENOTDIR: ("{file} is not in a folder, but in a file.", "Set STUDIO_HOME to a folder."),
    errno.EEXIST: ("{file} is there already.", "Move it away; STUDIO_HOME must be a folder."),
    errno.EISDIR: ("{file} is a folder, not a file.", "Move it away."),
    errno.ENOENT: ("{file} is not there.", "Was its disk taken away, or was it deleted? Put it back, then try again."),
    errno.EIO: ("The disk cannot read or write {file}.", "Look at the disk and its cables; the data may be damaged."),
    errno.ESTALE: ("{file} is on a disk that is gone.", "Connect it again, then try again."),
    errno.EMFILE: ("Too many files are open.", "Raise `ulimit -n`, then start the program again."),
    errno.ENFILE: ("Too many files are open on this machine.", "Close other programs, then try again."),
}


class UserError(Exception):
    """A problem that a person can fix: `message` says what was found, `hint` what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


def as_user_error(error: BaseException, with_paths: bool = True) -> UserError | None:
    """Return what a person can fix about an error of the system (disk, permissions, memory), or None for anything else.

    Without paths only the name of a file is told: a visitor need not know where a server keeps its data.
    """
    if isinstance(error, UserError):
        return error
    if isinstance(error, MemoryError):
        return UserError("There is not enough memory.", "Close other programs, or take less data, then try again.")
    number = error.errno if isinstance(error, OSError) else None
    if number not in ERRORS:
        number = next((code for words, code in WORDS.items() if re.search(words, str(error))), None)
    if number is None:
        return None
    message, hint = ERRORS[number]
    file = getattr(error, "filename", None)
    file = file if with_paths or not file else os.path.basename(file)
    return UserError(message.format(file=f"'{file}'" if file else "A file"), hint)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the error and what caused it, from the outside in."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
