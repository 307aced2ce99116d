"""What a health check gets: whether the app answers, and nothing else."""

import json

import pytest

from runs import closing
from ui.owner import BROWSER_COOKIE


def test_health_is_answered_to_any_name_without_a_cookie_and_tells_nothing(laptop):
    for headers in ({}, {"host": "10.0.0.7:7860"}, {"host": "evil.example"}, {"origin": "https://evil.example"}):
        answer = laptop.get("/healthz", headers=headers)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        assert {*answer.json()} == {"status", "version"} and "set-cookie" not in answer.headers
    head = laptop.head("/healthz")
    assert (head.status_code, head.content) == (200, b"")


def test_nothing_but_a_look_at_health_is_let_past_the_guard(laptop):
    for method, path in (("POST", "/healthz"), ("GET", "/healthz/"), ("GET", "/healthz/x")):
        assert laptop.request(method, path).status_code == 404, (method, path)
    assert laptop.post("/healthz", headers={"host": "evil.example"}).status_code == 400


def test_a_health_check_counts_nobody(space, monkeypatch):
    browser = space(has_cookie=False)
    usage = next(one.kwargs["usage"] for one in browser.app.user_middleware if "usage" in one.kwargs)
    monkeypatch.setattr(usage, "request", lambda *_: pytest.fail("it was counted"))
    assert all(browser.get("/healthz").status_code == 200 for _ in range(500))
    assert BROWSER_COOKIE not in browser.cookies


def test_an_app_that_is_being_stopped_says_so(laptop):
    closing.close()
    answer = laptop.get("/healthz")
    assert (answer.status_code, json.loads(answer.content)["status"]) == (503, "stopping")
