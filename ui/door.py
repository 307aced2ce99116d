"""ASGI middleware: while the app is shared by a tunnel, nobody gets in without a key, from this machine neither.

The tunnel's client connects from loopback, so that no address tells one from another. A key is exchanged once for a cookie
(ui/sharing.py): by opening the printed link, or by posting it to the page. Without the cookie there is a page with one sentence.
"""

import html
import time
from collections import deque
from string import Template
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.body import Refused, read_body
from common.language import _, current_language, language
from common.visitors import as_guest, expect_guests
from serving.api import is_on
from ui.hosts import is_foreign
from ui.language import PAGE, language_of
from ui.owner import address_of
from ui.routes import API
from ui.sharing import Share, Who, use_key, who_has, whose_key
from ui.theme import NAME

COOKIE = "studio-door"
COOKIE_SECONDS = 7 * 86_400  # as long as a tunnel of Gradio's lasts
GUEST = "studio.guest"  # in the scope of a request: whether its sender is anybody but the owner
CAME_WITH = "studio.door"  # and the cookie that opened the door
STARTUP = f"{API}/startup-events"
PROGRAMS = "/v1/"  # has keys of its own, and refuses by itself
WINDOW_SECONDS = 60
MAX_WRONG_KEYS = 10  # of one address in that time
MAX_WRONG_KEYS_OF_ALL = 60  # the address is what the tunnel says that it is
MAX_FORM_BYTES = 2000
CLOSED = _("This app is shared with a key: open the link that was printed where it was started, or enter the key here.")
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
FORM = Template("""<!doctype html>
<html lang="$language"><head><meta charset="utf-8"><title>$name</title>
<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">
<style>
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { min-height: 90vh; margin: 0; padding: 1rem; display: grid; place-items: center; }
form { max-width: 28rem; display: grid; gap: 1rem; word-break: keep-all; }
div { display: flex; gap: .5rem; }
input { flex: 1; min-width: 0; }
input, button { font: inherit; padding: .4rem .8rem; }
</style></head>
<body><form method="post"><label for="key">$words</label>
<div><input id="key" name="key" value="$key" autocomplete="off" spellcheck="false" autofocus required>
<button>$button</button></div></form></body></html>
""")


class Door:
    """Let in who has a cookie or a key, and tell the app whether they are its owner or a guest."""

    def __init__(self, app: ASGIApp, share: Share) -> None:
        self.app, self.share = app, share
        self.is_started = False
        self.wrong: deque[tuple[float, str]] = deque()  # when, and from which address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, a websocket's included."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        request = HTTPConnection(scope)
        cookie = request.cookies.get(self._cookie_name(request), "")
        who = who_has(cookie)
        if scope["type"] == "websocket" and who is None:
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            with language(language_of(request)):
                answer = await self._answer(request, receive, who)
            if answer:
                await answer(scope, receive, _without_referrer(send))
                return
        scope[GUEST], scope[CAME_WITH] = who != Who.OWNER, cookie if who else None
        with as_guest(scope[GUEST]):
            await self.app(scope, receive, _without_referrer(send))

    async def _answer(self, request: HTTPConnection, receive: Receive, who: Who | None) -> Response | None:
        """Return what the door answers by itself; None when the app may answer."""
        path, method = request.scope["path"], request.scope["method"]
        if path == PAGE and method == "POST":
            if is_foreign(request):
                return self._closed(request, _("A page at another address may not do this."), 403)
            try:
                form = parse_qs((await read_body(request, receive, MAX_FORM_BYTES)).decode("utf-8", "replace"))
            except Refused as refused:
                return self._closed(request, str(refused), refused.status)
            return self._entered(request, form.get("key", [""])[0].strip(), who)
        key = request.query_params.get("key", "") if path == PAGE and method == "GET" else ""
        if key and (who or _is_opened_by_a_person(request)):
            return self._entered(request, key, who)
        if who or (is_on() and path.startswith(PROGRAMS)):
            return None
        if path == STARTUP and method == "GET" and not self.is_started:
            self.is_started = True  # Gradio asks for it once, before there is a tunnel
            return None
        return self._closed(request, CLOSED, 401, key)

    def _entered(self, request: HTTPConnection, key: str, who: Who | None) -> Response:
        """Return the way in for a key. Nobody who is in already uses up another one, but a guest that of the owner."""
        inside = [one for one in request.query_params.multi_items() if one[0] != "key"]
        answer = RedirectResponse(f"{PAGE}?{urlencode(inside)}" if inside else PAGE, 303, {"Cache-Control": "no-store"})
        if who == Who.OWNER:
            return answer
        now, address = time.monotonic(), address_of(request)
        while self.wrong and self.wrong[0][0] < now - WINDOW_SECONDS:
            self.wrong.popleft()
        if (
            len(self.wrong) >= MAX_WRONG_KEYS_OF_ALL
            or sum(one == address for _when, one in self.wrong) >= MAX_WRONG_KEYS
        ):
            return self._closed(request, _("Too many wrong keys. Try again in a minute."), 429)
        if who and whose_key(key) != Who.OWNER:
            self.wrong.append((now, address))
            return answer
        used = use_key(key)
        if used is None:
            self.wrong.append((now, address))
            words = _(
                "This key opens nothing: it is wrong, was used, or was renewed. `python app.py --another-key` prints one."
            )
            return self._closed(request, words, 401)
        whom, cookie = used
        if whom == Who.GUEST:
            expect_guests()
        name = self._cookie_name(request)
        answer.set_cookie(name, cookie, COOKIE_SECONDS, secure=name != COOKIE, httponly=True, samesite="lax")
        return answer

    def _cookie_name(self, request: HTTPConnection) -> str:
        """Return the cookie's name: over HTTPS one that no other name of the tunnel's domain can set, in a secure cookie."""
        is_tunnel = self.share.address.startswith("https:") and request.url.hostname == self.share.host
        return f"__Host-{COOKIE}" if is_tunnel or request.url.scheme in ("https", "wss") else COOKIE

    def _closed(self, request: HTTPConnection, words: str, status: int, key: str = "") -> Response:
        """Return the page with one sentence and a box for the key; to what is no page, the sentence."""
        headers = {"Cache-Control": "no-store", "Vary": "Accept-Language, Cookie"}
        if status == 401:
            headers["WWW-Authenticate"] = "StudioKey"
        elif status == 429:
            headers["Retry-After"] = str(WINDOW_SECONDS)
        if request.scope["path"] != PAGE:
            return PlainTextResponse(str(words), status, headers)
        parts = {"language": current_language(), "name": NAME, "words": words, "button": _("Open"), "key": key}
        page = FORM.substitute({name: html.escape(str(value)) for name, value in parts.items()})
        return HTMLResponse(page, status, headers | {"Content-Security-Policy": POLICY})


def is_guests(request: HTTPConnection) -> bool:
    """Return whether the sender of a request came in with a guest key."""
    return request.scope.get(GUEST, False)


def is_locked_out(request: HTTPConnection) -> bool:
    """Return whether the keys were renewed since a request came in: its call may have waited, or run, meanwhile."""
    cookie = request.scope.get(CAME_WITH)
    return cookie is not None and who_has(cookie) is None


def _is_opened_by_a_person(request: HTTPConnection) -> bool:
    """Return whether a browser opens a link now: what draws previews of links, or looks ahead, must not use up their key."""
    headers = request.headers
    return headers.get("sec-fetch-dest") == "document" and "prefetch" not in headers.get("sec-purpose", "")


def _without_referrer(send: Send) -> Send:
    """Return a `send` that lets no other site see addresses of this one."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message["headers"]))
            headers["referrer-policy"] = "same-origin"
            message = {**message, "headers": headers.raw}
        await send(message)

    return sent
