"""How others reach this app: a tunnel, Colab's own proxy, or not at all; and the keys of a tunnel.

A key opens one browser or program: ui/door.py exchanges it for a cookie. STUDIO_HOME/door/keys holds an empty file for each key
and each cookie, named by its SHA-256, so that `python app.py --new-key` reaches the app that runs, and nobody finds a key there.
A key is used up by renaming its file, which succeeds once. No key is in a file, a log, an argument or the environment.
"""

import hashlib
import hmac
import os
import secrets
import shutil
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from common.errors import UserError
from common.hosted import on_colab, on_kaggle, on_space
from common.language import _
from common.limits import switch
from common.paths import home

ADDRESS = "address"  # the file that names the other end of the tunnel


class Sharing(StrEnum):
    """How the page is reached from elsewhere."""

    NONE = "none"
    TUNNEL = "tunnel"
    COLAB_PROXY = "colab-proxy"


class Who(StrEnum):
    """Whom a key or a cookie lets in: the owner of this machine, or a guest, who has data of their own and no Hub login."""

    OWNER = "owner"
    GUEST = "guest"


@dataclass
class Share:
    """How this app is shared, and the address at the other end of the tunnel: "" until there is one."""

    kind: Sharing = Sharing.NONE
    address: str = ""

    @property
    def host(self) -> str:
        """Return the name in the address."""
        return urlsplit(self.address).hostname or ""


def sharing(is_asked: bool = False) -> Sharing:
    """Return how the page is shared: as asked for by `--share`, STUDIO_SHARE or GRADIO_SHARE, else as the machine needs it.

    Colab shows a port of its machines to the person who is signed in there, and to nobody else: no tunnel is needed. Kaggle has
    nothing of that kind. Raises UserError for a STUDIO_SHARE that says neither yes nor no.
    """
    is_wanted = switch("STUDIO_SHARE")
    if on_space():
        return Sharing.NONE
    if is_wanted is None:
        is_wanted = on_kaggle() or os.environ.get("GRADIO_SHARE", "").lower() == "true"
    if is_asked or is_wanted:
        return Sharing.TUNNEL
    return Sharing.COLAB_PROXY if on_colab() else Sharing.NONE


def new_key(who: Who) -> str:
    """Return a new key, 256 random bits, for one browser or program."""
    key = secrets.token_urlsafe(32)
    (_folder() / _name(key, f"{who}-key")).touch(mode=0o600)
    return key


def use_key(key: str) -> tuple[Who, str] | None:
    """Exchange a key for a cookie and return whom it lets in; None for a key that is wrong, or was used or renewed."""
    for who in Who:
        if file := _find(key, f"{who}-key"):
            cookie = secrets.token_urlsafe(32)
            try:
                file.rename(_folder() / _name(cookie, who))
            except FileNotFoundError:  # another request was faster
                return None
            return who, cookie
    return None


def who_has(cookie: str) -> Who | None:
    """Return whom a cookie lets in, None for nobody."""
    return next((who for who in Who if _find(cookie, who)), None)


def whose_key(key: str) -> Who | None:
    """Return whom a key would let in, None for nobody."""
    return next((who for who in Who if _find(key, f"{who}-key")), None)


def lock_all_out() -> None:
    """Make every key and every cookie open nothing any more, at once: a key that is being used is gone with the others."""
    gone = _folder().rename(home() / "door" / f"gone-{secrets.token_hex(8)}")
    shutil.rmtree(gone)


def open_at(address: str) -> None:
    """Note where the keys of the app that runs are for; "" when it ends."""
    file = home() / "door" / ADDRESS
    file.unlink(missing_ok=True)
    if address:
        _folder()
        file.touch(mode=0o600)
        file.write_text(address, encoding="utf-8")


def address_of_app() -> str:
    """Return the address of the shared app that runs on this data. Raises UserError without one."""
    try:
        return (home() / "door" / ADDRESS).read_text(encoding="utf-8")
    except FileNotFoundError:
        words = _("No shared app runs here.")
        raise UserError(words, _("Start it with `python app.py --share`.")) from None


def link(address: str, key: str) -> str:
    """Return the address that opens the app with a key."""
    return f"{address.rstrip('/')}/?key={key}"


def _folder() -> Path:
    folder = home() / "door" / "keys"
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _name(secret: str, kind: str) -> str:
    return f"{hashlib.sha256(secret.encode('utf-8', 'replace')).hexdigest()}.{kind}"


def _find(secret: str, kind: str) -> Path | None:
    """Return the file of a secret: compared with every one there is, each in constant time."""
    wanted, found = _name(secret, kind), None
    for file in _folder().glob(f"*.{kind}"):
        if hmac.compare_digest(file.name, wanted):
            found = file
    return found
