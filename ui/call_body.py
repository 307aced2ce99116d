"""The bodies of calls and answers: passed on as they came, and the files that they name. They are read by common/body.py."""

import json
from collections.abc import Iterator
from contextlib import suppress

from common.body import parts_of


def replayed(body: bytes, receive):
    """Return a `receive` that gives the body that was read, then what follows it."""
    first = {"type": "http.request", "body": body, "more_body": False}

    async def received():
        nonlocal first
        message, first = first, None
        return message or await receive()

    return received


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
        level = [one for part in level for one in parts_of(part)]
