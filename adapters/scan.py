"""The last look at what is about to be sent: no pickle, no checkpoint, no path of this machine, no token. Or it is not sent."""

import re
import struct
from pathlib import Path

from adapters.check import FILES, WEIGHTS
from adapters.weights import MAX_HEADER_BYTES
from common.errors import UserError
from common.paths import REPOSITORY, home
from common.secret_patterns import SECRETS

VOCABULARIES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model")
SECRET_BYTES = {words: re.compile(pattern.encode()) for words, pattern in SECRETS.items()}
PATHS = re.compile(rb"(?<![\w.:/])(?:/home/|/Users/|/root/|/tmp/|/mnt/|[A-Za-z]:\\{1,2}Users\\{1,2})[\w.-]+")
PICKLE_MAGIC = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


def scan(folder: Path, token: str = "") -> list[str]:
    """The names of what may be sent. Raises UserError that names the file and what was found in it, never the secret."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
    for name in names:
        if name not in FILES or (folder / name).is_symlink():
            raise UserError(f"'{name}' does not belong to an adapter.", "Nothing was sent.")
        found = _found(folder / name, token)
        if found:
            raise UserError(
                f"{name} holds {found}.", "Nothing was sent. Remove it, or train without it, and push again."
            )
    return names


def _found(path: Path, token: str) -> str:
    """What is wrong with one file, '' when nothing is."""
    content = _head(path) if path.name == WEIGHTS else path.read_bytes()
    if content.startswith(PICKLE_MAGIC):
        return "a pickle or an archive, which can run code"
    if token and token.encode() in content:
        return "your Hub token"
    for words, pattern in SECRET_BYTES.items():
        if pattern.search(content):
            return words
    if any(place in content for place in places()):
        return "a path of this machine"
    if path.name in ("README.md", *VOCABULARIES, "chat_template.jinja"):
        return ""  # words there may speak of any path
    return "a path of a machine" if PATHS.search(content) else ""


def _head(path: Path) -> bytes:
    """Where a safetensors file has words: its header. The numbers after it are numbers."""
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if length > MAX_HEADER_BYTES:  # what lies behind the limit would go out unseen
            raise UserError(f"The header of {path.name} is longer than an adapter's.", "Nothing was sent.")
        return start + file.read(length)


def places() -> list[bytes]:
    """How the paths of this machine begin."""
    found = {str(Path.home()), str(home()), str(REPOSITORY)} - {"/", "/root"}
    return [place.encode() for place in found]
