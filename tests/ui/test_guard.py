"""What strangers may ask of a shared server, and how much of it; on a laptop, what pages of other addresses may."""

import asyncio
import json
import re
import threading

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from tests.adapters.conftest import made  # noqa: F401
from tests.adapters.making import put
from ui import guard, usage
from ui.guard import guarded
from ui.page import build
from ui.routes import CLOSED, OPEN

JOIN, RUN, UPLOAD = "/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/upload"
HER_ADDRESS, HIS_ADDRESS = "93.184.215.14", "151.101.1.69"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def page(cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))
        page = build()
        page.max_file_size, page.theme_css = None, ""  # as launch() sets them
        yield page


@pytest.fixture
def laptop(page):
    app = gr.routes.App.create_app(page.queue(), app_kwargs=guarded("127.0.0.1"))
    return TestClient(app, base_url="http://127.0.0.1:7860", raise_server_exceptions=False)


@pytest.fixture
def space(page, monkeypatch):
    """A Space's app: `space(address)` is a browser at that address that has opened the page."""
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    app = gr.routes.App.create_app(page.queue(api_open=True), app_kwargs=guarded("0.0.0.0"))

    def browser(address: str = HER_ADDRESS, has_cookie: bool = True) -> TestClient:
        headers = {"x-forwarded-for": f"1.2.3.4, {address}"}
        client = TestClient(app, base_url="https://space.test", headers=headers, raise_server_exceptions=False)
        if has_cookie:
            assert client.get("/config").status_code == 200 and guard.COOKIE in client.cookies
        return client

    return browser


def handler(client: TestClient, name: str) -> dict:
    return next(one for one in client.get("/config").json()["dependencies"] if one["api_name"] == name)


def send(client: TestClient, content: bytes = b"{}", **headers):
    return client.post(UPLOAD, files={"files": ("a.zip", content)}, headers=headers)


def usage_of(client: TestClient) -> usage.Usage:
    app = client.app.middleware_stack
    while not isinstance(app, guard.Guard):
        app = app.app
    return app.usage


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
    for path in (
        "/config",
        "/gradio_api/info",
        "/gradio_api/openapi.json",
        "/theme.css",
        "/manifest.json",
        "/robots.txt",
    ):
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
def test_on_a_laptop_no_other_page_can_upload_or_call(laptop, made, headers):  # noqa: F811
    put("mine", made)
    assert send(laptop, **headers).status_code == 403
    body = {"data": ["", "mine", "evil"], "session_hash": "x"}
    assert laptop.post("/gradio_api/run/note_adapter", json=body, headers=headers).status_code == 403
    for own in (
        {},
        {"origin": "http://127.0.0.1:7860"},
        {"origin": "http://127.0.0.1:7860", "sec-fetch-site": "same-origin"},
    ):
        assert send(laptop, **own).status_code == 200


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
    job = handler(her, "import_adapter")
    body = {"data": ["a" * 32, {"path": path, "meta": {"_type": "gradio.FileData"}}, ""], "fn_index": job["id"]}
    hers = her.post(RUN, json={**body, "session_hash": "hers"})
    assert hers.status_code == 500 and "zip" in hers.json()["error"], "she is told what is wrong with her file"
    for word in (path, path.replace("/a.zip", "/../" + path.split("/")[-2] + "/a.zip")):
        body["data"][1]["path"] = word
        for at in (RUN, JOIN):
            answer = him.post(at, json={**body, "session_hash": "his"})
            assert answer.status_code == 403 and "not uploaded" in answer.text
    assert him.post("/gradio_api/call/import_adapter", json={"data": body["data"]}).status_code == 403
    assert him.get(f"/gradio_api/file={path}").status_code == 403
    assert her.get(f"/gradio_api/file={path}").content == b"PK"


def test_a_link_of_the_system_leads_to_nobodys_file(space, tmp_path):
    (tmp_path / "root").symlink_to("/")  # as /proc/self/root is one
    her, him = space(HER_ADDRESS), space(HIS_ADDRESS)
    [path] = send(her, b"PK").json()
    around = f"{tmp_path}/root{path}"
    assert him.get(f"/gradio_api/file={around}").status_code == 403
    job = handler(him, "import_adapter")["id"]
    file = {"path": around, "meta": {"_type": "gradio.FileData"}}
    body = {"data": ["a" * 32, file, ""], "fn_index": job, "session_hash": "his"}
    assert him.post(RUN, json=body).status_code == 403


def test_a_download_is_for_whoever_it_was_made_for(space, made):  # noqa: F811
    from ui.owner import owner_of

    her, him = space(HER_ADDRESS), space(HIS_ADDRESS)
    put("mine", made, owner_of("a" * 32, None))
    answer = her.post("/gradio_api/run/export_adapter", json={"data": ["a" * 32, "mine"], "session_hash": "hers"})
    path = answer.json()["data"][0]["value"]["path"]
    assert her.get(f"/gradio_api/file={path}").content.startswith(b"PK")
    assert him.get(f"/gradio_api/file={path}").status_code == 403
    assert space(HIS_ADDRESS, has_cookie=False).get(f"/gradio_api/file={path}").status_code == 403


def test_a_shared_server_fetches_nothing_for_anybody(space):
    her = space()
    job = handler(her, "import_adapter")
    for address in (
        "https://example.org/a.zip",
        "HTTP://example.org/a.zip",
        "//example.org/a.zip",
        "file:///etc/passwd",
    ):
        assert her.get(f"/gradio_api/file={address}").status_code == 403
        body = {"data": ["a" * 32, {"path": address, "meta": {"_type": "gradio.FileData"}}, ""], "fn_index": job["id"]}
        assert her.post(RUN, json={**body, "session_hash": "s"}).status_code == 403


# sessions and calls


def test_one_address_cannot_push_out_anothers_session(space, monkeypatch):
    monkeypatch.setattr(usage, "MAX_SESSIONS_PER_ADDRESS", 5)
    monkeypatch.setattr(usage, "MAX_SESSIONS_PER_OWNER", 3)
    monkeypatch.setattr(usage, "MAX_SESSIONS", 8)
    her, body = space(HER_ADDRESS), {"data": ["Short and clear"], "fn_index": handler(space(), "preset")["id"]}
    assert her.post(RUN, json={**body, "session_hash": "hers"}).status_code == 200
    for number in range(30):
        him = space(HIS_ADDRESS)
        assert him.post(RUN, json={**body, "session_hash": f"his-{number}"}).status_code == 200
    held = her.app.state_holder.session_data
    assert "hers" in held and "his-29" in held and len(held) <= 6
    assert set(held) == set(usage_of(her).sessions)


def test_a_session_that_nobody_uses_goes(laptop, monkeypatch):
    body = {"data": ["None"], "fn_index": handler(laptop, "preset")["id"]}
    laptop.post(RUN, json={**body, "session_hash": "old"})
    monkeypatch.setattr(usage, "MAX_SESSION_IDLE_SECONDS", -1)
    laptop.post(RUN, json={**body, "session_hash": "new"})
    assert "old" not in laptop.app.state_holder.session_data


def test_another_persons_session_can_neither_be_used_nor_listened_to(space):
    her, him = space(HER_ADDRESS), space(HIS_ADDRESS)
    body = {"data": ["None"], "fn_index": handler(her, "preset")["id"], "session_hash": "hers"}
    assert her.post(RUN, json=body).status_code == 200
    assert him.post(RUN, json=body).status_code == 403
    assert him.get("/gradio_api/queue/data", params={"session_hash": "hers"}).status_code == 403
    assert him.get("/gradio_api/heartbeat/hers").status_code == 403
    cancel = {"session_hash": "hers", "fn_index": 1, "event_id": "x"}
    assert him.post("/gradio_api/cancel", json=cancel).status_code == 403
    assert her.post("/gradio_api/cancel", json=cancel).status_code == 200


def test_calls_whose_answers_nobody_fetches_are_limited(space):
    """The app's queue does not run here: whatever joins waits."""
    her, him = space(HER_ADDRESS), space(HIS_ADDRESS)
    body = {"data": ["None"], "fn_index": handler(her, "preset")["id"]}
    answers = [him.post(JOIN, json={**body, "session_hash": f"s{number % 3}"}) for number in range(40)]
    assert [one.status_code for one in answers].count(200) == usage.MAX_PENDING_PER_OWNER
    assert answers[-1].status_code == 429 and answers[-1].headers["retry-after"] == "10"
    for _ in range(5):
        other = space(HIS_ADDRESS)
        answers += [other.post("/gradio_api/call/preset", json={"data": ["None"]}) for _ in range(20)]
    assert [one.status_code for one in answers].count(200) == usage.MAX_PENDING_PER_ADDRESS
    assert her.post(JOIN, json={**body, "session_hash": "hers"}).status_code == 200


def test_calls_that_run_on_for_sessions_that_are_gone_are_counted(space, monkeypatch):
    monkeypatch.setattr(usage, "MAX_PENDING_PER_ADDRESS", 2)
    him = space(HIS_ADDRESS)
    queue, body = him.app.get_blocks()._queue, {"data": ["None"], "fn_index": handler(him, "preset")["id"]}
    for name in ("one", "two"):
        assert him.post(JOIN, json={**body, "session_hash": name}).status_code == 200
    queue.active_jobs = [list(queue.event_ids_to_events.values()), None]
    usage_of(him).sessions.clear()
    assert him.post(JOIN, json={**body, "session_hash": "three"}).status_code == 429
    assert space(HER_ADDRESS).post(JOIN, json={**body, "session_hash": "hers"}).status_code == 200


def test_a_session_that_goes_takes_its_calls_along(space, monkeypatch):
    monkeypatch.setattr(usage, "MAX_SESSIONS_PER_OWNER", 1)
    her = space()
    body = {"data": ["None"], "fn_index": handler(her, "preset")["id"]}
    for name in ("one", "two"):
        assert her.post(JOIN, json={**body, "session_hash": name}).status_code == 200
    queue = her.app.get_blocks()._queue
    assert set(queue.pending_event_ids_session) == set(queue.pending_messages_per_session) == {"two"}
    assert len(queue.event_ids_to_events) == len(queue) == 1


def test_a_large_or_deep_body_is_refused_unread(laptop):
    job = handler(laptop, "preset")["id"]
    big = {"data": ["x" * guard.MAX_BODY_BYTES], "fn_index": job, "session_hash": "s"}
    for path in (RUN, JOIN, "/gradio_api/call/preset"):
        assert laptop.post(path, json=big).status_code == 413
        for depth in (200, 100_000):
            body = b'{"data": [' + b"[" * depth + b"]" * depth + b"]}"
            assert laptop.post(path, content=body, headers={"content-type": "application/json"}).status_code == 400
    assert laptop.post("/gradio_api/cancel", json={"session_hash": "x" * 20_000}).status_code == 413


def test_a_body_of_very_many_parts_is_refused_before_it_is_walked(laptop):
    body = b'{"data": [' + b"[]," * 1_000_000 + b"[]]}"
    answer = laptop.post(JOIN, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400 and "too many parts" in answer.text


def test_a_body_that_comes_in_parts_has_no_other_limit(laptop):
    parts = (b"x" * 1_000_000 for _ in range(20))
    assert laptop.post(JOIN, content=parts, headers={"content-type": "application/json"}).status_code == 413


def test_json_that_only_python_reads_hides_no_file(space):
    her, him = space(HER_ADDRESS), space(HIS_ADDRESS)
    [path] = send(her, b"PK").json()
    job = handler(her, "import_adapter")["id"]
    file = json.dumps({"path": path, "meta": {"_type": "gradio.FileData"}}).replace('"path"', '"p\\u0061th"')
    body = f'{{"data": ["{"a" * 32}", {file}, NaN], "fn_index": {job}, "session_hash": "s"}}'
    assert him.post(RUN, content=body, headers={"content-type": "application/json"}).status_code == 403


def test_one_address_has_so_many_requests_at_once_and_others_are_answered(space, monkeypatch):
    her, him = space(HER_ADDRESS), space(HIS_ADDRESS)
    monkeypatch.setitem(usage.MAX_REQUESTS, guard.Kind.PAGE, 1)
    is_in, may_go = threading.Event(), threading.Event()

    async def slow(request, receive, send):
        import anyio

        is_in.set()
        await anyio.to_thread.run_sync(may_go.wait)
        return await answer(request, receive, send)

    inner = her.app.middleware_stack
    while not isinstance(inner, guard.Guard):
        inner = inner.app
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


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("6.6.6.6, 93.184.215.14", "93.184.215.14"),
        ("93.184.215.14, 10.0.0.7", "93.184.215.14"),
        ("evil, 2606:2800:21f:cb07:6820:80da:af6b:8b2c", "2606:2800:21f:cb07::/64"),
        ("", "testclient"),
    ],
)
def test_an_address_is_not_what_its_sender_says_it_is(forwarded, address, monkeypatch):
    from starlette.requests import Request

    from ui.owner import address_of

    monkeypatch.setenv("SPACE_ID", "someone/studio")
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    request = Request({"type": "http", "headers": headers, "client": ("testclient", 1)})
    assert address_of(request) == address_of(gr.Request(request)) == address
    assert address_of(None) == ""


# what does not fit


def test_a_call_that_does_not_fit_its_handler_is_a_sentence_and_no_traceback(laptop, capfd, caplog):
    row, look = handler(laptop, "on_row"), handler(laptop, "look")
    no_event = {"data": ["a" * 32], "fn_index": row["id"]}
    odd_event = {**no_event, "event_data": {"index": "x"}}
    too_few = {"data": [], "fn_index": look["id"]}
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
    look = handler(laptop, "look")
    assert (
        laptop.post("/gradio_api/queue/join", json={"data": [], "fn_index": look["id"], "session_hash": ""}).status_code
        == 400
    )
    kind = {"content-type": f"multipart/form-data; boundary={'x' * 5000}"}
    assert laptop.post(UPLOAD, content=b"x", headers=kind).status_code == 400
    assert "Traceback" not in capfd.readouterr().err
