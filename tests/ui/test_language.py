"""Each visitor has the page in their language: its texts, Gradio's own, and what the handlers say."""

import gettext
from collections.abc import Callable

import gradio as gr
import httpx
import pytest
from fastapi.testclient import TestClient
from starlette.requests import HTTPConnection

from adapters.library import find_adapter
from common import language
from common.errors import UserError
from common.language import ENGLISH, KOREAN, _
from tests.ui.evaluations import put_adapter
from ui.adapters.view import facts_html
from ui.guard import guarded
from ui.language import COOKIE, language_of
from ui.messages import shown
from ui.page import Page, build
from ui.patches.texts import texts_of, translated

KO = {"accept-language": "ko-KR,ko;q=0.9,en-US;q=0.8"}


class Hangul(gettext.NullTranslations):
    """Stands in for the translations: what was said has a Hangul syllable before it."""

    def gettext(self, message):
        return f"가{message}"

    def ngettext(self, singular, plural, number):
        return f"가{plural}"


@pytest.fixture(autouse=True)
def korean(monkeypatch):
    catalogues = {ENGLISH: gettext.NullTranslations(), KOREAN: Hangul()}
    monkeypatch.setattr(language, "_catalogue", catalogues.__getitem__)


def served(build: Callable[[], Page]) -> TestClient:
    page = build()
    page.translate(build)
    app = gr.routes.App.create_app(page.queue(), app_kwargs=guarded("127.0.0.1"))
    page.max_file_size, page.theme_css, page.theme = None, "", gr.themes.Base()  # as launch() sets them
    page.config = page.get_config_file()
    return TestClient(app, base_url="http://127.0.0.1:7860")


def small() -> Page:
    """A page with one handler that says what it was asked for, one that goes on, and one that fails."""

    @shown
    def fail():
        raise UserError(_("It is broken."), _("Mend it."))

    def goes_on():
        yield str(_("First."))
        yield str(_("Second."))

    with Page() as page:
        box = gr.Textbox(label=str(_("A box")))
        box.change(lambda: str(_("Done.")), None, box, api_name="say")
        box.change(goes_on, None, box, api_name="go_on")
        box.change(fail, None, box, api_name="fail")
    return page


@pytest.mark.parametrize(
    ("method", "query", "headers", "expected"),
    [
        ("GET", "", {}, "en"),
        ("GET", "", KO, "ko"),
        ("GET", "", {"accept-language": "fr, ko;q=0.5, en;q=0.4"}, "ko"),
        ("GET", "", {"accept-language": "en;q=0.4, ko;q=0.5"}, "ko"),
        ("GET", "", {"accept-language": "fr;q=0.9"}, "en"),
        ("GET", "", {"accept-language": ";;q=x,,ko;q=nan"}, "ko"),
        ("GET", "", {**KO, "cookie": f"{COOKIE}=en"}, "en"),
        ("GET", "", {**KO, "cookie": f"{COOKIE}=../../xx"}, "ko"),
        ("GET", "lang=ko", {"cookie": f"{COOKIE}=en"}, "ko"),
        ("GET", "__theme=dark&lang=en", KO, "en"),
        ("GET", "lang=kor", {}, "en"),
        ("GET", "", {"referer": "http://elsewhere/?lang=ko"}, "en"),
        ("POST", "", {"referer": "http://127.0.0.1/?lang=ko#x", "cookie": f"{COOKIE}=en"}, "ko"),
        ("POST", "", {"referer": "[[?", **KO}, "ko"),
    ],
)
def test_the_address_decides_then_the_cookie_then_the_browser(method, query, headers, expected):
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert (
        language_of(HTTPConnection({"type": "http", "method": method, "query_string": query.encode(), "headers": raw}))
        == expected
    )


def test_the_whole_page_is_served_in_both_languages_with_the_same_components_and_events():
    client = served(build)
    english, korean = client.get("/config").json(), client.get("/config", headers=KO).json()
    texts = client.app.get_blocks()._texts[KOREAN]
    assert [len(texts[part]) for part in texts] == [len(english[part]) for part in texts]  # none stays English
    assert "가Train" in str(korean) and "가Train" not in str(english)
    assert client.get("/gradio_api/info", headers=KO).text == client.get("/gradio_api/info").text


def test_the_page_says_its_language_to_the_browser_and_keeps_what_was_asked_for():
    client = served(small)
    asked = client.get("/", params={"lang": "ko"}, headers={"accept-language": "en"})
    assert '<html\n\tlang="ko"' in asked.text and "get: () => 'ko'" in asked.text.partition("gradio_config")[0]
    assert client.cookies[COOKIE] == "ko"
    assert "가A box" in client.get("/").text
    for strange in ("kor", "</script>", "en; Domain=x"):
        answer = client.get("/", params={"lang": strange})
        assert "set-cookie" not in answer.headers and answer.headers["content-language"] == "ko"


@pytest.fixture
def address():
    """The address of the small page, served in both languages as app.py serves the whole."""
    page = small()
    page.translate(small)
    launched = page.queue().launch(
        prevent_thread_lock=True, quiet=True, ssr_mode=False, app_kwargs=guarded("127.0.0.1")
    )
    yield launched[1]
    page.close()


@pytest.mark.parametrize(("headers", "before"), [(KO, "\uac00"), ({}, "")])
def test_handlers_speak_the_language_of_their_caller_at_every_step(address, headers, before):
    def said(name: str) -> str:
        with httpx.Client(base_url=f"{address}gradio_api/call/", headers=headers, timeout=20) as client:
            event = client.post(name, json={"data": []}).json()["event_id"]
            return client.get(f"{name}/{event}").content.decode("unicode_escape")

    assert f'["{before}Done."]' in said("say")
    steps = said("go_on")
    assert f'["{before}First."]' in steps and f'["{before}Second."]' in steps
    assert f"{before}It is broken. {before}Mend it." in said("fail")


def test_what_differs_in_more_than_its_texts_stays_english(caplog):
    def page():
        spoken = language.current_language()
        with gr.Blocks() as made:
            gr.Radio([(spoken, "a"), (spoken, "b")], value="a")
            gr.Radio([(spoken, spoken)])
            gr.Radio([(spoken, "a"), (spoken, "b")], value="a" if spoken == ENGLISH else "b")
            gr.Slider(1, 3 if spoken == ENGLISH else 2, label=spoken)
        return made

    made = page()
    config = translated(made.config, texts_of(made.config, made._id, page, KOREAN))
    first, *others = [one["props"] for one in config["components"]]
    assert first["choices"] == [("ko", "a"), ("ko", "b")]
    assert [one.get("label") for one in others] != ["ko"] * 3 and "('ko'," not in str(others)
    assert len(caplog.records) == 3


def test_a_page_with_other_components_is_not_served():
    made = small()
    with pytest.raises(RuntimeError):
        texts_of(made.config, made._id, build, KOREAN)


def test_a_value_that_was_said_before_the_page_is_in_its_language():
    put_adapter("coach")
    adapter = find_adapter("coach")
    with language.language(KOREAN):
        assert "<dd>가the base&#x27;s</dd>" in facts_html(adapter)
