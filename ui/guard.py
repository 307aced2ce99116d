"""ASGI middleware between the network and Gradio: the open routes, who may use them, and how much of them.

Plain ASGI, so that server-sent events pass through as they come. ui/usage.py has the counts and their limits.
"""

import asyncio
import json
import os
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from gradio.utils import get_upload_folder
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse

from chat.engine import Engine
from chat.zero_gpu import ZeroEngine
from common.body import MAX_SILENT_SECONDS, Refused, Sending, parsed, read_body
from common.hosted import on_space
from common.language import _, joined
from common.paths import LOCAL_OWNER
from common.visitors import is_visitor
from serving.api import Api, is_on
from ui.call_body import json_in, paths_in, replayed
from ui.delivery import Delivery
from ui.door import Door
from ui.health import Health
from ui.hosts import LOOPBACK, Hosts, is_foreign, named_hosts
from ui.language import Speaking
from ui.owner import BROWSER_COOKIE, address_of
from ui.patches.gradio_queue import forget_session, forget_upload, running_calls, session_of_call, waiting_calls
from ui.routes import API, Kind, kind_of
from ui.sharing import Share, Sharing
from ui.usage import Client, Usage

COOKIE_SECONDS = 31_536_000
MAX_BODY_BYTES = 8_000_000
MAX_NOTE_BYTES = 10_000
MAX_CONTENT_TYPE_CHARACTERS = 300  # a browser's has 70
CHECK_DISK_BYTES = 16_000_000
_RANGE = re.compile(r"(bytes=\d{0,15}-\d{0,15})?")
_COOKIE_VALUE = re.compile(r"[0-9a-f]{32}")


def guarded(
    server_name: str, share: Share | None = None, engine: Engine | ZeroEngine | None = None
) -> dict[str, list[Middleware]]:
    """Return FastAPI's keyword arguments that put the guard in front of it, and the door of an app that is shared by a tunnel.

    An app on a loopback address also accepts only this machine's own names, and the tunnel's: else any page on the web could
    point its own name to this machine and act with the local login. STUDIO_HOSTS holds further names, with commas between them,
    for a proxy on this machine that passes its own name on; with it an app on any other address is as strict, as in a container,
    where one address of this machine leads to all of its own. On Colab any name is taken: nobody's browser runs on that machine,
    its proxy lets in nobody but who is signed in there, and which name it passes on is not documented. Where STUDIO_API is 1,
    `engine` answers below /v1, before the guard; not on ZeroGPU. Raises UserError for what is no name.
    """
    share = share or Share()
    names = [name for name, _port in named_hosts()]
    is_shared = server_name not in LOOPBACK or on_space() or share.kind == Sharing.TUNNEL
    layers = [Middleware(Speaking), Middleware(Guard, usage=Usage(is_shared)), Middleware(Delivery)]
    if isinstance(engine, Engine) and is_on():
        layers.insert(0, Middleware(Api, engine=engine, address_of=address_of))
    if share.kind == Sharing.TUNNEL:
        layers.insert(0, Middleware(Door, share=share))
    if (server_name in LOOPBACK or names) and share.kind != Sharing.COLAB_PROXY:
        layers.insert(0, Middleware(Hosts, allowed_hosts=[*LOOPBACK, *names], share=share))
    return {"middleware": [Middleware(Health), *layers]}


class Guard:
    """Refuse requests that Gradio must not get, and count the others."""

    def __init__(self, app, usage: Usage) -> None:
        self.app, self.usage = app, usage

    async def __call__(self, scope, receive, send) -> None:
        """Answer one ASGI request: pass it on, or send the status and sentence of what was Refused."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sending = Sending(send)
        try:
            await self._answer(HTTPConnection(scope), receive, sending)
        except Refused as refused:
            if sending.has_begun:
                raise
            headers = {"Retry-After": str(refused.retry_seconds)} if refused.retry_seconds else None
            await PlainTextResponse(str(refused), refused.status, headers)(scope, receive, send)

    async def _answer(self, request: HTTPConnection, receive, send) -> None:
        """Check the request, count it, and pass it on. Raises Refused."""
        scope = request.scope
        kind, method = kind_of(scope["path"]), scope["method"]
        is_posted = kind in (Kind.CALL, Kind.NOTE, Kind.UPLOAD)
        if kind is None or method not in (("POST",) if is_posted else ("GET", "HEAD")):
            raise Refused(404, _("There is nothing here."))
        if is_posted and is_foreign(request):
            raise Refused(403, _("A page at another address may not do this."))
        if kind is Kind.SIGN_IN and request.headers.get("sec-fetch-site") != "same-origin":
            raise Refused(403, _("Sign in and out with the button on the page."))
        client = _client_of(request)
        with self.usage.request(client, kind):
            if kind is Kind.PAGE:
                self.usage.sweep()
                async with self.usage.turn(client):
                    await self.app(scope, receive, _with_cookie(request, send))
                return
            if kind is Kind.STREAM:
                send = self._noting(scope, client, send)
                with self._listening(await self._session_of_stream(request, client)):
                    try:
                        await self.app(scope, receive, send)
                    except RuntimeError as error:  # Gradio's last words, that the session is gone, are sent by then
                        if not isinstance(error.__cause__, HTTPException):
                            raise
                        await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            if kind is Kind.UPLOAD:
                receive, send = self._upload(request, client, receive, send)
            elif kind is Kind.FILE:
                if not _RANGE.fullmatch(request.headers.get("range", "")):
                    raise Refused(416, _("A range is `bytes=first-last`."))
                self._check_file(scope["path"].partition("file=")[2], client)
            elif kind in (Kind.CALL, Kind.NOTE):
                body = await read_body(request, receive, MAX_BODY_BYTES if kind is Kind.CALL else MAX_NOTE_BYTES)
                value = parsed(body)
                if b"\\ud" in body.lower():  # maybe half a character, at which Gradio's answer would end in a traceback
                    body = json.dumps(value).encode()
                await self._check_call(scope, kind, value, client)
                receive, send = replayed(body, receive), self._noting(scope, client, send)
            await self.app(scope, receive, send)

    async def _check_call(self, scope, kind: Kind, body: dict[str, Any], client: Client) -> None:
        """Raise Refused for a call with another's session or files, or beyond the limits of the client."""
        session_hash = body.get("session_hash")
        if session_hash == "":
            raise Refused(400, _("The session has no name."))
        if isinstance(session_hash, str):
            await self._join(scope, session_hash, client)
        if kind is Kind.CALL:
            number = body.get("fn_index")
            is_named = number is None and not scope["path"].endswith("/queue/join")
            if not is_named and not (isinstance(number, int) and number in scope["app"].get_blocks().fns):
                raise Refused(404, _("The app has no such handler."))
            running = running_calls(scope["app"])
            left = [event for event in running if event.session_hash not in self.usage.sessions]
            left_here = sum(address_of(event.request) == client.address for event in left)
            self.usage.check_pending(client, waiting_calls(scope["app"]), left_here)
            for path in paths_in(body):
                self._check_file(path, client)

    def _check_file(self, path: str, client: Client) -> None:
        """Raise Refused for an address that the server would fetch, and for any file that the client does not own.

        Not only files in the served folder are checked: a link such as /proc/self/root leads there, too.
        """
        if not self.usage.is_shared:
            return
        if re.match(r"(?i)[a-z][a-z0-9+.-]+:|[/\\]{2}", path):
            raise Refused(403, _("Files are uploaded, not fetched from an address."))
        if not self.usage.owns(client, os.path.abspath(path)):
            raise Refused(403, _("This file was not uploaded or made by you, or it is gone. Upload it again."))

    async def _join(self, scope, session_hash: str, client: Client) -> None:
        """Note that the client uses a session, and let Gradio forget those that make room. Raises Refused."""
        if len(session_hash) > 100:
            raise Refused(400, _("The session's name is too long."))
        for gone in self.usage.join(session_hash, client):
            await forget_session(scope["app"], gone)

    async def _session_of_stream(self, request: HTTPConnection, client: Client) -> str | None:
        """Return the session whose events are listened to. Raises Refused for another's."""
        path = request.scope["path"]
        session_hash = request.query_params.get("session_hash")
        if path.startswith(f"{API}/heartbeat/"):
            session_hash = path.rpartition("/")[2]
        elif path.startswith(f"{API}/call/"):
            event_id = path.rpartition("/")[2]
            session_hash = session_of_call(request.scope["app"], event_id) or event_id
        if session_hash:
            await self._join(request.scope, session_hash, client)
        return session_hash

    @contextmanager
    def _listening(self, session_hash: str | None) -> Generator[None]:
        """Count a stream of a session while it lasts: sessions with a stream are removed last."""
        session = self.usage.sessions.get(session_hash)
        if session:
            session.streams += 1
        try:
            yield
        finally:
            if session:
                session.streams -= 1

    def _noting(self, scope, client: Client, send):
        """Return a `send` that notes the files in an answer as the client's, and the new session of a call without one."""
        is_call = scope["path"].startswith(f"{API}/call/") and scope["method"] == "POST"

        async def noted(message) -> None:
            content = message.get("body", b"")
            if b'"path"' in content:
                found = [os.path.abspath(path) for part in json_in(content) for path in paths_in(part)]
                served = f"{os.path.abspath(get_upload_folder())}{os.sep}"
                self.usage.add_files([path for path in found if path.startswith(served)], client)
            if is_call and content.startswith(b'{"event_id"'):
                await self._join(scope, json.loads(content)["event_id"], client)
            await send(message)

        return noted

    def _upload(self, request: HTTPConnection, client: Client, receive, send):
        """Return `receive` and `send` of an upload. Raises Refused when the client may not upload now."""
        if self.usage.is_shared and not client.owner:
            words = _("Uploads need the cookie that the page sets. Open the Space in a tab of its own.")
            if host := os.environ.get("SPACE_HOST", "").split(",")[0]:
                words = joined([words, f"https://{host}"])
            raise Refused(403, words)
        if len(request.headers.get("content-type", "")) > MAX_CONTENT_TYPE_CHARACTERS:
            raise Refused(400, _("The boundary of this form is too long."))
        length = request.headers.get("content-length", "")
        self.usage.check_upload(client, int(length) if length.isdecimal() else None)
        if not self.usage.has_disk():
            raise Refused(507, _("The server's disk is full."))
        unchecked = 0

        async def received():
            # a MultiPartException is what makes Gradio remove what it has written of the upload
            nonlocal unchecked
            try:
                message = await asyncio.wait_for(receive(), MAX_SILENT_SECONDS)
            except TimeoutError:
                raise MultiPartException("The upload stopped.") from None
            if message["type"] == "http.disconnect":
                raise MultiPartException("The upload was cut off.")
            unchecked += len(message.get("body", b""))
            if unchecked > CHECK_DISK_BYTES:
                unchecked = 0
                if not self.usage.has_disk():
                    raise MultiPartException("The server's disk is full.")
            return message

        paths = bytearray()

        async def sent(message) -> None:
            paths.extend(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body") and paths.startswith(b"["):
                self.usage.add_files([os.path.abspath(path) for path in json.loads(paths)], client)
                if upload_id := request.query_params.get("upload_id"):
                    # Gradio forgets how far an upload is when somebody asked for it, and keeps it otherwise
                    asyncio.get_running_loop().call_later(30, forget_upload, upload_id)
            await send(message)

        return received, sent


def _client_of(request: HTTPConnection) -> Client:
    """Return the sender of a request: a visitor by their browser's cookie, else the one owner."""
    cookie = request.cookies.get(BROWSER_COOKIE, "")
    owner = (cookie if _COOKIE_VALUE.fullmatch(cookie) else "") if is_visitor() else LOCAL_OWNER
    return Client(owner, address_of(request))


def _with_cookie(request: HTTPConnection, send):
    """Return a `send` that gives a visitor's browser its cookie: the owner of its uploads and sessions.

    A Space is shown within another site, so the cookie has to be allowed there, to this one site alone (Partitioned).
    """
    if not is_visitor() or _client_of(request).owner:
        return send
    words = f"{BROWSER_COOKIE}={secrets.token_hex(16)}; Path=/; Max-Age={COOKIE_SECONDS}; HttpOnly; "
    if on_space():
        words += "Secure; SameSite=None; Partitioned"
    else:
        words += "Secure; SameSite=Lax" if request.url.scheme == "https" else "SameSite=Lax"

    async def sent(message) -> None:
        if message["type"] == "http.response.start":
            private = (b"cache-control", b"private, no-store")  # no proxy gives one visitor's cookie to another
            message["headers"] = [*message["headers"], (b"set-cookie", words.encode()), private]
        await send(message)

    return sent
