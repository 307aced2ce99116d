"""Takes the files of an adapter out of a zip or a folder from elsewhere, without trusting either.

Only the file names of `check.FILES` are extracted, flat into one folder, so that no name can lead outside; an archive with such
a name is refused whole. Sizes are counted while bytes are written, whatever the archive declares.
"""

import os
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from adapters.library import CONFIG, WEIGHTS
from adapters.trust.check import FILES, MAX_BYTES, MAX_FILE_BYTES, PICKLES, max_bytes
from common.errors import UserError
from common.zips import BROKEN, open_zip

MAX_MEMBERS = 1000
MAX_RATIO = 20  # weights hardly get smaller, words five times
BLOCK = 1 << 20


def unpack(archive: Path, folder: Path) -> list[str]:
    """Extract the adapter in a zip into `folder`. Returns the names that were left out. Raises UserError."""
    try:
        with open_zip(archive, MAX_MEMBERS, "That is no adapter.") as source:
            members = [member for member in source.infolist() if not member.is_dir()]
            _check_members(members)
            paths = {member: PurePosixPath(member.filename) for member in members}
            inside = [path.parent for path in paths.values() if path.name == CONFIG]
            if len(inside) != 1:
                raise UserError(
                    f"The zip holds {len(inside)} adapters.", f"It must hold one, with {CONFIG} and {WEIGHTS}."
                )
            taken = [member for member, path in paths.items() if path.parent == inside[0] and path.name in FILES]
            if len({paths[member].name for member in taken}) != len(taken):
                raise UserError("The zip holds a file twice.", "Not imported.")
            for member in taken:
                _extract(source, member, folder)
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno:
            raise UserError(f"The zip cannot be unpacked: {os.strerror(error.errno)}.") from error
        raise UserError("The zip is damaged.", "Get it again.") from error
    return sorted(member.filename for member in members if member not in taken)


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    """Raise UserError for names that lead outside, links, and sizes that no adapter has."""
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename:
            raise UserError(f"The zip holds '{member.filename[:80]}', which leads out of it.", "Not imported.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UserError(f"'{member.filename[:80]}' in the zip is a link.", "Not imported.")
    if sum(member.file_size for member in members) > MAX_BYTES[WEIGHTS] + 10 * MAX_FILE_BYTES:
        raise UserError("The zip would unpack to more than 2 GB.", "That is no adapter.")


def _extract(source: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    """Write one member. zipfile stops at the declared size, which is checked first; written bytes are counted as well."""
    name = PurePosixPath(member.filename).name
    most = min(max_bytes(name), max(BLOCK, MAX_RATIO * member.compress_size))
    refusal = UserError(f"'{name}' in the zip unpacks to far more than an adapter holds.", "Not imported.")
    if member.file_size > most:
        raise refusal
    written = 0
    with source.open(member) as reader, open(folder / name, "xb") as writer:
        while block := reader.read(BLOCK):
            written += len(block)
            if written > most:
                raise refusal
            writer.write(block)


def copy_folder(source: Path, folder: Path) -> list[str]:
    """Copy the adapter files of a folder on this machine. Returns the names left out. Raises UserError for links."""
    names = sorted(path.name for path in source.iterdir())
    for name in [name for name in names if name in FILES]:
        path = source / name
        if path.is_symlink() or not path.is_file():
            raise UserError(f"'{name}' in the folder is a link or no file.", "Not imported.")
        if path.stat().st_size > max_bytes(name):
            raise UserError(f"'{name}' is larger than that of any adapter.", "Not imported.")
        shutil.copyfile(path, folder / name, follow_symlinks=False)
    return [name for name in names if name not in FILES]


def check_complete(folder: Path, left_out: list[str]) -> None:
    """Raise UserError unless config and weights are there, with a sentence of its own for weights that can run code."""
    if (folder / CONFIG).is_file() and not (folder / WEIGHTS).is_file():
        pickled = [name for name in left_out if name.endswith(PICKLES)]
        if pickled:
            raise UserError(f"Its weights are {pickled[0]}, which can run code.", f"Only {WEIGHTS} is taken.")
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(f"There is no {name} in it.", f"An adapter has {CONFIG} and {WEIGHTS}.")
