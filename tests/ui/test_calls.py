"""Calls and sessions have limits and owners, and a call that does not fit is refused in a sentence."""

import json
import threading

import pytest
from starlette.responses import PlainTextResponse

from common import body as call_body
from tests.ui.calling import JOIN, JSON, RUN, UPLOAD, choose_preset, guard_of, send, usage_of
from tests.ui.conftest import HER_ADDRESS, HIS_ADDRESS, handler
from ui import guard, usage

# sessions and calls


def test_one_address_cannot_push_out_anothers_session(space, monkeypatch):
    monkeypatch.setattr(usage, "MAX_SESSIONS_PER_ADDRESS", 5)
    monkeypatch.setattr(usage, "MAX_SESSIONS_PER_OWNER", 3)
    monkeypatch.setattr(usage, "MAX_SESSIONS", 8)
    her = space(HER_ADDRESS)
    assert choose_preset(her, "hers").status_code == 200
    for number in range(30):
        assert choose_preset(space(HIS_ADDRESS), f"his-{number}").status_code == 200
    held = her.app.state_holder.session_data
    assert "hers" in held and "his-29" in held and len(held) <= 6
    assert set(held) == set(usage_of(her).sessions)


def test_a_session_that_nobody_uses_goes(laptop, monkeypatch):
    choose_preset(laptop, "old")
    monkeypatch.setattr(usage, "MAX_SESSION_IDLE_SECONDS", -1)
    choose_preset(laptop, "new")
    assert "old" not in laptop.app.state_holder.session_data


@pytest.mark.parametrize("has_cookie", [True, False])
def test_another_persons_session_can_neither_be_used_nor_listened_to(space, has_cookie):
    her = space(HER_ADDRESS, has_cookie)
    body = {"data": ["Careful"], "session_hash": "hers"}
    cancel = {"session_hash": "hers", "fn_index": 1, "event_id": "x"}
    assert her.post("/gradio_api/run/preset", json=body).status_code == 200
    for him in (space(HIS_ADDRESS), space(HIS_ADDRESS, has_cookie=False)):
        assert him.post("/gradio_api/run/preset", json=body).status_code == 403
        assert him.get("/gradio_api/queue/data", params={"session_hash": "hers"}).status_code == 403
        assert him.get("/gradio_api/heartbeat/hers").status_code == 403
        assert him.post("/gradio_api/cancel", json=cancel).status_code == 403
    assert space(HER_ADDRESS).post("/gradio_api/cancel", json=cancel).status_code == 403, (
        "another browser of her address"
    )
    assert her.post("/gradio_api/cancel", json=cancel).status_code == 200


def test_calls_whose_answers_nobody_fetches_are_limited(space):
    """The app's queue does not run here: whatever joins waits."""
    her, him = space(HER_ADDRESS), space(HIS_ADDRESS)
    answers = [choose_preset(him, f"s{number % 3}", JOIN) for number in range(40)]
    assert [one.status_code for one in answers].count(200) == usage.MAX_PENDING_PER_OWNER
    assert answers[-1].status_code == 429 and answers[-1].headers["retry-after"] == "10"
    for _ in range(5):
        other = space(HIS_ADDRESS)
        answers += [other.post("/gradio_api/call/preset", json={"data": ["None"]}) for _ in range(20)]
    assert [one.status_code for one in answers].count(200) == usage.MAX_PENDING_PER_ADDRESS
    assert choose_preset(her, "hers", JOIN).status_code == 200


def test_calls_that_run_on_for_sessions_that_are_gone_are_counted(space, monkeypatch):
    monkeypatch.setattr(usage, "MAX_PENDING_PER_ADDRESS", 2)
    him = space(HIS_ADDRESS)
    assert [choose_preset(him, name, JOIN).status_code for name in ("one", "two")] == [200, 200]
    queue = him.app.get_blocks()._queue
    queue.active_jobs = [list(queue.event_ids_to_events.values()), None]
    usage_of(him).sessions.clear()
    assert choose_preset(him, "three", JOIN).status_code == 429
    assert choose_preset(space(HER_ADDRESS), "hers", JOIN).status_code == 200


def test_a_session_that_goes_takes_its_calls_along(space, monkeypatch):
    monkeypatch.setattr(usage, "MAX_SESSIONS_PER_OWNER", 1)
    her = space()
    assert [choose_preset(her, name, JOIN).status_code for name in ("one", "two")] == [200, 200]
    queue = her.app.get_blocks()._queue
    assert set(queue.pending_event_ids_session) == set(queue.pending_messages_per_session) == {"two"}
    assert len(queue.event_ids_to_events) == len(queue) == 1


def test_a_large_or_deep_body_is_refused_unread(laptop):
    big = {"data": ["x" * guard.MAX_BODY_BYTES], "session_hash": "s"}
    for path in (RUN, JOIN, "/gradio_api/call/preset"):
        assert laptop.post(path, json=big).status_code == 413
        for depth in (200, 100_000):
            body = b'{"data": [' + b"[" * depth + b"]" * depth + b"]}"
            assert laptop.post(path, content=body, headers=JSON).status_code == 400
    assert laptop.post("/gradio_api/cancel", json={"session_hash": "x" * 20_000}).status_code == 413
    parts = (b"x" * 1_000_000 for _ in range(20))  # one that comes in parts has no length
    assert laptop.post(JOIN, content=parts, headers=JSON).status_code == 413


def test_a_body_of_very_many_parts_is_refused_before_it_is_walked(laptop):
    answer = laptop.post(JOIN, content=b'{"data": [' + b"[]," * (call_body.MAX_PARTS + 1) + b"[]]}", headers=JSON)
    assert answer.status_code == 400 and "too many parts" in answer.text


def test_one_address_has_so_many_requests_at_once_and_others_are_answered(space, monkeypatch):
    her, him = space(HER_ADDRESS), space(HIS_ADDRESS)
    monkeypatch.setitem(usage.MAX_REQUESTS, guard.Kind.PAGE, 1)
    is_in, may_go = threading.Event(), threading.Event()

    async def slow(request, receive, send):
        import anyio

        is_in.set()
        await anyio.to_thread.run_sync(may_go.wait)
        return await answer(request, receive, send)

    inner = guard_of(her)
    answer = inner.app
    monkeypatch.setattr(inner, "app", slow)
    page = threading.Thread(target=him.get, args=("/config",))
    page.start()
    is_in.wait(10)
    monkeypatch.setattr(inner, "app", answer)
    refused = him.get("/config")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert her.get("/config").status_code == 200
    may_go.set()
    page.join()
    assert him.get("/config").status_code == 200


# what does not fit


def test_a_call_that_does_not_fit_its_handler_is_a_sentence_and_no_traceback(laptop, capfd, caplog):
    row, card, look = (handler(laptop, name) for name in ("on_found", "on_card", "look"))
    no_event = {"data": [], "fn_index": row._id}
    odd_event = {**no_event, "event_data": {"index": "x"}}
    too_few = {"data": [], "fn_index": look._id}
    for body in (no_event, odd_event, too_few):
        answer = laptop.post("/gradio_api/run/predict", json={**body, "session_hash": "s"})
        assert answer.status_code == 500 and answer.json()["error"] == "The app cannot read this call."
    for event in (None, "x", {}, {"name": ["../x"]}):
        body = {"data": ["a" * 32], "fn_index": card._id, "event_data": event, "session_hash": "s"}
        answer = laptop.post("/gradio_api/run/predict", json=body)
        assert answer.status_code == 500 and "adapter" in answer.json()["error"]
    for number in (-1, 10**6, "x", [1]):
        body = {"data": [], "fn_index": number, "session_hash": "s"}
        for path in ("queue/join", "run/predict"):
            assert laptop.post(f"/gradio_api/{path}", json=body).status_code == 404
    assert laptop.post("/gradio_api/queue/join", json={"data": [], "session_hash": "s"}).status_code == 404
    assert "Traceback" not in capfd.readouterr().err and "Traceback" not in caplog.text


def test_a_stream_of_a_session_that_is_gone_says_so_and_ends(laptop, capfd):
    answer = laptop.get("/gradio_api/queue/data", params={"session_hash": "never"})
    assert answer.status_code == 200 and '"session_not_found":true' in answer.text
    assert "Traceback" not in capfd.readouterr().err


def test_odd_ranges_session_names_and_boundaries_are_refused_before_gradio_reads_them(laptop, capfd):
    path = send(laptop).json()[0]
    for odd in ("bytes=", "bytes=1-2,5-6", "bytes=a-b", "lines=1-2", "bytes=1-2-3"):
        assert laptop.get(f"/gradio_api/file={path}", headers={"range": odd}).status_code == 416, odd
    assert laptop.get(f"/gradio_api/file={path}", headers={"range": "bytes=0-1"}).status_code == 206
    assert laptop.get(f"/gradio_api/file={path}").status_code == 200
    assert choose_preset(laptop, "", JOIN).status_code == 400
    kind = {"content-type": f"multipart/form-data; boundary={'x' * 5000}"}
    assert laptop.post(UPLOAD, content=b"x", headers=kind).status_code == 400
    assert "Traceback" not in capfd.readouterr().err


def test_a_small_limit_of_open_files_is_raised_so_that_half_open_connections_do_not_use_them_up():
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        usage.raise_open_files_limit()
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert raised[0] >= min(4096, before[0]) and raised[1] == before[1]
        usage.raise_open_files_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == raised
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_half_a_character_in_a_call_is_a_sign_for_it_before_gradio_reads_it(laptop, monkeypatch):
    body, seen = b'{"data": ["\\ud800x", "\\ud83d\\ude42"], "session_hash": "s"}', []
    assert laptop.get("/config").status_code == 200
    inner = guard_of(laptop)

    async def answer(scope, receive, send):
        seen.append(json.loads((await receive())["body"]))
        await PlainTextResponse("ok")(scope, receive, send)

    monkeypatch.setattr(inner, "app", answer)
    assert laptop.post("/gradio_api/call/preset", content=body, headers=JSON).status_code == 200
    assert seen[0]["data"] == ["\ufffdx", "🙂"]


def test_no_tabs_stand_empty_on_the_page(page):
    """Tabs that are made for an answer while the page is built would: the browser then shows nothing at all."""

    def parts(part: dict) -> list[dict]:
        return [part, *(inner for child in part.get("children", []) for inner in parts(child))]

    kinds = {one["id"]: one["type"] for one in page.config["components"]}
    tabs = [part for part in parts(page.config["layout"]) if kinds.get(part["id"]) == "tabs"]
    assert tabs and all(part.get("children") for part in tabs)
