"""The bodies of calls and answers: read in bounds, passed on as they came, and the files that they name."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from starlette.requests import HTTPConnection

from common.files import JSON_ERRORS, parse_json
from common.language import _
from ui.usage import Refused

MAX_DEPTH = 100
MAX_PARTS = 200_000  # lists and objects in a body
MAX_SILENT_SECONDS = 60  # of a body on its way


async def read_body(request: HTTPConnection, receive, limit: int) -> bytes:
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


def replayed(body: bytes, receive):
    """Return a `receive` that gives the body that was read, then what follows it."""
    first = {"type": "http.request", "body": body, "more_body": False}

    async def received():
        nonlocal first
        message, first = first, None
        return message or await receive()

    return received


def parsed(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body, read as FastAPI reads it. Raises Refused for anything else, and too deep nesting."""
    try:
        value = parse_json(body)
    except JSON_ERRORS:
        raise Refused(400, _("This is not JSON, or it is nested too deeply.")) from None
    level, count = [value], 1
    for _level in range(MAX_DEPTH):
        level = [one for part in level for one in _parts(part)]
        count += len(level)
        if count > MAX_PARTS:
            raise Refused(400, _("The JSON has too many parts."))
        if not level:
            break
    if level or not isinstance(value, dict):
        raise Refused(400, _("The JSON is nested too deeply, or is not an object."))
    return value


def _parts(value: object) -> list:
    """Return the containers directly in a container, [] for a plain value."""
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [one for one in found if isinstance(one, dict | list)]


def json_in(content: bytes) -> Iterator[object]:
    """Yield the JSON of an answer, or of each event of a stream."""
    for line in content.splitlines():
        with suppress(ValueError, RecursionError):
            yield json.loads(line.removeprefix(b"data: "))


def paths_in(body: object) -> Iterator[str]:
    """Yield every file's `path` in a call or an answer."""
    level: list = [body]
    while level:
        yield from (one["path"] for one in level if isinstance(one, dict) and isinstance(one.get("path"), str))
        level = [one for part in level for one in _parts(part)]
