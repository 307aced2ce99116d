"""Which documents there are in files, folders and zips, under names that are safe to show. None of them is read here."""

import os
import stat
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from common.errors import UserError
from common.files import exists, is_file
from common.language import Sentence, _, joined, n_
from common.paths import MAX_TITLE_CHARACTERS, as_title
from common.zips import BROKEN, extract, files_of, open_zip

MAX_DOCUMENTS = 1000
MAX_DOCUMENT_BYTES = 50 * 2**20
MAX_UNPACKED_BYTES = 500 * 2**20  # of all zips
MAX_ENTRIES = 10_000  # of a folder or a zip, documents or not
SUFFIXES = (".pdf", ".docx", ".md", ".markdown", ".html", ".htm", ".txt")
ZIP = ".zip"
UTF_8 = 0x800  # the flag of a zip's member whose name is UTF-8
TOO_LARGE = _("It is larger than {size:,} MB.", size=MAX_DOCUMENT_BYTES // 2**20)
DAMAGED = _("It is damaged.")


@dataclass(frozen=True)
class Found:
    """A document on this machine, and what it is called: its place in a folder or zip. No two have one name."""

    path: Path
    name: str


def gather(
    paths: Sequence[Path], opened: Path, stop: threading.Event | None = None
) -> tuple[list[Found], list[Sentence]]:
    """Return the documents in `paths`, at most MAX_DOCUMENTS, and a sentence on each thing that is left out.

    Zips are unpacked into the folder `opened`. Links, hidden files and other kinds of files in a folder or zip are no documents.
    Raises UserError when `stop` is set.
    """
    found = _Gathering(opened, stop)
    for path in paths:
        if exists(path) and path.is_dir():
            found.add_folder(path)
        elif not is_file(path):
            found.notes.append(left_out(path.name, _("There is no such file.")))
        elif path.suffix.lower() == ZIP:
            found.add_zip(path)
        elif path.suffix.lower() not in SUFFIXES:
            kinds = ", ".join((*SUFFIXES, ZIP))
            found.notes.append(left_out(path.name, _("Documents are {kinds} files.", kinds=kinds)))
        elif found.takes(path.name, path.stat().st_size):
            found.add(path.name, path)
    if stop and stop.is_set():
        raise UserError(_("Stopped."), _("Nothing was kept."))
    if found.too_many:
        words = n_("{count:,} document is left out.", "{count:,} documents are left out.", found.too_many)
        found.notes.append(joined([words, _("At most {most:,} are read at once.", most=MAX_DOCUMENTS)]))
    return list(found.documents.values()), found.notes


def left_out(name: str, reason: str) -> Sentence:
    """Return the sentence that a file is left out, and why."""
    return joined([_("'{name}' is left out.", name=shown(name)), reason])


def shown(place: str) -> str:
    """Return the end of a path as it may be shown: on one line, without control characters."""
    return as_title(place[-MAX_TITLE_CHARACTERS:]) or "-"


def _as_korean(name: str) -> str:
    """Return a name that Windows in Korea wrote into a zip, which zipfile takes for one of an old PC; any other as it is."""
    try:
        return name.encode("cp437").decode("euc_kr")
    except UnicodeError:
        return name


@dataclass
class _Gathering:
    """What has been found so far."""

    opened: Path
    stop: threading.Event | None
    documents: dict[str, Found] = field(default_factory=dict)
    notes: list[Sentence] = field(default_factory=list)
    too_many: int = 0
    unpacked_bytes: int = 0

    def takes(self, place: str, size: int) -> bool:
        """Return whether there is room for a document of `size` bytes; note it when there is none."""
        if size > MAX_DOCUMENT_BYTES:
            self.notes.append(left_out(place, TOO_LARGE))
            return False
        self.too_many += len(self.documents) >= MAX_DOCUMENTS
        return len(self.documents) < MAX_DOCUMENTS and not (self.stop and self.stop.is_set())

    def add(self, place: str, path: Path) -> None:
        """Take a document."""
        name = shown(place)
        if name in self.documents:
            name = next(again for number in count(2) if (again := f"{name} ({number})") not in self.documents)
        self.documents[name] = Found(path, name)

    def add_folder(self, folder: Path) -> None:
        """Take the documents below a folder, in the order of their names; links in it are not followed."""
        seen = others = 0
        for place, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            seen += len(folders) + len(names)
            if seen > MAX_ENTRIES:
                words = _("It holds more than {count:,} files.", count=MAX_ENTRIES)
                self.notes.append(left_out(f"{Path(place).relative_to(folder.parent)}/", words))
                break
            for name in sorted(names):
                file = Path(place, name)
                about = file.lstat()
                if name.startswith(".") or file.suffix.lower() not in SUFFIXES or not stat.S_ISREG(about.st_mode):
                    others += 1
                elif self.takes(inside := file.relative_to(folder).as_posix(), about.st_size):
                    self.add(inside, file)
        self._note_others(folder.name, others)

    def add_zip(self, archive: Path) -> None:
        """Unpack the documents in a zip, and take them; none of one that leads outside or holds a link."""
        others = 0
        try:
            with open_zip(archive, MAX_ENTRIES, "") as source:
                for name, member in files_of(source, "").items():
                    place = name if member.flag_bits & UTF_8 else _as_korean(name)
                    is_hidden = any(part.startswith((".", "__MACOSX")) for part in place.split("/"))
                    if is_hidden or Path(place).suffix.lower() not in SUFFIXES:
                        others += 1
                    elif self.takes(place, member.file_size):
                        self._unpack(source, member, place)
        except (UserError, *BROKEN) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            reason = error.message if isinstance(error, UserError) else DAMAGED
            self.notes.append(left_out(archive.name, reason))
        self._note_others(archive.name, others)

    def _unpack(self, source: zipfile.ZipFile, member: zipfile.ZipInfo, place: str) -> None:
        """Unpack one document of a zip and take it; note it when it is damaged, or too much with the others."""
        target = self.opened / f"{len(self.documents)}{Path(place).suffix.lower()}"
        self.unpacked_bytes += member.file_size
        try:
            if self.unpacked_bytes > MAX_UNPACKED_BYTES:
                words = _("The zips unpack to more than {size:,} MB.", size=MAX_UNPACKED_BYTES // 2**20)
                raise UserError(words)
            extract(source, member, target, MAX_DOCUMENT_BYTES, UserError(TOO_LARGE))
        except (UserError, *BROKEN) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            target.unlink(missing_ok=True)
            self.notes.append(left_out(place, error.message if isinstance(error, UserError) else DAMAGED))
        else:
            self.add(place, target)

    def _note_others(self, name: str, others: int) -> None:
        """Note how many files of other kinds there are."""
        if others:
            words = n_(
                "{count:,} file in '{name}' is not a document.",
                "{count:,} files in '{name}' are not documents.",
                others,
                name=shown(name),
            )
            self.notes.append(words)
