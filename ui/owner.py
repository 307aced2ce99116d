"""The owner of a call's runs and adapters: determined anew in every handler, from what the server can check.

On a laptop everything belongs to 'local'. On a Space a signed-in visitor is the account that the Hub gives for the token; others,
and the guests of a shared app, own what a random key in their browser opens. The key's hash is the folder name, so that a folder
does not reveal the key.
"""

import hashlib
import ipaddress
import os
import re
import secrets
import time
from collections import Counter
from dataclasses import dataclass

import gradio as gr
from starlette.requests import HTTPConnection

from chat.line import Caller
from common.errors import UserError
from common.hosted import on_space
from common.language import _
from common.paths import GUEST_PREFIX, LOCAL_OWNER, is_name
from common.visitors import is_guest, is_visitor
from models.hub.client import account_of, token_of

BROWSER_COOKIE = "studio-browser"
_KEY = re.compile(r"[0-9a-f]{32,64}")
_TOKEN = re.compile(r"[A-Za-z0-9_.~+/=-]{1,4000}")
MAX_REFUSED_TOKENS = 10  # of one address in a minute: the Hub limits how often a Space may ask, for all of its visitors
_refused: Counter[tuple[str, int]] = Counter()  # by address and minute


@dataclass(frozen=True)
class Visitor:
    """The sender of a call: the owner's folder name, the token for the Hub (False: none), and the address."""

    owner: str
    hub_token: str | bool = False
    address: str = ""  # of their machine or network, "" when it is not known

    def as_caller(self) -> Caller:
        """Return the visitor as the chat engine counts callers."""
        return Caller(self.owner, self.address)


def can_sign_in() -> bool:
    """Return whether Gradio's login button works: on a Space with hf_oauth."""
    return on_space() and bool(os.environ.get("OAUTH_CLIENT_ID"))


def new_key() -> str:
    """Return a new random key for a browser: 128 bits in hexadecimal."""
    return secrets.token_hex(16)


def known_key(kept: object) -> str:
    """Return the key that a browser kept, or a new one."""
    return kept if isinstance(kept, str) and kept else new_key()


def visitor_of(browser_key: str | None, token: gr.OAuthToken | None, request: gr.Request | None = None) -> Visitor:
    """Return the visitor behind a call. Raises UserError as `owner_of` does."""
    return Visitor(owner_of(browser_key, token), token_of(token.token if token else None), address_of(request))


def program_of(token: gr.OAuthToken | None, request: gr.Request | None) -> Visitor:
    """Return the visitor whose program calls: on a Space the account of its token, else the guest that its cookie names.

    The cookie is the one that ui/guard.py sets: no page can read it, and no two browsers or programs share it. Raises UserError.
    """
    if on_space() and token is None and request is not None:
        kind, _space, given = request.headers.get("x-hf-authorization", "").partition(" ")
        if kind.lower() == "bearer" and _TOKEN.fullmatch(given.strip()):  # as gradio_client sends it
            token = gr.OAuthToken(token=given.strip(), scope="", expires_at=0)
            _check_token(token.token, address_of(request))
    key = request.cookies.get(BROWSER_COOKIE, "") if request is not None else ""
    return visitor_of(key, token, request)


def _check_token(token: str, address: str) -> None:
    """Ask the Hub whose token a program sent. Raises UserError, unasked after MAX_REFUSED_TOKENS of its address."""
    now = (address, int(time.time() / 60))
    if _refused[now] >= MAX_REFUSED_TOKENS:
        raise UserError(_("Too many wrong tokens came from this address."), _("Try again in a minute."))
    try:
        account_of(token)
    except UserError:
        for old in [one for one in list(_refused) if one[1] != now[1]]:
            _refused.pop(old, None)
        _refused[now] += 1
        raise


def address_of(request: gr.Request | HTTPConnection | None) -> str:
    """Return the address of a request's sender, to count by: IPv4, or an IPv6 network of 64 bits; "" when it is unknown.

    A Space is reached through proxies with private addresses, each of which appends the sender's address to `X-Forwarded-For`:
    the last public address is the visitor's, and what a visitor wrote there stands before it.
    """
    request = getattr(request, "request", request)  # Gradio's wraps Starlette's
    if request is None or request.client is None:
        return ""
    host = request.client.host
    if not on_space():
        return host
    forwarded = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    for text in [host, *reversed(forwarded)]:
        try:
            address = ipaddress.ip_address(text.strip())
        except ValueError:
            if text is host:  # a socket has no number
                continue
            break
        if address.is_global:
            return str(address) if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
    return host


def is_signed_in(token: gr.OAuthToken | None) -> bool:
    """Return whether the owner of this machine calls, or a visitor with an account. A guest's token is a claim of their own."""
    return not is_visitor() or (token is not None and not is_guest())


def owner_of(browser_key: str | None, token: gr.OAuthToken | None) -> str:
    """Return the owner's folder name. Raises UserError for a visitor without a token and without a proper key."""
    if not is_visitor():
        return LOCAL_OWNER
    if token is not None and not is_guest():  # the account that the Hub names: the cookie's own words are never trusted
        return folder_of_account(account_of(token.token).name)
    if not isinstance(browser_key, str) or not _KEY.fullmatch(browser_key):
        raise UserError(_("This page does not know you yet."), _("Reload it, or sign in."))
    return f"{GUEST_PREFIX}{hashlib.sha256(browser_key.encode()).hexdigest()[:32]}"


def folder_of_account(name: str) -> str:
    """Return the folder name of an account, unique also for names that differ only in their case."""
    folder = f"user-{name.lower()}"
    return folder if is_name(folder) else f"user-{hashlib.sha256(name.lower().encode()).hexdigest()[:32]}"
