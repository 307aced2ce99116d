"""The account on the Hub for an action, and ids and addresses of repositories.

On a Space only the visitor's own sign-in counts; on a laptop the local login. Without either the token is False: None would let
huggingface_hub take any token that the machine has. An account's name is always the one that the Hub gives for the token.
"""

import os
import re
import time
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

from common.errors import UserError
from models.hub.errors import in_words, sign_in_words

Token = str | bool  # False is nobody
IDENTITY_SECONDS = 300
HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True)
class Account:
    """An account on the Hub: the name and the organisations that the Hub gives for the token."""

    name: str
    token: str = field(repr=False)
    orgs: tuple[str, ...] = ()
    can_write: bool = True


def token_of(visitors_token: str | None) -> Token:
    """Return the token to act with: on a Space the visitor's, elsewhere the local login's; False without one."""
    if os.environ.get("SPACE_ID"):
        return visitors_token or False
    from huggingface_hub import get_token

    return get_token() or False


def account_of(token: Token) -> Account:
    """Return the account of this token from the Hub. Raises UserError without a token, and for an invalid one."""
    if not token:
        raise UserError("Nobody is signed in to the Hub.", sign_in_words())
    return _account_of(token, int(time.time() / IDENTITY_SECONDS))


@lru_cache(maxsize=256)
def _account_of(token: str, while_fresh: int) -> Account:
    """Ask the Hub; the answer is kept for IDENTITY_SECONDS, because the Hub limits how often it may be asked."""
    with in_words("sign in"):
        facts = client(token).whoami()
    role = facts.get("auth", {}).get("accessToken", {}).get("role")
    orgs = tuple(org["name"] for org in facts.get("orgs", []) if org.get("name"))
    return Account(facts["name"], token, orgs, can_write=role != "read")


def client(token: Token):
    """Return an HfApi that sends this token and never another one."""
    from huggingface_hub import HfApi

    return HfApi(token=token or False)


def parse_repo(text: str) -> tuple[str, str | None]:
    """Return (owner/name, revision or None) from an id, `id@revision`, or an address of the Hub. Raises UserError."""
    wanted = (text or "").strip()
    address = urlsplit(wanted)
    if address.scheme:
        hosts = (*HUB_HOSTS, urlsplit(client(False).endpoint).netloc)
        if address.scheme not in ("http", "https") or address.netloc not in hosts:
            raise UserError(f"'{wanted[:100]}' is no address of the Hub.", "Give owner/name or its address.")
        wanted = address.path
    wanted = wanted.strip("/")
    revision = None
    if match := re.fullmatch(r"([^/]+/[^/@]+)/(?:tree|blob|resolve|commit)/([^/]+)(?:/.*)?", wanted):
        wanted, revision = match[1], match[2]
    elif "@" in wanted:
        wanted, revision = wanted.split("@", 1)
    if not _ID.fullmatch(wanted) or ".." in wanted or "--" in wanted or wanted.endswith(".git"):
        raise UserError(f"'{text[:100] if text else ''}' is no adapter on the Hub.", "Give owner/name or its address.")
    if revision is not None and (not re.fullmatch(r"[\w.%-]{1,100}", revision) or ".." in revision):
        raise UserError(f"'{revision[:100]}' is no revision.", "Give a commit, a tag or a branch.")
    return wanted, revision
