"""What strangers may ask of a shared server, and how much of it; on a laptop, what pages of other addresses may."""

import asyncio
import json
import re
import threading

import pytest
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse

from adapters.library import find_adapter
from tests.adapters.conftest import made  # noqa: F401
from tests.adapters.making import put
from tests.ui.conftest import HER_ADDRESS, HIS_ADDRESS, handler
from ui import guard, usage
from ui.guard import guarded
from ui.routes import CLOSED, OPEN

JOIN, RUN, UPLOAD = "/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/upload"
NOTE, EVIL_NOTE = "/gradio_api/run/note_adapter", b'{"data": ["", "mine", "evil"], "session_hash": "x"}'
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
    assert [one.cls.__name__ for one in guarded("0.0.0.0")["middleware"]] == ["Guard"]
    monkeypatch.setenv("STUDIO_HOSTS", "studio.example,other.example")
    hosts = guarded("127.0.0.1")["middleware"][0].kwargs["allowed_hosts"]
    assert hosts == ["127.0.0.1", "localhost", "studio.example", "other.example"]


def test_a_proxy_that_is_named_may_post(laptop, monkeypatch):
    origin = {"origin": "https://studio.example", "sec-fetch-site": "cross-site"}
    assert send(laptop, **origin).status_code == 403
    monkeypatch.setenv("STUDIO_HOSTS", "studio.example")
    assert send(laptop, **origin).status_code == 200


# uploads


def test_on_a_space_an_upload_needs_the_cookie_of_the_page(space):
    stranger = space(has_cookie=False)
    assert send(stranger).status_code == 403 and "cookie" in send(stranger).text
    words = stranger.get("/config").headers["set-cookie"]
    assert all(part in words for part in ("HttpOnly", "Secure", "SameSite=None", "Partitioned"))
    assert send(stranger).status_code == 200
    assert "set-cookie" not in stranger.get("/config").headers


def test_a_cookie_that_was_made_up_is_no_cookie_of_another(space):
    browser = space(has_cookie=False)
    browser.cookies.set(guard.COOKIE, "../../x")
    assert send(browser).status_code == 403


def test_the_oldest_upload_of_who_has_too_many_goes_and_nobody_elses(space, monkeypatch):
    monkeypatch.setattr(usage, "MIN_FILE_BYTES", 0)
    monkeypatch.setattr(usage, "MAX_FILE_BYTES_PER_OWNER", 3_000_000)
    her, him = space(HER_ADDRESS), space(HIS_ADDRESS)
    [hers] = send(her, b"her" * 100_000).json()
    his = [send(him, bytes([number]) * 1_000_000).json()[0] for number in range(6)]
    files = usage_of(her).files
    assert hers in files and his[0] not in files and his[-1] in files
    assert sum(files[path].size for path in his if path in files) <= 3_000_000


def test_made_up_cookies_of_one_address_do_not_take_anothers_room(space, monkeypatch):
    monkeypatch.setattr(usage, "MIN_FILE_BYTES", 0)
    monkeypatch.setattr(usage, "MAX_FILE_BYTES", 3_000_000)
    her = space(HER_ADDRESS)
    [hers] = send(her, b"her" * 300_000).json()
    for number in range(8):
        assert send(space(HIS_ADDRESS), bytes([number]) * 600_000).status_code == 200
    files = usage_of(her).files
    assert hers in files and sum(file.size for file in files.values()) <= 3_000_000


def test_a_thousand_files_in_one_upload_are_counted_in_one_pass(space, monkeypatch, tmp_path):
    monkeypatch.setattr(usage, "MAX_FILE_BYTES", 3 * usage.MIN_FILE_BYTES)
    used, passes = usage_of(space()), []
    forget = used._forget_missing
    monkeypatch.setattr(used, "_forget_missing", lambda: (passes.append(1), forget()))
    paths = [tmp_path / str(number) for number in range(1000)]
    for path in paths:
        path.touch()
    used.add_files([str(path) for path in paths], usage.Client("a" * 32, HIS_ADDRESS))
    assert len(passes) == 1 and list(used.files) == [str(path) for path in paths[-3:]]
    assert [path.name for path in paths if path.exists()] == ["997", "998", "999"]


def test_uploads_have_a_rate_a_length_and_a_largest_size(space, monkeypatch):
    her = space()
    monkeypatch.setattr(usage, "MAX_UPLOAD_BYTES", 1000)
    monkeypatch.setattr(usage, "MAX_FORM_BYTES", 500)
    assert send(her, b"x" * 2000).status_code == 413
    assert her.post(UPLOAD, content=iter([b"x"])).status_code == 411
    assert [send(her).status_code for _ in range(31)].count(429) >= 1
    assert send(space(HIS_ADDRESS)).status_code == 200


@pytest.mark.parametrize("end", ["disconnected", "disk full", "silence"])
def test_an_upload_that_does_not_end_well_leaves_nothing(laptop, cache, monkeypatch, end):
    before = sorted(cache.rglob("*"))
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.zip"\r\n\r\n' + b"x" * 3_000_000
    sent, seen = [], []

    async def receive() -> dict:
        seen.append(len([path for path in cache.iterdir() if path.is_file() and path not in before]))
        if len(seen) < 4:
            return {"type": "http.request", "body": form if len(seen) == 1 else b"x" * 3_000_000, "more_body": True}
        if end == "silence":
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message) -> None:
        sent.append(message)

    if end == "disk full":
        checks = iter([True, False])
        monkeypatch.setattr(guard, "CHECK_DISK_BYTES", 4_000_000)
        monkeypatch.setattr(usage.Usage, "has_disk", lambda self: next(checks))
    monkeypatch.setattr(guard, "MAX_SILENT_SECONDS", 0.5)
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"multipart/form-data; boundary=x")]
    scope = {"type": "http", "method": "POST", "path": UPLOAD, "raw_path": UPLOAD.encode(), "query_string": b""}
    scope |= {"headers": headers, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http"}
    asyncio.run(laptop.app(scope, receive, send))
    assert max(seen) == 1, "a part of it was written"
    assert sorted(cache.rglob("*")) == before
    words = {"disconnected": b"cut off", "disk full": b"disk is full", "silence": b"stopped"}[end]
    assert sent[0]["status"] == 400 and words in sent[1]["body"]


def test_nothing_is_uploaded_onto_a_full_disk(laptop, monkeypatch):
    monkeypatch.setattr(usage.Usage, "has_disk", lambda self: False)
    assert send(laptop).status_code == 507


# another's files


def test_another_persons_upload_is_of_no_use_though_its_path_is_known(space):
    her, him = space(HER_ADDRESS), space(HIS_ADDRESS)
    [path] = send(her, b"PK").json()
    hers = import_file(her, path)
    assert hers.status_code == 500 and "zip" in hers.json()["error"], "she is told what is wrong with her file"
    for word in (path, path.replace("/a.zip", "/../" + path.split("/")[-2] + "/a.zip")):
        for at in (RUN, JOIN, "/gradio_api/call/import_adapter"):
            answer = import_file(him, word, at)
            assert answer.status_code == 403 and "not uploaded" in answer.text
    hidden = json.dumps({"path": path}).replace('"path"', '"p\\u0061th"')
    body = f'{{"data": ["{"a" * 32}", {hidden}, NaN], "session_hash": "s"}}'  # JSON that only Python reads
    assert him.post("/gradio_api/run/import_adapter", content=body, headers=JSON).status_code == 403
    assert him.get(f"/gradio_api/file={path}").status_code == 403
    assert her.get(f"/gradio_api/file={path}").content == b"PK"


def test_a_link_of_the_system_leads_to_nobodys_file(space, tmp_path):
    (tmp_path / "root").symlink_to("/")  # as /proc/self/root is one
    her, him = space(HER_ADDRESS), space(HIS_ADDRESS)
    around = f"{tmp_path}/root{send(her, b'PK').json()[0]}"
    assert him.get(f"/gradio_api/file={around}").status_code == 403
    assert import_file(him, around).status_code == 403


@pytest.mark.parametrize(
    "what", ["a key that ends in a quote and path", "text", "JSON in a text", "an event of a stream"]
)
def test_an_answer_that_repeats_anothers_path_gives_nobody_the_file(space, monkeypatch, what):
    her, him = space(HER_ADDRESS), space(HIS_ADDRESS)
    [path] = send(her, b"PK").json()
    file = json.dumps({"path": path})
    said = {'x"path': path} if what.startswith("a key") else f'"path": "{path}"' if what == "text" else file
    body = {"data": [said], "session_hash": "s"}

    async def echo(scope, receive, send) -> None:
        content = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: " + content if "event" in what else content})

    with monkeypatch.context() as patch:
        patch.setattr(guard_of(him), "app", echo)
        assert path in him.post("/gradio_api/run/preset", json=body).text
    assert him.get(f"/gradio_api/file={path}").status_code == 403
    echoing = handler(him, "known_key")._id  # the handler that did repeat what it was sent
    him.post(RUN, json={"data": [{'x"path': path}], "fn_index": echoing, "session_hash": "s"})
    assert him.get(f"/gradio_api/file={path}").status_code == 403


def test_a_download_is_for_whoever_it_was_made_for(space, made):  # noqa: F811
    from ui.owner import owner_of

    her, him = space(HER_ADDRESS), space(HIS_ADDRESS)
    put("mine", made, owner_of("a" * 32, None))
    answer = her.post("/gradio_api/run/export_adapter", json={"data": ["a" * 32, "mine"], "session_hash": "hers"})
    path = answer.json()["data"][0]["value"]["path"]
    assert her.get(f"/gradio_api/file={path}").content.startswith(b"PK")
    assert him.get(f"/gradio_api/file={path}").status_code == 403
    assert space(HIS_ADDRESS, has_cookie=False).get(f"/gradio_api/file={path}").status_code == 403


@pytest.mark.parametrize("scheme", ["https://", "HTTP://", "//", "file:///"])
def test_a_shared_server_fetches_nothing_for_anybody(space, scheme):
    address, her = f"{scheme}example.org/a.zip", space()
    assert her.get(f"/gradio_api/file={address}").status_code == 403
    assert import_file(her, address).status_code == 403


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
    answer = laptop.post(JOIN, content=b'{"data": [' + b"[]," * (guard.MAX_PARTS + 1) + b"[]]}", headers=JSON)
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
    row, look = handler(laptop, "on_row"), handler(laptop, "look")
    no_event = {"data": ["a" * 32], "fn_index": row._id}
    odd_event = {**no_event, "event_data": {"index": "x"}}
    too_few = {"data": [], "fn_index": look._id}
    for body in (no_event, odd_event, too_few):
        answer = laptop.post("/gradio_api/run/predict", json={**body, "session_hash": "s"})
        assert answer.status_code == 500 and answer.json()["error"] == "The app cannot read this call."
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


# connections


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
