"""Uploads have limits and owners: what one person brought, or was given, is nobody else's."""

import asyncio
import json

import pytest

from tests.adapters.conftest import made  # noqa: F401
from tests.adapters.making import put
from tests.ui.calling import JOIN, JSON, RUN, UPLOAD, guard_of, import_file, send, usage_of
from tests.ui.conftest import HER_ADDRESS, HIS_ADDRESS, handler
from ui import guard, usage

# uploads


def test_on_a_space_an_upload_needs_the_cookie_of_the_page(space):
    stranger = space(has_cookie=False)
    assert send(stranger).status_code == 403 and "cookie" in send(stranger).text
    given = stranger.get("/config").headers
    words = given["set-cookie"]
    assert "no-store" in given["cache-control"]  # by no proxy, for somebody else
    assert all(part in words for part in ("HttpOnly", "Secure", "SameSite=None", "Partitioned"))
    assert send(stranger).status_code == 200
    assert "set-cookie" not in stranger.get("/config").headers


def test_a_cookie_that_was_made_up_is_no_cookie_of_another(space):
    browser = space(has_cookie=False)
    browser.cookies.set(guard.BROWSER_COOKIE, "../../x")
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
