"""`/healthz` for whoever watches over the app: a container's health check, a load balancer. Outside everything else.

It answers without a key, to any name, and counts nobody; it knows nothing of users, and says nothing but that the app answers.
"""

import tomllib

from starlette.responses import JSONResponse

from common.paths import REPOSITORY
from runs.closing import is_closing

PATH = "/healthz"


class Health:
    """Answer GET and HEAD of /healthz, and pass all else on."""

    def __init__(self, app) -> None:
        self.app = app
        with open(REPOSITORY / "pyproject.toml", "rb") as file:
            self.version = tomllib.load(file)["project"]["version"]

    async def __call__(self, scope, receive, send) -> None:
        """Answer with 200, or with 503 while the app is being stopped."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] not in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        status, words = (503, "stopping") if is_closing() else (200, "ok")
        headers = {"cache-control": "no-store"}
        await JSONResponse({"status": words, "version": self.version}, status, headers)(scope, receive, send)
