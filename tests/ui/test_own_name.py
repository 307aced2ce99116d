"""On a laptop the app acts with the local login for whoever reaches it: no page on the web may be somebody."""

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from adapters.library import find_adapter
from tests.adapters.conftest import made  # noqa: F401
from tests.adapters.making import put
from ui.guard import guarded
from ui.page import build

EVIL = {"origin": "https://evil.example"}
NOTE = b'{"data": ["", "mine", "evil"], "session_hash": "x"}'


@pytest.fixture(scope="module")
def app():
    return gr.routes.App.create_app(build(), app_kwargs=guarded("127.0.0.1"))


def browser(app, host: str) -> TestClient:
    return TestClient(app, base_url=f"http://{host}", raise_server_exceptions=False)


@pytest.mark.parametrize("host", ["evil.example:7860", "127.0.0.1.evil.example", "169.254.169.254", "localhost.evil"])
def test_on_a_laptop_the_app_answers_only_to_its_own_name(app, host):
    for path in ("/", "/config", "/gradio_api/info"):
        assert browser(app, host).get(path).status_code == 400
    for own in ("127.0.0.1:7860", "localhost:7861"):
        assert browser(app, own).get("/config").status_code == 200


def test_a_proxy_can_be_named_and_a_server_for_all_is_not_guarded(monkeypatch):
    assert [one.cls.__name__ for one in guarded("0.0.0.0")["middleware"]] == ["Guard"]
    monkeypatch.setenv("STUDIO_HOSTS", "studio.example,other.example")
    hosts = guarded("127.0.0.1")["middleware"][0].kwargs["allowed_hosts"]
    assert hosts == ["127.0.0.1", "localhost", "studio.example", "other.example"]


def test_another_page_cannot_post_into_the_app(app, made):  # noqa: F811
    """A browser sends these without asking first; what it asks about first, it is told nothing of."""
    put("mine", made)
    page, path = browser(app, "127.0.0.1:7860"), "/gradio_api/run/note_adapter"
    for kind in ({}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}):
        assert page.post(path, content=NOTE, headers={**EVIL, **kind}).status_code == 403
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    assert "access-control-allow-origin" not in page.options(path, headers={**EVIL, **asked}).headers
    assert find_adapter("mine").notes == ""
    page.post(path, content=NOTE, headers={"content-type": "application/json"})
    assert find_adapter("mine").notes == "evil", "the same words from the page itself do it"
