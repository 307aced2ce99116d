"""Takes the files of an adapter out of a zip or a folder from elsewhere, without trusting either.

Only the file names of `check.FILES` are extracted, flat into one folder, so that no name can lead outside; an archive with such
a name is refused whole. Sizes are counted while bytes are written, whatever the archive declares.
"""

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

from adapters.library import CONFIG, WEIGHTS
from adapters.trust.check import FILES, GET_AGAIN, MAX_BYTES, PICKLES, max_bytes, require_object
from adapters.trust.config import NOT_IMPORTED
from adapters.trust.folders import choose_folder, initial_folder, parent_of
from adapters.trust.plain import INITIAL, takes_from_base
from common.errors import UserError
from common.language import _
from common.zips import BLOCK_BYTES, BROKEN, extract, files_of, open_zip

MAX_MEMBERS = 1000
MAX_DEPTH = 4  # of folders in a folder
MAX_RATIO = 20  # weights hardly get smaller, words five times


def unpack(archive: Path, folder: Path, wanted: str = "") -> list[str]:
    """Extract the adapter in a zip into `folder`: the one in `wanted`, else the topmost. Raises UserError.

    Return the names that were left out.
    """
    try:
        with open_zip(archive, MAX_MEMBERS, _("That is not an adapter.")) as source:
            members = files_of(source, NOT_IMPORTED)

            def copy(name: str, target: Path) -> None:
                _extract(source, members[name], target)

            taken = _take(set(members), wanted, _("The zip"), folder, copy)
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno:
            words = _("The zip cannot be unpacked ({error}).", error=os.strerror(error.errno))
            raise UserError(words) from error
        raise UserError(_("The zip is damaged."), GET_AGAIN) from error
    return sorted(members.keys() - taken)


def _take(files: set[str], wanted: str, where: str, folder: Path, copy: Callable[[str, Path], None]) -> set[str]:
    """Copy the files of the adapter that was chosen among `files`, and its initial weights where it needs them.

    `copy` takes a file's name and the path it gets. Return the names that were taken.
    """
    chosen = choose_folder(files, wanted, where)
    taken = {file for file in files if parent_of(file) == chosen and file.rpartition("/")[2] in FILES}
    for file in sorted(taken):
        copy(file, folder / file.rpartition("/")[2])
    initial = initial_folder(files, chosen)
    if initial is not None and takes_from_base(require_object(folder / CONFIG, MAX_BYTES[CONFIG])):
        (folder / INITIAL).mkdir()
        file = f"{initial}/{WEIGHTS}"
        copy(file, folder / INITIAL / WEIGHTS)
        taken.add(file)
    return taken


def _extract(source: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Write one member, of as many bytes as an adapter's file of that name can have."""
    most = min(max_bytes(target.name), max(BLOCK_BYTES, MAX_RATIO * member.compress_size))
    words = _("'{name}' in the zip unpacks to far more than an adapter holds.", name=target.name)
    extract(source, member, target, most, UserError(words, NOT_IMPORTED))


def copy_folder(source: Path, folder: Path, wanted: str = "") -> list[str]:
    """Copy the adapter in a folder on this machine as `unpack` does from a zip. Raises UserError, also for links."""
    files = set()
    for place, folders, names in os.walk(source):
        inside = Path(place).relative_to(source)
        folders[:] = sorted(folders) if len(inside.parts) < MAX_DEPTH else []
        files |= {(inside / name).as_posix() for name in names}
        if len(files) > MAX_MEMBERS:
            break

    def copy(name: str, target: Path) -> None:
        path = source / name
        if path.is_symlink() or not path.is_file():
            raise UserError(_("'{name}' in the folder is a link, or not a file.", name=name), NOT_IMPORTED)
        if path.stat().st_size > max_bytes(target.name):
            raise UserError(_("'{name}' is larger than that of any adapter.", name=name), NOT_IMPORTED)
        shutil.copyfile(path, target, follow_symlinks=False)

    return sorted(files - _take(files, wanted, _("The folder"), folder, copy))


def check_complete(folder: Path, left_out: list[str]) -> None:
    """Raise UserError unless config and weights are there, with a sentence of its own for weights that can run code."""
    if (folder / CONFIG).is_file() and not (folder / WEIGHTS).is_file():
        pickled = [name for name in left_out if name.endswith(PICKLES)]
        if pickled:
            raise UserError(
                _("Its weights are in {file}, which can run code.", file=pickled[0]),
                _("Only {weights} is loaded.", weights=WEIGHTS),
            )
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise UserError(
                _("There is no {file} in it.", file=name),
                _("An adapter has {config} and {weights}.", config=CONFIG, weights=WEIGHTS),
            )
