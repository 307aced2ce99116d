"""Calls as the page makes them, for the tests of what a stranger may call."""

from fastapi.testclient import TestClient

from tests.ui.conftest import handler
from ui import guard, usage

JOIN, RUN, UPLOAD = "/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/upload"
JSON = {"content-type": "application/json"}


def choose_preset(client: TestClient, session: str, at: str = RUN):
    """The answer to a small call, as the page makes it."""
    return client.post(
        at, json={"data": ["Careful"], "fn_index": handler(client, "preset")._id, "session_hash": session}
    )


def import_file(client: TestClient, path: str, at: str = RUN):
    """The answer to the import of a file that is named by its path."""
    data, job = ["a" * 32, {"path": path, "meta": {"_type": "gradio.FileData"}}, ""], handler(client, "import_adapter")
    session = f"of {client.headers['x-forwarded-for']}"
    return client.post(at, json={"data": data, "fn_index": job._id, "session_hash": session})


def send(client: TestClient, content: bytes = b"{}", **headers):
    return client.post(UPLOAD, files={"files": ("a.zip", content)}, headers=headers)


def guard_of(client: TestClient) -> guard.Guard:
    app = client.app.middleware_stack
    while not isinstance(app, guard.Guard):
        app = app.app
    return app


def usage_of(client: TestClient) -> usage.Usage:
    return guard_of(client).usage
