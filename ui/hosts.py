"""The names that this app answers to, and which pages in a browser are its own."""

import os
import re
from urllib.parse import urlsplit

from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from common.errors import UserError
from common.language import _
from ui.sharing import Share

LOOPBACK = ("127.0.0.1", "localhost")
PORTS = {"http": 80, "https": 443}  # of an address that names none
_HOST = re.compile(r"([\w.*-]+)(?::(\d{1,5}))?")


class Hosts(TrustedHostMiddleware):
    """ASGI middleware: 400 for any name but these and, as soon as there is a tunnel, the one at its other end."""

    def __init__(self, app: ASGIApp, allowed_hosts: list[str], share: Share) -> None:
        super().__init__(app, allowed_hosts, www_redirect=False)
        self.own, self.share = self.allowed_hosts, share

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self.allowed_hosts = [*self.own, *filter(None, [self.share.host])]
        await super().__call__(scope, receive, send)


def named_hosts() -> list[tuple[str, int | None]]:
    """Return the (name, port) pairs of STUDIO_HOSTS; one without a port stands for every port. Raises UserError."""
    found = []
    for entry in filter(None, map(str.strip, os.environ.get("STUDIO_HOSTS", "").split(","))):
        host = _HOST.fullmatch(entry)
        if not host:
            raise UserError(
                _("STUDIO_HOSTS: '{entry}' is not a host name.", entry=entry[:80]),
                _("Write names with commas between them, with or without a port: studio.example, studio.example:8443."),
            )
        found.append((host[1].lower(), int(host[2]) if host[2] else None))
    return found


def is_foreign(request: HTTPConnection) -> bool:
    """Return whether a browser sent it for another page: of another site, or another port of this machine."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin", "")
    try:
        page = urlsplit(origin)
        page_port = page.port or PORTS.get(page.scheme)
    except ValueError:
        return True
    if any(name == page.hostname and port in (None, page_port) for name, port in named_hosts()):
        return False
    if site:
        return site not in ("same-origin", "none")
    return bool(origin) and page.netloc != request.headers.get("host")
