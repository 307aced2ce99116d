"""The API keys of owners: a key is shown once, and only its hash is kept, as the name of a file that says whose it is.

A key is found by its hash alone, so that neither its bytes are compared nor does the time tell anything of them.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from adapters.values import number, text
from common.errors import UserError
from common.files import read_object, write_json
from common.language import _
from common.paths import as_title, is_name, keys_folder

PREFIX = "sk-studio-"  # common/secret_patterns.py knows what begins so
MAX_KEYS = 20  # of one owner
MAX_KEY_CHARACTERS = 200
MAX_FILE_BYTES = 4_000
ID_CHARACTERS = 12  # of the hash: what a key is revoked by


@dataclass(frozen=True)
class ApiKey:
    """A key as it is kept: the id to revoke it by, the name that its owner gave it, and when it was made (s since 1970)."""

    id: str
    name: str
    created: float


def new_key(owner: str, name: str = "") -> str:
    """Make a key for `owner` and return it: 256 bits that nobody can show again. Raises UserError beyond MAX_KEYS."""
    if len(list_keys(owner)) >= MAX_KEYS:
        raise UserError(_("You have {count} keys.", count=MAX_KEYS), _("Revoke one first."))
    key = f"{PREFIX}{secrets.token_urlsafe(32)}"
    file = _file(_hash(key))
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(file, {"owner": owner, "name": as_title(name), "created": time.time()})
    file.chmod(0o600)
    return key


def list_keys(owner: str) -> list[ApiKey]:
    """Return the keys of `owner`, the newest first."""
    found = []
    for file in keys_folder().glob("*.json"):
        value = read_object(file, MAX_FILE_BYTES)
        if value.get("owner") == owner:
            found.append(
                ApiKey(file.stem[:ID_CHARACTERS], as_title(text(value.get("name"))), number(value.get("created")) or 0)
            )
    return sorted(found, key=lambda key: key.created, reverse=True)


def revoke(owner: str, id: str) -> None:
    """Delete the key of `owner` with this id: from now on it opens nothing. Raises UserError when they have none."""
    if id not in [key.id for key in list_keys(owner)]:
        raise UserError(_("You have no key '{id}'.", id=str(id)[:40]))
    for file in keys_folder().glob(f"{id}*.json"):
        if read_object(file, MAX_FILE_BYTES).get("owner") == owner:
            file.unlink(missing_ok=True)


def owner_of(key: str) -> str | None:
    """Return whose key it is, None for one that is none or was revoked."""
    if not key.startswith(PREFIX) or len(key) > MAX_KEY_CHARACTERS:
        return None
    owner = read_object(_file(_hash(key)), MAX_FILE_BYTES).get("owner")
    return owner if is_name(owner) else None


def _hash(key: str) -> str:
    """Return the SHA-256 of a key in hexadecimal: it is random, so nothing slower is needed."""
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _file(hash: str) -> Path:
    """Return the file of the key with this hash."""
    return keys_folder() / f"{hash}.json"
