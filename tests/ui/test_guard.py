"""What strangers may ask of a shared server; on a laptop, what pages of other addresses may."""

import re

import pytest

from adapters.library import find_adapter
from common.errors import UserError
from tests.adapters.conftest import made  # noqa: F401
from tests.adapters.making import put
from tests.ui.calling import JSON, send
from ui.guard import guarded
from ui.routes import CLOSED, OPEN

NOTE, EVIL_NOTE = "/gradio_api/run/note_adapter", b'{"data": ["", "mine", "evil"], "session_hash": "x"}'


# routes


def test_every_route_of_the_installed_gradio_is_judged(laptop):
    known, routes = set(OPEN) | CLOSED, []
    for route in laptop.app.routes:
        router = getattr(route, "original_router", None)
        routes += [one.path for one in router.routes] if router else [route.path]
    assert len(routes) > 60 and set(routes) - known == set()
    assert not set(OPEN) & CLOSED


def test_a_closed_route_does_not_exist(laptop):
    for template in CLOSED:
        path = re.sub(r"{[^}]*}", "x", template)
        for method in ("GET", "POST"):
            answer = laptop.request(method, path)
            assert (answer.status_code, answer.text) == (404, "There is nothing here."), path


def test_the_page_finds_what_it_needs(laptop):
    api = ("/gradio_api/info", "/gradio_api/openapi.json")
    for path in ("/config", *api, "/theme.css", "/manifest.json", "/robots.txt"):
        assert laptop.get(path).status_code == 200, path
    assert laptop.get("/gradio_api/upload").status_code == 404, "it is there to be posted to"


# other pages


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "http://localhost:9999", "sec-fetch-site": "same-site"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
    ],
)
def test_on_a_laptop_no_other_page_can_upload_or_call(laptop, headers):
    assert send(laptop, **headers).status_code == 403
    assert laptop.post(NOTE, content=EVIL_NOTE, headers=headers).status_code == 403
    same = {"origin": "http://127.0.0.1:7860"}
    for own in ({}, same, {**same, "sec-fetch-site": "same-origin"}):
        assert send(laptop, **own).status_code == 200


def test_another_page_cannot_post_into_the_app(laptop, made):  # noqa: F811
    """A browser sends these without asking first; what it asks about first, it is told nothing of."""
    put("mine", made)
    evil = {"origin": "https://evil.example"}
    for kind in ({}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}):
        assert laptop.post(NOTE, content=EVIL_NOTE, headers={**evil, **kind}).status_code == 403
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    assert "access-control-allow-origin" not in laptop.options(NOTE, headers={**evil, **asked}).headers
    assert find_adapter("mine").notes == ""
    laptop.post(NOTE, content=EVIL_NOTE, headers=JSON)
    assert find_adapter("mine").notes == "evil", "the same words from the page itself do it"


@pytest.mark.parametrize("host", ["evil.example:7860", "127.0.0.1.evil.example", "169.254.169.254", "localhost.evil"])
def test_on_a_laptop_the_app_answers_only_to_its_own_name(laptop, host):
    for path in ("/", "/config", "/gradio_api/info"):
        assert laptop.get(path, headers={"host": host}).status_code == 400
    for own in ("127.0.0.1:7860", "localhost:7861"):
        assert laptop.get("/config", headers={"host": own}).status_code == 200


def test_a_proxy_can_be_named_and_a_server_for_all_is_not_guarded(monkeypatch):
    assert [one.cls.__name__ for one in guarded("0.0.0.0")["middleware"]] == ["Health", "Speaking", "Guard", "Delivery"]
    monkeypatch.setenv("STUDIO_HOSTS", "studio.example:8443, other.example")
    for server_name in ("127.0.0.1", "0.0.0.0"):
        hosts = guarded(server_name)["middleware"][1].kwargs["allowed_hosts"]
        assert hosts == ["127.0.0.1", "localhost", "studio.example", "other.example"]


@pytest.mark.parametrize("entry", ["https://studio.example", "studio.example:x", "studio.example:", ":80", "a b"])
def test_what_is_no_host_name_is_refused_at_the_start(monkeypatch, entry):
    monkeypatch.setenv("STUDIO_HOSTS", f"other.example,{entry}")
    with pytest.raises(UserError, match="STUDIO_HOSTS"):
        guarded("127.0.0.1")


@pytest.mark.parametrize(
    ("named", "origin", "status"),
    [
        ("", "https://studio.example", 403),
        ("studio.example", "https://studio.example", 200),
        ("studio.example", "https://Studio.Example:8443", 200),
        ("studio.example:8443", "https://studio.example:8443", 200),
        ("studio.example:443,other.example", "https://studio.example", 200),
        ("studio.example:8443", "https://studio.example", 403),
        ("studio.example:8443", "https://studio.example:9999", 403),
        ("studio.example", "https://not-studio.example", 403),
        ("studio.example", "https://studio.example:99999", 403),
        ("studio.example", "http://[", 403),
    ],
)
def test_a_page_of_a_proxy_that_is_named_may_post_from_its_port(laptop, monkeypatch, named, origin, status):
    monkeypatch.setenv("STUDIO_HOSTS", named)
    assert send(laptop, origin=origin, **{"sec-fetch-site": "cross-site"}).status_code == status
