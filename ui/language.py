"""The language of the page: which one a visitor reads.

Gradio's own texts ("Drop File Here") follow `navigator.language`, which the page sets before Gradio is loaded.
"""

import html
import re

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.hosted import on_space
from common.language import ENGLISH, LANGUAGES, NAMES, _, current_language, language

PAGE = "/"
COOKIE = "studio-language"
COOKIE_SECONDS = 31_536_000
MAX_LANGUAGES_READ = 20  # of a browser's list
_ASKED = re.compile(rf"[?&]lang=({'|'.join(LANGUAGES)})(?:[&#]|$)")
# what the switch does, so that the rest of the address stays
_SWITCH = "const at = new URL(location); at.searchParams.set('lang', this.lang); location = at; return false"


def language_of(request: HTTPConnection) -> str:
    """Return the language of a visitor: `?lang=` of the page, then the cookie, then the browser's list, else English."""
    address = f"?{request.scope['query_string'].decode('latin-1')}"
    if request.scope["method"] == "POST":  # a call of the page
        address += f"&{request.headers.get('referer', '').partition('?')[2]}"
    if found := _ASKED.search(address):
        return found[1]
    if (kept := request.cookies.get(COOKIE)) in LANGUAGES:
        return kept
    return _preferred(request.headers.get("accept-language", ""))


def _preferred(accepted: str) -> str:
    """Return the first language of an Accept-Language header that the page has; English without one."""
    wishes = []
    for wish in accepted.split(",")[:MAX_LANGUAGES_READ]:
        name, _separator, weight = wish.partition(";q=")
        try:
            wishes.append((-float(weight or 1), len(wishes), name.strip().lower().partition("-")[0]))
        except ValueError:
            continue
    return next((name for _weight, _place, name in sorted(wishes) if name in LANGUAGES), ENGLISH)


class Speaking:
    """ASGI middleware: answers are in the visitor's language, and a language that was asked for is kept."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request in the language of its sender."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        with language(language_of(request)):
            await self.app(scope, receive, _keeping(request, send) if scope["path"] == PAGE else send)


def _keeping(request: HTTPConnection, send: Send) -> Send:
    """Return a `send` that sets the cookie when the page's address asks for a language.

    A Space is shown within another site: there a cookie has to be allowed, to this one site alone (Partitioned).
    """

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers, spoken = MutableHeaders(raw=list(message["headers"])), current_language()
            headers.add_vary_header("Accept-Language, Cookie")
            headers["content-language"] = spoken
            if request.query_params.get("lang") == spoken:
                rest = "Secure; SameSite=None; Partitioned" if on_space() else "SameSite=Lax"
                headers.append("set-cookie", f"{COOKIE}={spoken}; Path=/; Max-Age={COOKIE_SECONDS}; {rest}")
            message = {**message, "headers": headers.raw}
        await send(message)

    return sent


def in_its_language(page: bytes) -> bytes:
    """Return the page's HTML that says its language, to the browser and to Gradio."""
    spoken = current_language()
    words = f"Object.defineProperty(navigator, 'language', {{get: () => '{spoken}'}});"
    words += f"Object.defineProperty(navigator, 'languages', {{get: () => ['{spoken}']}})"
    page = page.replace(b'lang="en"', f'lang="{spoken}"'.encode(), 1)
    return page.replace(b"<head>", f"<head><script>{words}</script>".encode(), 1)


def switch_html() -> str:
    """Return the links that show the page in another language; the one it is in is no link."""
    links = []
    for code, name in NAMES.items():
        place = "aria-current='true'" if code == current_language() else f"href='?lang={code}'"
        links.append(f"<a lang='{code}' {place} onclick=\"{html.escape(_SWITCH)}\">{name}</a>")
    return f"<nav class='languages' aria-label='{html.escape(str(_('Language')))}'>{''.join(links)}</nav>"
