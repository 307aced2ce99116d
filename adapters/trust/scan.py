"""Scans the files that are about to be sent: no pickle, no checkpoint, no path of this machine, no token."""

import re
from pathlib import Path

from adapters.trust.check import FILES, WEIGHTS
from common.errors import UserError
from common.language import _, joined
from common.paths import REPOSITORY, home
from common.secret_patterns import SECRETS
from models.adapter_fit import MAX_HEADER_BYTES, header_bytes

NOTHING_SENT = _("Nothing was sent.")
VOCABULARIES = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model")
SECRET_BYTES = {words: re.compile(pattern.encode()) for words, pattern in SECRETS.items()}
PATHS = re.compile(rb"(?<![\w.:/])(?:/home/|/Users/|/root/|/tmp/|/mnt/|[A-Za-z]:\\{1,2}Users\\{1,2})[\w.-]+")
PICKLE_MAGIC = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


def scan(folder: Path, token: str = "") -> list[str]:
    """Return the names of the files in `folder`. Raises UserError that names a file and the kind of secret in it."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())
    for name in names:
        if name not in FILES or (folder / name).is_symlink():
            raise UserError(_("'{name}' is not a file of an adapter.", name=name), NOTHING_SENT)
        found = _found(folder / name, token)
        if found:
            hint = _("Remove it, or train without it, then push again.")
            raise UserError(_("{file} contains {found}.", file=name, found=found), joined([NOTHING_SENT, hint]))
    return names


def _found(path: Path, token: str) -> str:
    """Return what a file holds that must not be sent, "" for nothing. Raises UserError for an odd header."""
    length = -1
    if path.name == WEIGHTS:  # its words are in the header; the numbers after it are numbers
        length = 8 + header_bytes(path)
        if length > 8 + MAX_HEADER_BYTES:  # what lies behind the limit would go out unseen
            raise UserError(_("The header of {file} is longer than that of any adapter.", file=path.name), NOTHING_SENT)
    with open(path, "rb") as file:
        content = file.read(length)
    if content.startswith(PICKLE_MAGIC):
        return _("a pickle or an archive, which can run code")
    if found := found_in(content, token):
        return found
    if path.name in ("README.md", *VOCABULARIES, "chat_template.jinja"):
        return ""  # words there may speak of any path
    return _("a path of a machine") if PATHS.search(content) else ""


def found_in(content: bytes, token: str) -> str:
    """Return what some words hold that must not be sent, "" for nothing: a token, a secret, a path of this machine."""
    if token and token.encode() in content:
        return _("your Hugging Face token")
    for words, pattern in SECRET_BYTES.items():
        if pattern.search(content):
            return words
    return _("a path of this machine") if any(place in content for place in places()) else ""


def places() -> list[bytes]:
    """Return the paths of this machine that must not be sent: the home, STUDIO_HOME, and the code's folder."""
    found = {str(Path.home()), str(home()), str(REPOSITORY)} - {"/", "/root"}
    return [place.encode() for place in found]
