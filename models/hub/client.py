"""The account on the Hub for an action, and ids and addresses of repositories.

On a Space only the visitor's own sign-in counts; on a laptop the local login. Without either the token is False: None would let
huggingface_hub take any token that the machine has. An account's name is always the one that the Hub gives for the token.
"""

import re
import time
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from common.errors import UserError
from common.hosted import on_space
from common.language import _
from common.visitors import is_guest
from models.hub.errors import errors_explained, sign_in_words

Token = str | bool  # False is nobody
IDENTITY_SECONDS = 300
HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
MAX_FOLDER_CHARACTERS = 300
NAME_OR_ADDRESS = _("Enter owner/name or its address.")
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_REVISION = re.compile(r"[\w.%-]{1,100}|refs/pr/\d{1,9}")
_PAGE = re.compile(
    r"(?P<repo>[^/]+/[^/@]+)/(?P<kind>tree|blob|resolve|raw|commit)/(?P<revision>refs/pr/\d+|[^/]+)(?:/(?P<path>.*))?"
)


@dataclass(frozen=True)
class Account:
    """An account on the Hub: the name and the organisations that the Hub gives for the token."""

    name: str
    token: str = field(repr=False)
    orgs: tuple[str, ...] = ()
    can_write: bool = True


def token_of(visitors_token: str | None) -> Token:
    """Return the token to act with: on a Space the visitor's, elsewhere the local login's; False without one, and for guests."""
    if is_guest():
        return False
    if on_space():
        return visitors_token or False
    from huggingface_hub import get_token

    return get_token() or False


def account_of(token: Token) -> Account:
    """Return the account of this token from the Hub. Raises UserError without a token, and for an invalid one."""
    if not token:
        raise UserError(_("You are not signed in to Hugging Face."), sign_in_words())
    return _account_of(token, int(time.time() / IDENTITY_SECONDS))


@lru_cache(maxsize=256)
def _account_of(token: str, while_fresh: int) -> Account:
    """Ask the Hub; the answer is kept for IDENTITY_SECONDS, because the Hub limits how often it may be asked."""
    with errors_explained():
        facts = client(token).whoami()
    role = facts.get("auth", {}).get("accessToken", {}).get("role")
    orgs = tuple(org["name"] for org in facts.get("orgs", []) if org.get("name"))
    return Account(facts["name"], token, orgs, can_write=role != "read")


def client(token: Token):
    """Return an HfApi that sends this token and never another one."""
    from huggingface_hub import HfApi

    return HfApi(token=token or False)


@dataclass(frozen=True)
class Address:
    """A repository on the Hub, a revision or None, and a folder in it, "" for all of it."""

    repo_id: str
    revision: str | None
    folder: str


def parse_repo(text: str) -> tuple[str, str | None]:
    """Return (owner/name, revision or None) like `parse_address`. Raises UserError also for a folder in a repository."""
    address = parse_address(text)
    if address.folder:
        words = _("'{text}' is a folder in a repository.", text=text.strip()[:100])
        raise UserError(words, NAME_OR_ADDRESS)
    return address.repo_id, address.revision


def parse_address(text: str) -> Address:
    """Read an id, `id@revision`, `id/folder`, or an address of the Hub, also of a folder or a file. Raises UserError."""
    wanted = text.strip() if isinstance(text, str) else ""  # a program may send anything
    url = urlsplit(f"https://{wanted}" if wanted.startswith(tuple(f"{host}/" for host in HUB_HOSTS)) else wanted)
    if url.scheme:
        hosts = (*HUB_HOSTS, urlsplit(client(False).endpoint).netloc)
        if url.scheme not in ("http", "https") or url.netloc not in hosts:
            words = _("'{text}' is not an address on the Hugging Face Hub.", text=wanted[:100])
            raise UserError(words, NAME_OR_ADDRESS)
        wanted = url.path
    wanted, revision, folder = wanted.strip("/"), None, ""
    if match := _PAGE.fullmatch(wanted):
        wanted, revision, folder = match["repo"], match["revision"], unquote(match["path"] or "")
        if match["kind"] in ("blob", "resolve", "raw"):  # of a file
            folder = folder.rpartition("/")[0]
    else:
        wanted, _at, revision = wanted.partition("@")
        if wanted.count("/") > 1:
            owner, name, folder = wanted.split("/", 2)
            wanted = f"{owner}/{name}"
        revision = revision or None
    if not _ID.fullmatch(wanted) or ".." in wanted or "--" in wanted or wanted.endswith(".git"):
        words = _("'{text}' is not the name of a repository on the Hugging Face Hub.", text=wanted[:100])
        raise UserError(words, NAME_OR_ADDRESS)
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        words = _("'{revision}' is not a revision.", revision=revision[:100])
        raise UserError(words, _("Enter a commit, a tag or a branch."))
    return Address(wanted, revision, parse_folder(folder))


def parse_folder(text: str) -> str:
    """Return the path of a folder in a repository without slashes at its ends. Raises UserError for one that leads out."""
    folder = text.strip().strip("/")
    if len(folder) > MAX_FOLDER_CHARACTERS or not folder.isprintable() or {".", ".."} & set(folder.split("/")):
        words = _("'{folder}' is not a folder in a repository.", folder=folder[:100])
        raise UserError(words, _("Enter its name as the Hub shows it."))
    return folder
