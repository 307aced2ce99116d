"""The sign-in of a Space, whole, against an OpenID provider on loopback: from the button to a push in the visitor's name."""

import base64
import json
from urllib.parse import urlsplit

import gradio as gr
import pytest

from adapters.library import list_adapters
from tests.adapters.conftest import hub, made  # noqa: F401
from tests.adapters.making import put
from tests.openid_provider import OpenIdProvider
from tests.ui.space import space_page
from ui.guard import guarded

FROM_THE_PAGE = {"sec-fetch-site": "same-origin"}
SCOPES = "openid profile read-repos contribute-repos inference-api"


@pytest.fixture
def space(hub, monkeypatch):  # noqa: F811
    """(browser, provider): the page of a Space whose visitors sign in at the provider; bob is who says yes."""
    pytest.importorskip("authlib", reason="gradio[oauth] is there on a Space")
    from fastapi.testclient import TestClient
    from gradio import oauth

    from models.hub import client as adapters_hub

    adapters_hub._account_of.cache_clear()
    token = hub.add_user("bob", "contribute")
    with OpenIdProvider(token, "bob") as provider:
        facts = {"OAUTH_CLIENT_ID": "cid", "OAUTH_CLIENT_SECRET": "sec", "OAUTH_SCOPES": SCOPES}
        facts["OPENID_PROVIDER_URL"] = provider.url
        for name, value in facts.items():
            monkeypatch.setenv(name, value)
            monkeypatch.setattr(oauth, name, value)
        for name, value in {"SYSTEM": "spaces", "SPACE_ID": "someone/studio", "SPACE_HOST": "space.test"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HF_TOKEN", hub.alice)
        app = gr.routes.App.create_app(space_page("cid").queue(api_open=True), app_kwargs=guarded("0.0.0.0"))
        browser = TestClient(app, base_url="https://space.test", follow_redirects=False, raise_server_exceptions=False)
        yield browser, provider


def sign_in(browser, provider) -> None:
    """What a browser does after a click on the button."""
    import httpx

    away = browser.get("/login/huggingface", headers=FROM_THE_PAGE)
    back = httpx.get(away.headers["location"], follow_redirects=False)
    address = urlsplit(back.headers["location"])
    assert (address.scheme, address.netloc, address.path) == ("https", "space.test", "/login/callback")
    landed = browser.get(f"{address.path}?{address.query}")
    assert landed.status_code in (302, 307) and landed.headers["location"].startswith("/")


def call(browser, name: str, *data, session: str = "s") -> tuple[int, str]:
    answer = browser.post(f"/gradio_api/run/{name}", json={"data": list(data), "session_hash": session})
    return answer.status_code, json.dumps(answer.json())


def test_a_visitor_signs_in_with_the_least_scopes_and_pushes_in_their_own_name(space, hub, made):  # noqa: F811
    browser, provider = space
    put("mine", made, "user-bob")
    status, text = call(browser, "push_adapter", "", "mine", "", True, "", True, False, None)
    assert status == 500 and "This page does not know you yet" in text, "nobody is signed in yet"
    sign_in(browser, provider)
    assert set(provider.asked[0]["scope"].split()) == set(SCOPES.split())
    status, text = call(browser, "push_adapter", "", "mine", "", True, "", True, False, None, session="another page")
    assert status == 200 and "bob/mine" in text, text
    assert hub.repositories["bob/mine"].private and "README.md" in hub.repositories["bob/mine"].files
    assert hub.alice not in hub.seen_tokens, "the Space's own token acted"
    assert provider.token not in text


def test_the_life_of_a_sign_in_is_told_before_a_start(space, hub):  # noqa: F811
    browser, provider = space
    provider.expires_in = 2 * 3600
    sign_in(browser, provider)
    page = browser.get("/config").json()
    wish = next(one for one in page["dependencies"] if one["api_name"] == "checkpoints_on_hub")
    values = [next(c for c in page["components"] if c["id"] == place)["props"].get("value") for place in wish["inputs"]]
    values = [*values[:-1], True]
    status, text = call(browser, "checkpoints_on_hub", *values)
    assert status == 200 and "bob/my-adapter-checkpoints (private)" in text and "sign-in ends in 2 h" in text, text


def test_after_the_sign_out_nothing_of_theirs_is_there(space, made):  # noqa: F811
    browser, provider = space
    put("mine", made, "user-bob")
    sign_in(browser, provider)
    assert call(browser, "adapter", "", "mine")[0] == 200
    browser.get("/logout", headers=FROM_THE_PAGE)
    status, text = call(browser, "adapter", "", "mine")
    assert status == 500 and "This page does not know you yet" in text, text


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", None])
def test_no_other_page_signs_anybody_out_or_in(space, made, site):  # noqa: F811
    browser, provider = space
    put("mine", made, "user-bob")
    headers = {"sec-fetch-site": site} if site else {}
    assert browser.get("/login/huggingface", headers=headers).status_code == 403 and provider.asked == []
    sign_in(browser, provider)
    assert browser.get("/logout", headers=headers).status_code == 403
    assert call(browser, "adapter", "", "mine")[0] == 200, "still signed in"


def test_a_cookie_that_was_tampered_with_is_nobody(space, hub, made):  # noqa: F811
    browser, provider = space
    put("mine", made, "user-bob")
    sign_in(browser, provider)
    put("hers", made, "user-alice")
    body, rest = browser.cookies["session"].split(".", 1)
    session = json.loads(base64.b64decode(body))
    session["oauth_info"]["access_token"] = hub.alice
    hers = base64.b64encode(json.dumps(session).encode()).decode()
    stamp, signature = rest.split(".")
    for forged in (
        f"{body[:-4]}AAAA.{rest}",
        f"{hers}.{rest}",
        f"{hers}.{stamp}.",
        hers,
        f"{body}.{stamp}.{signature[:-2]}AA",
    ):
        browser.cookies.clear()
        browser.cookies.set("session", forged, domain="space.test")
        for job, name in (
            ("adapter", "mine"),
            ("adapter", "hers"),
            ("delete_adapter", "hers"),
            ("delete_adapter", "mine"),
        ):
            data = ["", name] if job == "adapter" else ["", "", name]
            status, text = call(browser, job, *data)
            assert status == 500 and json.loads(text)["error"].startswith("This page does not know you yet"), text
            assert "tiny-base" not in text and hub.alice not in text and provider.token not in text
    assert [list_adapters(owner)[0].name for owner in ("user-bob", "user-alice")] == ["mine", "hers"]
    assert hub.alice not in hub.seen_tokens


@pytest.mark.parametrize(
    "target", ["https://evil.example/x", "//evil.example/x", "/\\evil.example", "http:evil.example"]
)
def test_the_sign_in_leads_back_to_the_page_and_nowhere_else(space, target):
    import httpx

    browser, _ = space
    away = browser.get("/login/huggingface", params={"_target_url": target}, headers=FROM_THE_PAGE)
    back = urlsplit(httpx.get(away.headers["location"], follow_redirects=False).headers["location"])
    landed = browser.get(f"{back.path}?{back.query}").headers["location"]
    assert "evil.example" not in urlsplit(landed.replace("\\", "/")).netloc and not landed.startswith("http:"), landed
    out = browser.get("/logout", params={"_target_url": target}, headers=FROM_THE_PAGE).headers["location"]
    assert "evil.example" not in urlsplit(out.replace("\\", "/")).netloc and not out.startswith("http:"), out
