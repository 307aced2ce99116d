"""ASGI middleware that makes the page small and quick: one compression for all that it is made of, and files that browsers keep.

Gradio compresses every file again for every visitor, and not the page itself, which is the largest; and no browser is told that a
file whose name holds its hash never changes.
"""

import posixpath
from functools import partial

import brotli
from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ui.language import PAGE, in_its_language
from ui.patches.ended_loader import with_a_clock_that_ends
from ui.patches.link_preview import with_own_preview
from ui.patches.roles import with_roles
from ui.routes import Kind, kind_of
from ui.theme import ABOUT, NAME

QUALITY = 6  # of Brotli: higher ones take ten times as long for a hundredth
MIN_BYTES = 400
HASHED = "/assets/"
FOREVER = "public, max-age=31536000, immutable"


class Delivery:
    """Deliver the page and its files compressed; those whose names hold a hash are compressed once and kept in memory."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._kept: dict[str, list[Message]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "GET" or kind_of(scope["path"]) not in (Kind.PAGE, Kind.ASSET):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        can_read = "br" in headers.get("accept-encoding", "") and "range" not in headers
        answer = self._kept.get(scope["path"]) if can_read else None
        if answer is None:
            answer = await self._answer(scope, receive, can_read)
            # a file has one name of all those that lead to it (`././x.js`, `x.js/`)
            is_own_name = scope["path"].startswith(HASHED) and posixpath.normpath(scope["path"]) == scope["path"]
            if can_read and is_own_name and answer[0]["status"] == 200:
                self._kept[scope["path"]] = answer
        for message in answer:
            await send(dict(message))

    async def _answer(self, scope: Scope, receive: Receive, can_read: bool) -> list[Message]:
        """Return the two messages of the app's answer, compressed where the browser can read it."""
        asked = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        messages: list[Message] = []

        async def collect(message: Message) -> None:
            if message["type"] in ("http.response.start", "http.response.body"):  # a test client is sent more
                messages.append(message)

        await self.app({**scope, "headers": asked}, receive, collect)
        start, body = messages[0], b"".join(message.get("body", b"") for message in messages[1:])
        headers = MutableHeaders(raw=list(start["headers"]))
        if start["status"] == 200:
            if scope["path"] == PAGE:
                body = with_own_preview(in_its_language(body), NAME, str(ABOUT))
            if scope["path"].startswith(HASHED):
                body = with_roles(with_a_clock_that_ends(body))
                headers["cache-control"] = FOREVER
            if can_read and len(body) >= MIN_BYTES and not headers.get("content-type", "").startswith("image/"):
                body = await to_thread.run_sync(partial(brotli.compress, body, quality=QUALITY))
                headers["content-encoding"] = "br"
            headers.add_vary_header("Accept-Encoding")
            headers["content-length"] = str(len(body))
        return [{**start, "headers": headers.raw}, {"type": "http.response.body", "body": body}]
