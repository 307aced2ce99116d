"""What somebody without a key can do with an app that is shared by a tunnel: nothing. And what a guest cannot."""

import re
import stat
from concurrent.futures import ThreadPoolExecutor

import gradio as gr
import pytest
from fastapi.testclient import TestClient
from gradio import route_utils
from starlette.websockets import WebSocketDisconnect

from common.errors import UserError
from common.paths import home
from common.visitors import GUESTS, as_guest, is_visitor
from tests.adapters.conftest import made  # noqa: F401
from tests.adapters.making import put
from tests.ui.calling import JOIN, choose_preset, send
from ui import door
from ui.guard import guarded
from ui.named import checked_base, checked_hub_id
from ui.owner import BROWSER_COOKIE, owner_of
from ui.routes import CLOSED, OPEN
from ui.sharing import Share, Sharing, Who, lock_all_out, new_key, sharing, use_key, who_has

TUNNEL, HERE, GUEST = "https://tunnel.test", "http://127.0.0.1:7860", "a" * 32
COOKIE = f"__Host-{door.COOKIE}"
BY_HAND = {"sec-fetch-dest": "document", "sec-fetch-mode": "navigate", "sec-fetch-site": "none"}
SECRET = "hf_" + "s" * 20


@pytest.fixture
def share():
    return Share(Sharing.TUNNEL, TUNNEL)


@pytest.fixture
def shared(page, share, monkeypatch):
    """A shared app: `shared(base_url, address)` is a browser without a key, there through the tunnel."""
    monkeypatch.setenv(GUESTS, "")  # a guest's way in sets it: put back as it was
    monkeypatch.setenv("HF_TOKEN", SECRET)
    app = gr.routes.App.create_app(page.queue(api_open=True), app_kwargs=guarded("127.0.0.1", share))

    def browser(base_url: str = TUNNEL, address: str = "127.0.0.1") -> TestClient:
        options = {"raise_server_exceptions": False, "follow_redirects": False}
        return TestClient(app, base_url, client=(address, 50_000), **options)

    return browser


@pytest.fixture
def inside(shared):
    """`inside(who)` is a browser that came in."""

    def browser(who: Who = Who.OWNER, **where) -> TestClient:
        client = shared(**where)
        assert enter(client, new_key(who)).status_code == 303
        return client

    return browser


def enter(client: TestClient, key: str, **headers):
    return client.post("/", data={"key": key}, headers=headers)


def is_in(client: TestClient) -> bool:
    return client.get("/config").status_code == 200


# without a key


@pytest.mark.parametrize("where", [TUNNEL, HERE])
def test_without_a_key_there_is_a_page_with_one_sentence_and_nothing_else(shared, where):
    client = shared(where)
    for template in {*OPEN, *CLOSED}:
        path = re.sub(r"{[^}]*}", "x", template)
        for method in ("GET", "POST", "PUT", "OPTIONS"):
            if (path, method) in ((door.STARTUP, "GET"), ("/", "POST")):
                continue
            answer = client.request(method, path)
            assert answer.status_code == 401 and "shared with a key" in answer.text, (method, path)
            assert len(answer.content) < 2000 and "set-cookie" not in answer.headers
    page = client.get("/").text
    assert 'name="key"' in page and "gradio" not in page.lower() and "<script" not in page


def test_the_page_for_the_key_speaks_the_visitors_language_and_runs_nothing(shared):
    answer = shared().get("/", headers={"accept-language": "ko"})
    assert '<html lang="ko">' in answer.text
    assert shared().get("/?lang=ko").text == answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "action" not in answer.text, "the form goes to the address that the page has, with its language"
    korean = shared().post("/?lang=ko&key=x", data={"key": "wrong"})
    assert korean.status_code == 401 and '<html lang="ko">' in korean.text
    assert shared().post("/?lang=ko&key=x", data={"key": new_key(Who.OWNER)}).headers["location"] == "/?lang=ko"
    hostile = shared().get("/", params={"key": '"><script>alert(1)</script>'})
    assert "<script" not in hostile.text and "&lt;script" in hostile.text


def test_a_call_an_upload_and_a_file_need_the_cookie(shared, inside):
    path = send(inside(), b"mine").json()[0]
    stranger = shared()
    assert choose_preset(stranger, "s").status_code == choose_preset(stranger, "s", JOIN).status_code == 401
    before = sorted(home().rglob("*"))
    assert send(stranger).status_code == 401 and sorted(home().rglob("*")) == before
    assert stranger.get(f"/gradio_api/file={path}").status_code == 401
    assert inside().get(f"/gradio_api/file={path}").content == b"mine"


def test_no_stream_and_no_websocket_is_open_without_the_cookie(shared):
    for path in ("/gradio_api/heartbeat/s", "/gradio_api/queue/data?session_hash=s", "/gradio_api/call/preset/e"):
        assert shared().get(path).status_code == 401
    for path in ("/", "/gradio_api/queue/join", "/v1/x"):
        with pytest.raises(WebSocketDisconnect) as refused, shared().websocket_connect(f"wss://tunnel.test{path}"):
            pass
        assert refused.value.code == 1008


def test_gradios_check_at_the_start_passes_once(shared):
    assert shared(HERE).post(door.STARTUP).status_code == 401
    assert shared(HERE).get(door.STARTUP).status_code == 200
    assert shared(HERE).get(door.STARTUP).status_code == 401
    assert shared(HERE).head("/").status_code == 401, "which Gradio takes for an answer"


def test_what_has_keys_of_its_own_is_let_through_and_leads_nowhere_else(shared, monkeypatch):
    assert shared().get("/v1/models").status_code == 401, "the interface for programs is off"
    monkeypatch.setenv("STUDIO_API", "1")
    assert shared().get("/v1/models").text == "There is nothing here."
    for path in ("/v1/../config", "/v1/%2e%2e/config", "/v1//config", "/v1"):
        assert shared().get(path).status_code in (401, 404), path


# the key


def test_a_printed_link_opens_one_browser_and_leaves_the_address(shared):
    address, first = f"/?key={new_key(Who.OWNER)}&lang=ko", shared()
    answer = first.get(address, headers=BY_HAND)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?lang=ko")
    assert answer.headers["referrer-policy"] == "same-origin" and answer.headers["cache-control"] == "no-store"
    cookie = answer.headers["set-cookie"].lower()
    assert {"httponly", "secure", "samesite=lax", "path=/"} <= {part.strip() for part in cookie.split(";")}
    assert is_in(first) and first.get("/?lang=ko").headers["referrer-policy"] == "same-origin"
    second = shared()
    assert second.get(address, headers=BY_HAND).status_code == 401 and not is_in(second)
    assert first.get(address, headers=BY_HAND).headers["location"] == "/?lang=ko", "who is in may reload the link"


def test_a_preview_of_the_link_does_not_use_up_its_key(shared):
    key = new_key(Who.OWNER)
    for headers in ({}, BY_HAND | {"sec-purpose": "prefetch;prerender"}, BY_HAND | {"sec-fetch-dest": "image"}):
        preview = shared().get(f"/?key={key}", headers=headers)
        assert preview.status_code == 401 and f'value="{key}"' in preview.text
    assert shared().head(f"/?key={key}", headers=BY_HAND).status_code == 401
    assert enter(shared(), key).status_code == 303


def test_the_cookie_is_secure_where_the_address_is(inside, shared):
    assert "secure" not in enter(shared(HERE), new_key(Who.OWNER)).headers["set-cookie"].lower()
    # the tunnel's client speaks HTTP to this machine
    cookie = enter(shared("http://tunnel.test"), new_key(Who.OWNER)).headers["set-cookie"]
    assert "secure" in cookie.lower() and cookie.startswith(COOKIE)


def test_another_name_of_the_tunnels_domain_can_set_no_cookie_that_counts(shared, inside):
    guests = inside(Who.GUEST).cookies[COOKIE]
    assert shared().get("/config", headers={"cookie": f"{door.COOKIE}={guests}"}).status_code == 401
    both = f"{door.COOKIE}={guests}; {COOKIE}={inside().cookies[COOKIE]}"
    assert BROWSER_COOKIE not in shared().get("/config", headers={"cookie": both}).headers.get("set-cookie", "")


def test_a_wrong_key_opens_nothing(shared):
    key = new_key(Who.OWNER)
    for wrong in ("", "x", key[:-1], f"{key}x", key.swapcase(), "../" + key, "x" * 1500, "\udcff", "열쇠"):
        client = shared(address=wrong[:9])
        answer = enter(client, wrong.encode("utf-8", "replace").decode())
        assert answer.status_code == 401 and "opens nothing" in answer.text and not is_in(client), wrong
    assert enter(shared(), "x" * 5000).status_code == 413
    assert enter(shared(), key).status_code == 303


def test_a_key_in_any_other_place_opens_nothing(shared):
    key = new_key(Who.OWNER)
    for headers in (
        {"referer": f"{TUNNEL}/?key={key}", **BY_HAND},
        {"cookie": f"{COOKIE}={key}"},
        {"authorization": f"Bearer {key}"},
        {"x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1", "forwarded": "for=127.0.0.1"},
    ):
        for path in ("/", "/config", f"/config?key={key}"):
            assert shared().get(path, headers=headers).status_code == 401
    client = shared()
    assert enter(client, key).status_code == 303, "nothing of that has used it up"
    assert enter(shared(), client.cookies[COOKIE]).status_code == 401, "a cookie is no key"


def test_of_many_who_use_one_key_at_once_one_gets_in():
    key = new_key(Who.OWNER)
    with ThreadPoolExecutor(16) as pool:
        found = [one for one in pool.map(lambda _: use_key(key), range(64)) if one]
    assert len(found) == 1 and who_has(found[0][1]) == Who.OWNER


def test_after_the_keys_are_renewed_nothing_of_before_opens_anything(shared, inside):
    unused, used, hers, guest = new_key(Who.OWNER), new_key(Who.OWNER), shared(), inside(Who.GUEST)
    enter(hers, used)
    assert is_in(hers) and is_in(guest)
    lock_all_out()
    newest = new_key(Who.OWNER)
    assert not is_in(hers) and not is_in(guest)
    for key in (unused, used):
        assert enter(shared(), key).status_code == 401
    assert enter(hers, newest).status_code == 303 and is_in(hers)


def test_a_call_that_waits_while_the_keys_are_renewed_is_not_answered(inside, monkeypatch):
    answer = route_utils.call_process_api

    async def late(*given, **named):
        lock_all_out()
        return await answer(*given, **named)

    client = inside()
    assert "error" not in choose_preset(client, "s").json()
    monkeypatch.setattr(route_utils, "call_process_api", late)
    refused = choose_preset(client, "s").json()
    assert "data" not in refused and "shared with a key" in refused["error"]


def test_brute_force_is_slowed_down_for_all_and_who_is_in_stays_in(shared, inside, monkeypatch):
    owner, key = inside(), new_key(Who.OWNER)
    for _ in range(door.MAX_WRONG_KEYS):
        assert enter(shared(), "wrong").status_code == 401
    slowed = enter(shared(), key)
    assert slowed.status_code == 429 and slowed.headers["retry-after"] == "60" and is_in(owner)
    assert shared().get(f"/?key={key}", headers=BY_HAND).status_code == 429
    for number in range(door.MAX_WRONG_KEYS_OF_ALL - door.MAX_WRONG_KEYS):
        assert enter(shared(address=f"198.51.100.{number}"), "wrong").status_code == 401
    assert enter(shared(address="203.0.113.1"), "wrong").status_code == 429, "an address is quickly made up"
    monkeypatch.setattr(door, "WINDOW_SECONDS", 0)
    assert enter(shared(), key).status_code == 303


def test_a_key_is_in_no_file_and_the_files_are_their_owners_alone(shared):
    key = new_key(Who.OWNER)
    client = shared()
    enter(client, key)
    new_key(Who.GUEST)
    files = [file for file in home().rglob("*") if file.is_file() and "door" in file.parts]
    secrets = (key, client.cookies[COOKIE])
    assert len(files) == 2 and not any(one in f"{file}{file.read_text()}" for one in secrets for file in files)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert {stat.S_IMODE((home() / name).stat().st_mode) for name in ("door", "door/keys")} == {0o700}
    assert len(key) >= 43, "256 bits"


# other pages, other names


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://other.tunnel.test", "http://tunnel.test:1"]
)
def test_another_page_can_neither_bring_a_key_nor_call_with_the_cookie(shared, inside, origin):
    key, client = new_key(Who.GUEST), shared()
    for headers in ({"origin": origin}, {"origin": origin, "sec-fetch-site": "cross-site"}):
        assert enter(client, key, **headers).status_code == 403 and not is_in(client)
        assert send(inside(), **headers).status_code == 403
        assert inside().post(JOIN, json={}, headers=headers).status_code == 403
    assert enter(client, key, origin=TUNNEL).status_code == 303


def test_a_shared_app_answers_to_its_own_names_and_to_the_tunnels(shared, inside, share):
    cookie = {"cookie": f"{COOKIE}={inside().cookies[COOKIE]}"}
    for host in ("evil.example", "tunnel.test.evil.example", "x.tunnel.test", "", "0.0.0.0", "169.254.169.254"):
        for more in ({}, {"x-forwarded-host": "tunnel.test"}):
            answer = shared().get("/config", headers={"host": host, **cookie, **more})
            assert answer.status_code == 400, host
    for host in ("tunnel.test", "TUNNEL.test:443", "127.0.0.1:7860", "localhost"):  # all of them over HTTPS here
        assert shared().get("/config", headers={"host": host, **cookie}).status_code == 200
        assert shared().get("/config", headers={"host": host}).status_code == 401
    share.address = ""
    assert shared().get("/config", headers=cookie).status_code == 400, "before there is a tunnel"


def test_without_a_share_nothing_changes_and_on_colab_its_proxy_may_use_any_name():
    def layers(*given) -> list[str]:
        first, *others = [one.cls.__name__ for one in guarded(*given)["middleware"]]
        assert first == "Health"
        return others

    assert layers("127.0.0.1") == ["Hosts", "Speaking", "Guard", "Delivery"]
    assert layers("0.0.0.0") == layers("127.0.0.1", Share(Sharing.COLAB_PROXY)) == ["Speaking", "Guard", "Delivery"]
    assert layers("0.0.0.0", Share(Sharing.TUNNEL)) == ["Door", "Speaking", "Guard", "Delivery"]


@pytest.mark.parametrize(
    ("variables", "asked", "kind"),
    [
        ({}, False, "none"),
        ({}, True, "tunnel"),
        ({"STUDIO_SHARE": "1"}, False, "tunnel"),
        ({"GRADIO_SHARE": "True"}, False, "tunnel"),
        ({"GRADIO_SHARE": "True", "STUDIO_SHARE": "0"}, False, "none"),
        ({"COLAB_RELEASE_TAG": "r"}, False, "colab-proxy"),
        ({"COLAB_RELEASE_TAG": "r"}, True, "tunnel"),
        ({"KAGGLE_KERNEL_RUN_TYPE": "Interactive", "COLAB_RELEASE_TAG": "r"}, False, "tunnel"),
        ({"KAGGLE_KERNEL_RUN_TYPE": "Interactive", "COLAB_RELEASE_TAG": "r", "STUDIO_SHARE": "no"}, False, "none"),
        ({"SPACE_ID": "o/s", "STUDIO_SHARE": "1"}, True, "none"),
    ],
)
def test_how_an_app_is_shared_is_said_by_its_user_or_needed_by_the_machine(monkeypatch, variables, asked, kind):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert sharing(asked) == kind
    monkeypatch.setenv("STUDIO_SHARE", "perhaps")
    with pytest.raises(UserError, match="STUDIO_SHARE"):
        sharing()


# guests


def call(client: TestClient, name: str, *data, **body):
    return client.post(f"/gradio_api/run/{name}", json={"data": list(data), "session_hash": f"of {id(client)}", **body})


def test_a_guest_has_no_login_of_the_machine_and_data_of_their_own(inside, made):  # noqa: F811
    put("mine", made)
    owner, guest = inside(), inside(Who.GUEST)
    assert "tiny-base" in call(owner, "adapter", GUEST, "mine").text
    assert "tiny-base" not in call(guest, "adapter", GUEST, "mine").text
    assert "There is no adapter" in call(guest, "delete_adapter", GUEST, "", "mine").text
    with as_guest(True):
        put("theirs", made, owner_of(GUEST, None))
    for given in ({}, {"oauth_token": SECRET}):
        refused = call(guest, "plan_push", GUEST, "theirs", "", True, "", True, False, **given).text
        assert "Guests cannot sign in here" in refused and SECRET not in refused
        refused = call(guest, "merge_adapter", GUEST, "theirs", "bf16", **given).text
        assert "signed in to merge" in refused, refused
    assert "tiny-base" not in call(owner, "adapter", GUEST, "theirs").text


def test_a_guest_names_nothing_of_the_machine(inside):
    with as_guest(True):
        assert is_visitor()
        for named in (checked_base, lambda one: checked_hub_id("guest-x", one)):
            with pytest.raises(UserError):
                named(str(home()))
    assert checked_base(str(home())) == checked_hub_id("local", str(home())) == str(home()) and not is_visitor()


def test_the_files_and_sessions_of_owner_and_guests_are_apart(inside):
    owner, guest, other = inside(), inside(Who.GUEST), inside(Who.GUEST)
    assert send(guest).status_code == 403, "before its page is there"
    for one in (guest, other):
        assert one.get("/config").status_code == 200 and BROWSER_COOKIE in one.cookies
    assert BROWSER_COOKIE not in owner.cookies
    paths = {one: send(one, f"of {number}".encode()).json()[0] for number, one in enumerate((owner, guest, other))}
    for one in paths:
        for theirs, path in paths.items():
            assert one.get(f"/gradio_api/file={path}").status_code == (200 if one is theirs else 403)
    assert choose_preset(owner, "hers").status_code == 200
    assert choose_preset(guest, "hers").status_code == 403


def test_a_guest_link_takes_nobodys_place(inside, shared):
    owner, key = inside(), new_key(Who.GUEST)
    assert owner.get(f"/?key={key}", headers=BY_HAND).status_code == 303
    assert is_in(owner) and BROWSER_COOKIE not in owner.cookies, "the owner is no guest now"
    guest = shared()
    assert enter(guest, key).status_code == 303, "and the key is left"
    assert enter(guest, new_key(Who.GUEST)).headers.get("set-cookie") is None
    assert enter(guest, new_key(Who.OWNER)).headers.get("set-cookie")
    assert guest.get("/config").headers.get("set-cookie") is None
