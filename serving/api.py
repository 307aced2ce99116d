"""The ASGI layer that answers below /v1, in front of the page: its own keys, the page's engine, limits and line.

No cookie counts here and no address is allowed more than another: a request without a key in its Authorization header gets one
sentence, its body unread. Everything else is passed on untouched.
"""

import asyncio
import hashlib
import json
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing, closing
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from chat.answer import PromptTooLong, Reply
from chat.engine import CALLS, Engine
from chat.history import MessageTooLong
from chat.line import Busy, Caller, Places
from chat.resident import Model
from common.body import Refused, Sending, parsed, read_body
from common.errors import as_user_error
from common.language import _
from common.limits import switch
from common.paths import GUEST_PREFIX
from common.visitors import as_guest
from models.hardware import on_zero_gpu
from serving.asked import ApiError, Asked, read_chat, read_completion
from serving.keys import owner_of
from serving.models import found, listed, open_model
from serving.shapes import Shape, finish_reason, usage_of

MAX_BODY_BYTES = 4_000_000
RETRY_SECONDS = 5
START_SECONDS = 10  # then a stream begins also without a word: a proxy gives up a connection on which nothing comes
POSTS = {"/v1/chat/completions": read_chat, "/v1/completions": read_completion}
MODELS = "/v1/models"

log = logging.getLogger(__name__)


class Gone(Exception):
    """The client closed the connection."""


def is_on() -> bool:
    """Return whether the owner of this machine switched the interface on.

    Never on ZeroGPU, which lends a GPU to visitors of the page. Raises UserError for a variable that says neither.
    """
    return bool(switch("STUDIO_API")) and not on_zero_gpu()


class Api:
    """Answers what is below /v1 with `engine`; `address_of` returns a sender's address, to count by."""

    def __init__(self, app, engine: Engine, address_of: Callable[[HTTPConnection], str]) -> None:
        self.app, self.engine, self.address_of = app, engine, address_of
        self.places = Places(CALLS)
        self._limiter: CapacityLimiter | None = None  # threads of its own: each answer on its way holds one

    async def __call__(self, scope, receive, send) -> None:
        """Answer one ASGI request, or pass it on."""
        if scope["type"] == "lifespan" or not (scope["path"] == "/v1" or scope["path"].startswith("/v1/")):
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        sending = Sending(send)
        try:
            await self._answer(HTTPConnection(scope), receive, sending)
        except Gone:
            return
        except Exception as error:
            known = _as_api_error(error)
            if sending.has_begun:
                await send({"type": "http.response.body", "body": _event(known.json), "more_body": False})
                return
            headers = {"Retry-After": str(known.retry_seconds)} if known.retry_seconds else {}
            headers |= {"WWW-Authenticate": "Bearer"} if known.status == 401 else {}
            await JSONResponse(known.json, known.status, headers)(scope, receive, send)

    async def _answer(self, request: HTTPConnection, receive, send) -> None:
        """Check the key, then answer. Raises ApiError, Refused, UserError and Gone."""
        scope, path = request.scope, request.scope["path"].rstrip("/")
        kind, _space, key = request.headers.get("authorization", "").partition(" ")
        owner = owner_of(key.strip()) if kind.lower() == "bearer" else None
        if owner is None:
            words = _(
                "This needs an API key in the header `Authorization: Bearer sk-studio-...`; this one is not, or it was revoked."
            )
            raise ApiError(401, words, code="invalid_api_key")
        is_list = path == MODELS or path.startswith(f"{MODELS}/")
        if not is_list and path not in POSTS:
            raise ApiError(404, _("There is nothing here."), code="unknown_url")
        if scope["method"] != ("GET" if is_list else "POST"):
            raise ApiError(
                405,
                _("{path} does not take {method}.", path=path, method=scope["method"]),
                code="method_not_supported",
            )
        caller = Caller(owner, self.address_of(request))
        self._limiter = self._limiter or CapacityLimiter(CALLS.total)
        # whoever came through a tunnel without its cookie is who the key says
        with as_guest(owner.startswith(GUEST_PREFIX)), self.places.taken_by(caller):
            if is_list:
                name = path.removeprefix(MODELS).strip("/")
                value = (
                    await self._in_thread(found, name, owner)
                    if name
                    else {"object": "list", "data": await self._in_thread(listed, owner)}
                )
                await JSONResponse(value)(scope, receive, send)
                return
            asked = POSTS[path](parsed(await read_body(request, receive, MAX_BODY_BYTES)))
            gone = asyncio.create_task(_until_gone(receive))
            stop = threading.Event()
            gone.add_done_callback(lambda _task: stop.set())
            try:
                model = await self._in_thread(open_model, asked.model, owner, stop)
                await (self._stream if asked.is_streamed else self._whole)(
                    asked, model, caller, gone, scope, receive, send
                )
            finally:
                gone.cancel()

    async def _whole(
        self, asked: Asked, model: Model, caller: Caller, gone: asyncio.Task, scope, receive, send
    ) -> None:
        """Send one response with all choices."""
        shape, replies, choices = Shape(bool(asked.messages), asked.model), [], []
        for index, generator in enumerate(self._generators(asked, model, caller)):
            reply = Reply()
            async with aclosing(self._each(generator, gone)) as each:
                async for reply in each:
                    _check_whole(reply)
            replies.append(reply)
            choices.append(shape.choice(index, reply, asked.has_echo))
        await JSONResponse(shape.whole(choices, usage_of(replies)))(scope, receive, send)

    async def _stream(
        self, asked: Asked, model: Model, caller: Caller, gone: asyncio.Task, scope, receive, send
    ) -> None:
        """Send the text as it grows in server-sent events, choice by choice. Until the first word an error has its status."""
        shape, replies, has_begun = Shape(bool(asked.messages), asked.model), [], False
        began = asyncio.get_running_loop().time()

        async def put(body: bytes) -> None:
            nonlocal has_begun
            if not has_begun:
                headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
                headers.append((b"x-accel-buffering", b"no"))
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                has_begun = True
            await send({"type": "http.response.body", "body": body, "more_body": True})

        for index, generator in enumerate(self._generators(asked, model, caller)):
            told, reply = None, Reply()  # characters that were sent, None before the first piece
            async with aclosing(self._each(generator, gone)) as each:
                async for reply in each:
                    _check_whole(reply)
                    if not reply.new_tokens:
                        if has_begun or asyncio.get_running_loop().time() - began > START_SECONDS:
                            await put(b": waiting\n\n")
                        continue
                    if told is None:
                        told = 0
                        await put(_event(shape.first_chunk(index, reply, asked.has_echo)))
                    if len(reply.text) > told:
                        piece, told = reply.text[told:], len(reply.text)
                        await put(_event(shape.chunk(index, piece)))
            if told is None:  # it ended without a word
                await put(_event(shape.first_chunk(index, reply, asked.has_echo)))
            await put(_event(shape.chunk(index, "", finish_reason(reply))))
            replies.append(reply)
        if asked.has_usage:
            await put(_event(shape.last_chunk(usage_of(replies))))
        await put(b"data: [DONE]\n\n")
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _generators(self, asked: Asked, model: Model, caller: Caller) -> Generator[Generator[Reply]]:
        """Yield the engine's answers, each to be used up before the next begins: who sends many prompts waits like anybody."""
        if asked.messages:
            begin = hashlib.sha256(repr((asked.model, asked.messages[:2])).encode()).hexdigest()[:16]
            conversation = f"{caller.owner}/v1/{begin}"
            yield self.engine.reply(
                model, asked.messages, asked.sampling, conversation, caller=caller, stops=asked.stops
            )
        for prompt in asked.prompts:
            yield self.engine.complete(
                model, prompt, asked.sampling, asked.room, asked.stops, asked.top, asked.has_echo, caller
            )

    async def _each(self, generator: Generator[Reply], gone: asyncio.Task) -> AsyncGenerator[Reply]:
        """Yield what the engine yields, from a thread. Raises Gone, and ends the generation, when nobody listens any more."""
        with closing(generator):
            while (reply := await self._in_thread(next, generator, None)) is not None:
                if gone.done():
                    raise Gone
                yield reply

    async def _in_thread(self, work: Callable, *arguments) -> Any:
        """Return what `work` returns, from a thread of this layer's own."""
        return await to_thread.run_sync(work, *arguments, limiter=self._limiter)


async def _until_gone(receive) -> None:
    """Wait until the client closes the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _check_whole(reply: Reply) -> None:
    """Raise ApiError where earlier turns were left out: a page says so, a program would not notice."""
    if reply.left_out:
        words = _("The conversation does not fit into the {window:,} tokens that the model reads.", window=reply.window)
        raise ApiError(400, words, "messages", "context_length_exceeded")


def _event(value: dict[str, Any]) -> bytes:
    """Return a server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n\n"


def _as_api_error(error: Exception) -> ApiError:
    """Return what the client is told; what is a bug is logged, without what was asked."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, Refused):
        return ApiError(error.status, str(error))
    if isinstance(error, Busy):
        return ApiError(429, str(error), code="rate_limit_exceeded", retry_seconds=RETRY_SECONDS)
    if isinstance(error, PromptTooLong | MessageTooLong):
        return ApiError(400, str(error), code="context_length_exceeded")
    known = as_user_error(error, with_paths=False)
    if known is not None:
        return ApiError(400, str(known))
    log.error("An answer below /v1 failed", exc_info=error)
    return ApiError(500, _("Something went wrong inside the app. The server's log has the details."))
