"""Who acts on the Hub, and what its errors mean in words.

On a Space only the visitor's own sign-in counts; on a laptop the local login. Without either the token is False: None would
let huggingface_hub take whatever token the machine has. A name is believed only when the Hub gives it for the token.
"""

import os
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import urlsplit

from common.errors import UserError

Token = str | bool  # False is nobody
IDENTITY_SECONDS = 300
HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True)
class Account:
    """Somebody on the Hub: the name and the organisations that the Hub gives for the token."""

    name: str
    token: str = field(repr=False)
    orgs: tuple[str, ...] = ()
    can_write: bool = True


def token_of(visitors_token: str | None) -> Token:
    """The token to act with: on a Space the visitor's or nobody's, elsewhere the local login's or nobody's."""
    if os.environ.get("SPACE_ID"):
        return visitors_token or False
    from huggingface_hub import get_token

    return get_token() or False


def sign_in_words() -> str:
    """What to do to be somebody on the Hub, where this app runs."""
    return "Sign in at the top of the page." if os.environ.get("SPACE_ID") else "Run `hf auth login` and try again."


def account_of(token: Token) -> Account:
    """Whose token this is, by the Hub's word. Raises UserError without a token, and for one that the Hub does not know."""
    if not token:
        raise UserError("Nobody is signed in to the Hub.", sign_in_words())
    return _account_of(token, int(time.time() / IDENTITY_SECONDS))


@lru_cache(maxsize=256)
def _account_of(token: str, while_fresh: int) -> Account:
    """Kept for minutes: the Hub limits how often it may be asked."""
    with in_words("sign in"):
        facts = client(token).whoami()
    role = facts.get("auth", {}).get("accessToken", {}).get("role")
    orgs = tuple(org["name"] for org in facts.get("orgs", []) if org.get("name"))
    return Account(facts["name"], token, orgs, can_write=role != "read")


def client(token: Token):
    """A client that sends this token and never another one."""
    from huggingface_hub import HfApi

    return HfApi(token=token or False)


def parse_repo(text: str) -> tuple[str, str | None]:
    """(owner/name, revision or None) from an id, `id@revision`, or an address of the Hub. Raises UserError."""
    wanted = (text or "").strip()
    address = urlsplit(wanted)
    if address.scheme:
        if address.scheme not in ("http", "https") or address.netloc not in (
            *HUB_HOSTS,
            urlsplit(client(False).endpoint).netloc,
        ):
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


@contextmanager
def in_words(doing: str, repo_id: str = "it"):
    """Turn what huggingface_hub raises inside into a UserError: what was found, and what to do."""
    import httpx2
    from huggingface_hub.errors import HFValidationError, XetDownloadError

    try:
        yield
    except (OSError, httpx2.HTTPError, HFValidationError, XetDownloadError, RuntimeError) as error:
        raise explain(error, doing, repo_id) from error


def explain(error: Exception, doing: str, repo_id: str) -> UserError:
    """The sentence for one error of huggingface_hub."""
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return UserError("The Hub is switched off here (HF_HUB_OFFLINE).", "Start the app without it.")
    if isinstance(error, errors.GatedRepoError):
        return UserError(f"{repo_id} is gated.", "Ask for access on its page on the Hub, then try again.")
    if isinstance(error, errors.RepositoryNotFoundError):
        return UserError(
            f"There is no '{repo_id}' on the Hub, or it is private.",
            "Check the spelling. A private one opens for those who may read it, when they are signed in.",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"{repo_id} has no such revision.", "Give a commit, a tag or a branch of it.")
    if isinstance(error, errors.EntryNotFoundError):
        return UserError(f"A file of {repo_id} is not there (any more).", "Look at it again.")
    if isinstance(error, errors.HfHubHTTPError) and getattr(error, "response", None) is not None:
        return _of_status(error, doing, repo_id)
    return UserError(f"The connection to the Hub broke while trying to {doing}.", "Check the network and try again.")


def _of_status(error, doing: str, repo_id: str) -> UserError:
    status, headers = error.response.status_code, error.response.headers
    wait = headers.get("Retry-After", "")
    sentences = {
        401: ("The Hub does not know this sign-in (any more).", sign_in_words()),
        403: (f"This sign-in may not {doing} ({repo_id}).", "It needs the right to write to that repository."),
        409: (f"{repo_id} is being changed by somebody else.", "Look at it again, then repeat."),
        412: (f"{repo_id} was changed in the meantime.", "Look at what would change now, then repeat."),
        429: ("The Hub asks for a pause: too many requests.", f"Try again in {wait or 'some'} seconds."),
    }
    failed = (f"The Hub failed ({status}) while trying to {doing}.", "Try again in some minutes.")
    return UserError(*sentences.get(status, failed))
