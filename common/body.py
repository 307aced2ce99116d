"""The JSON body of a request from anybody, read in bounds. Without a web framework: `receive` and `send` are ASGI's."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from common.files import JSON_ERRORS, parse_json
from common.language import _

MAX_DEPTH = 100
MAX_PARTS = 200_000  # lists and objects in a body
MAX_SILENT_SECONDS = 60  # of a body on its way


class HasHeaders(Protocol):
    """A request, of whatever web framework."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Return its headers, by names in small letters."""
        ...


class Refused(Exception):
    """A refused request: its HTTP status, a sentence for the sender, and when to try again."""

    def __init__(self, status: int, words: str, retry_seconds: int | None = None) -> None:
        super().__init__(words)
        self.status, self.retry_seconds = status, retry_seconds


class Sending:
    """A `send` that knows whether the answer has begun: a second one cannot be sent then."""

    def __init__(self, send: Callable[[Any], Awaitable]) -> None:
        self.send, self.has_begun = send, False

    async def __call__(self, message: Any) -> None:
        """Send one message."""
        self.has_begun = True
        await self.send(message)


async def read_body(request: HasHeaders, receive: Callable[[], Awaitable], limit: int) -> bytes:
    """Return the whole body. Raises Refused when it is longer than `limit` bytes or does not come."""
    too_long = Refused(413, _("A call may have at most {limit:,} bytes.", limit=limit))
    length = request.headers.get("content-length", "0")
    body, has_more = b"", length.isdecimal() and int(length) <= limit
    if not has_more:
        raise too_long
    while has_more:
        try:
            message = await asyncio.wait_for(receive(), MAX_SILENT_SECONDS)
        except TimeoutError:
            raise Refused(408, _("The call stopped half-way.")) from None
        body += message.get("body", b"")
        has_more = message.get("more_body", False)
        if len(body) > limit:
            raise too_long
    return body


def parsed(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body, read as FastAPI reads it. Raises Refused for anything else, and too deep nesting."""
    try:
        value = parse_json(body)
    except JSON_ERRORS:
        raise Refused(400, _("This is not JSON, or it is nested too deeply.")) from None
    level, count = [value], 1
    for _level in range(MAX_DEPTH):
        level = [one for part in level for one in parts_of(part)]
        count += len(level)
        if count > MAX_PARTS:
            raise Refused(400, _("The JSON has too many parts."))
        if not level:
            break
    if level or not isinstance(value, dict):
        raise Refused(400, _("The JSON is nested too deeply, or is not an object."))
    return value


def parts_of(value: object) -> list:
    """Return the containers directly in a container, [] for a plain value."""
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [one for one in found if isinstance(one, dict | list)]
