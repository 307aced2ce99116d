"""The connection to a model's server: what comes is bounded, and nothing follows the server to another address."""

from collections.abc import AsyncIterator

import httpx2

MAX_REPLY_BYTES = 20_000_000  # of one answer: a token is some hundred bytes of JSON
MAX_ERROR_BYTES = 1_000_000


class BoundedStream(httpx2.AsyncByteStream):
    """The body of a response; reading more than MAX_REPLY_BYTES of it raises ReadError."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        left = MAX_REPLY_BYTES
        async for part in self._stream:
            left -= len(part)
            if left < 0:
                raise httpx2.ReadError("The reply is too long.")
            yield part

    async def aclose(self) -> None:
        """Close the connection."""
        await self._stream.aclose()


async def bound(response: httpx2.Response) -> None:
    """Bound the body of a response. Raises DecodingError for a compressed one: of a megabyte it would make a gigabyte."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise httpx2.DecodingError("The reply is compressed, which was not asked for.")
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = BoundedStream(response.stream)
    length = response.headers.get("Content-Length", "")
    if response.is_error and length.isdecimal() and int(length[:20]) <= MAX_ERROR_BYTES:
        await response.aread()  # for the message in it


def bounded_session() -> httpx2.AsyncClient:
    """Return a client for a server that nobody has to trust; how long it may be silent is said with each request."""
    return httpx2.AsyncClient(headers={"Accept-Encoding": "identity"}, event_hooks={"response": [bound]}, timeout=None)
