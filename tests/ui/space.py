"""Calls the handlers of a Space's page over HTTP by their names, as a program of anybody's would."""

import json
from functools import cache

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from models.hub.client import _account_of
from ui.page import Page, build

GUEST = "a" * 32


@cache
def space_page(client_id: str = "") -> Page:
    """The page of a Space, with a button to sign in for a `client_id`, which takes seconds to build: each test makes an app
    of its own with it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPACE_ID", "someone/studio")
        patch.setenv("OAUTH_CLIENT_ID", client_id)
        return build()


def space_client(monkeypatch, owners_token: str) -> TestClient:
    """A new app of a Space whose owner has a secret, which must never act for a visitor."""
    _account_of.cache_clear()
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    monkeypatch.setenv("HF_TOKEN", owners_token)
    return TestClient(gr.routes.App.create_app(space_page()), raise_server_exceptions=False)


def space_call(monkeypatch, owners_token: str):
    """A function that calls a handler of such an app."""
    client = space_client(monkeypatch, owners_token)

    def called(name: str, *data, cookies: dict | None = None, **body) -> tuple[int, str]:
        content = {"data": list(data), "session_hash": "s", **body}
        answer = client.post(f"/gradio_api/run/{name}", json=content, cookies=cookies or {})
        return answer.status_code, json.dumps(answer.json())

    return called
