"""Opens zips that nobody has to trust: their list of files is bounded before zipfile reads it, and no member grows by itself.

with open_zip(file, 100, hint) as source:
    for name, member in files_of(source, hint).items():
        extract(source, member, folder / known[name], MAX_FILE_BYTES, UserError(...))
"""

import lzma
import os
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from common.errors import UserError
from common.language import _, n_

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
END, END_64 = b"PK\x05\x06", b"PK\x06\x07"  # where the list of files is said to be, and to be in very large zips
MAX_ENDING_BYTES = 20 + 22 + (1 << 16)
MAX_ENTRY_BYTES = 1000  # of the list of files, a member
BLOCK_BYTES = 1 << 20
# what zipfile and its decompressors raise for a file that somebody bent
BROKEN = (
    zipfile.BadZipFile,
    NotImplementedError,
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ValueError,
)


def open_zip(file: Path | BinaryIO, max_members: int, hint: str) -> zipfile.ZipFile:
    """Open a zip of at most `max_members` files, stored or deflated, none locked: reading one stops at the size that it declares.

    Raises UserError, with this hint for too many files, and the errors in `BROKEN`.
    """
    if isinstance(file, Path):
        with file.open("rb") as opened:
            _check_directory(opened, max_members, hint)
    else:
        _check_directory(file, max_members, hint)
    source = zipfile.ZipFile(file)
    try:
        members = source.infolist()
        if len(members) > max_members:
            raise UserError(n_("The zip holds {count:,} file.", "The zip holds {count:,} files.", len(members)), hint)
        for member in members:
            if member.compress_type not in METHODS:  # zipfile inflates other kinds in one go, whatever they grow to
                raise UserError(
                    _("The zip uses an unusual compression method."), _("Zip it again the usual way (deflate).")
                )
            if member.flag_bits & 1:
                raise UserError(_("The zip is locked with a password."), _("Unpack it first."))
    except UserError:
        source.close()
        raise
    return source


def _check_directory(file: BinaryIO, max_members: int, hint: str) -> None:
    """Raise UserError for too long a list of files, before zipfile makes an object of each."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - MAX_ENDING_BYTES))
    ending = file.read()
    places = [match.start() for match in re.finditer(re.escape(END), ending) if match.start() + 22 <= len(ending)]
    sizes = [struct.unpack_from("<I", ending, place + 12)[0] for place in places]
    # what only zips of more files, or larger ones, have than any that is taken
    is_large = any(ending[max(0, place - 20) : place].startswith(END_64) for place in places)
    if is_large or max(sizes, default=0) > max_members * MAX_ENTRY_BYTES:
        raise UserError(_("The zip holds thousands of files."), hint)


def files_of(source: zipfile.ZipFile, hint: str) -> dict[str, zipfile.ZipInfo]:
    """Return the files of a zip by their names.

    Raises UserError, with this hint, for a name that leads outside, for a link, and for a file that is there twice.
    """
    found: dict[str, zipfile.ZipInfo] = {}
    for member in source.infolist():
        if member.is_dir():
            continue
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename:
            words = _("The zip contains '{name}', a path that leads outside it.", name=member.filename[:80])
            raise UserError(words, hint)
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UserError(_("'{name}' in the zip is a link.", name=member.filename[:80]), hint)
        if path.as_posix() in found:
            raise UserError(_("The zip contains a file twice."), hint)
        found[path.as_posix()] = member
    return found


def extract(source: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, max_bytes: int, refusal: UserError) -> None:
    """Write one member to a new file. Raises `refusal` for more than `max_bytes`.

    zipfile stops at the declared size, which is checked first; written bytes are counted as well.
    """
    if member.file_size > max_bytes:
        raise refusal
    written = 0
    with source.open(member) as reader, open(target, "xb") as writer:
        while block := reader.read(BLOCK_BYTES):
            written += len(block)
            if written > max_bytes:
                raise refusal
            writer.write(block)
