"""Calls the handlers of a Space's page over HTTP by their names, as a program of anybody's would."""

import json

import gradio as gr

from models.hub.client import _account_of
from ui.page import build

GUEST = "a" * 32


def space_call(monkeypatch, owners_token: str):
    """A function that calls a handler of a Space whose owner has a secret, which must never act for a visitor."""
    from fastapi.testclient import TestClient

    _account_of.cache_clear()
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    monkeypatch.setenv("HF_TOKEN", owners_token)
    client = TestClient(gr.routes.App.create_app(build()), raise_server_exceptions=False)

    def called(name: str, *data, cookies: dict | None = None, **body) -> tuple[int, str]:
        content = {"data": list(data), "session_hash": "s", **body}
        answer = client.post(f"/gradio_api/run/{name}", json=content, cookies=cookies or {})
        return answer.status_code, json.dumps(answer.json())

    return called
