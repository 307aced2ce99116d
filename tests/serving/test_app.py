"""The interface in the app: off unless switched on, within the guard's host check, and its keys on the page."""

import gradio as gr
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from serving.keys import list_keys, new_key, owner_of
from ui import page as page_module
from ui.adapters import api_keys
from ui.guard import guarded
from ui.owner import owner_of as owner_of_page

GUEST = "a" * 32


def app(**options) -> TestClient:
    layers = guarded("127.0.0.1", **options)["middleware"]
    return TestClient(Starlette(middleware=layers), base_url="http://127.0.0.1:7860", raise_server_exceptions=False)


def test_it_is_not_there_unless_it_was_switched_on(isolated_home, engine, monkeypatch):
    key = {"Authorization": f"Bearer {new_key('local')}"}
    monkeypatch.delenv("STUDIO_API", raising=False)
    answer = app(engine=engine).get("/v1/models", headers=key)
    assert (answer.status_code, answer.text) == (404, "There is nothing here.")
    monkeypatch.setenv("STUDIO_API", "1")
    client = app(engine=engine)
    assert client.get("/v1/models").status_code == 401
    assert "base:embedded" in [one["id"] for one in client.get("/v1/models", headers=key).json()["data"]]
    assert client.get("/nothing", headers=key).text == "There is nothing here."


def test_a_name_of_another_site_for_this_machine_opens_nothing_with_a_key_either(isolated_home, engine, monkeypatch):
    monkeypatch.setenv("STUDIO_API", "1")
    headers = {"Authorization": f"Bearer {new_key('local')}", "Host": "evil.example"}
    assert app(engine=engine).get("/v1/models", headers=headers).status_code == 400


def test_a_websocket_below_v1_reaches_nothing(isolated_home, engine, monkeypatch):
    from starlette.websockets import WebSocketDisconnect

    monkeypatch.setenv("STUDIO_API", "1")
    with pytest.raises(WebSocketDisconnect), app(engine=engine).websocket_connect("/v1/anything"):
        pass


def test_the_page_answers_with_the_same_engine(isolated_home, engine, monkeypatch):
    class Seen(Exception):
        pass

    def build_chat_tab(_key, _conversations, given):
        assert given is engine
        raise Seen

    monkeypatch.setattr(page_module, "build_chat_tab", build_chat_tab)
    with pytest.raises(Seen):
        page_module.build(engine)


def test_a_key_is_made_shown_once_and_revoked_on_the_page(isolated_home):
    box, row, listed = api_keys.on_new(None, GUEST, "notebook")
    assert owner_of(box.value) == "local" and box.visible and row.visible
    again, _row, listed = api_keys.on_list(None, GUEST)
    assert again.value == "" and not again.visible and listed.choices[0][0].startswith("notebook (")
    _box, row, _listed = api_keys.on_revoke(None, GUEST, listed.value)
    assert owner_of(box.value) is None and not row.visible


def test_on_a_space_a_guest_makes_no_key_and_nobody_revokes_anothers(isolated_home, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    with pytest.raises(gr.Error, match="signed in to make a key"):
        api_keys.on_new(None, GUEST, "")
    new_key("user-ada")
    with pytest.raises(gr.Error, match="no key"):
        api_keys.on_revoke(None, GUEST, list_keys("user-ada")[0].id)
    assert list_keys(owner_of_page(GUEST, None)) == [] and len(list_keys("user-ada")) == 1
