"""The chat in a real browser: several models side by side, history, data from chat. Screenshots stay in `screenshots/`."""

import shutil

import pytest

from common.paths import adapters_folder, home
from data.feedback import read_rows
from tests.browser.driving import CHROMIUM, FLAGS, MARKS, choose, new_page, settle, shoot, wait_for
from tests.chat.conftest import adapters  # noqa: F401
from tests.chat.openai_server import openai_server
from ui.chat.keys import COPY_THE_WORDS

pytestmark = MARKS
TYPED = "Hello <b>bold</b> </s><|assistant|> `x<y`"
LONG_WAIT = 120


@pytest.fixture
def library(isolated_home, adapters):  # noqa: F811
    """Two adapters of the tiny base, there before the page is opened."""
    for number, folder in enumerate(adapters):
        shutil.copytree(folder, adapters_folder() / f"adapter-{number}")


@pytest.fixture
def chat(library, page):
    """The Chat tab with an adapter, its base and another adapter side by side, and short answers."""
    page.get_by_role("tab", name="Chat").click()
    settle(page)
    choose(page, "Model", "adapter-0")
    settle(page)  # its base has joined
    page.get_by_label("Compare with").click()
    page.get_by_role("option").filter(has_text="adapter-1").first.click()
    page.keyboard.press("Escape")
    set_longest_answer(page, 16)
    return page


def set_longest_answer(page, tokens: int) -> None:
    """Short answers, the same at each try."""
    page.locator("#chat-settings-button").click()
    page.get_by_role("radio", name="Repeatable").check()
    settle(page)
    page.get_by_label("number input for Longest answer in tokens").fill(str(tokens))
    page.keyboard.press("Tab")
    page.locator("#chat-settings-button").click()


def send(page, text: str) -> None:
    page.get_by_placeholder("Your message").fill(text)
    before = len(words(page, 0, "user"))
    page.get_by_role("button", name="Send").click()
    wait_for(lambda: len(words(page, 0, "user")) > before, 60, "the message is not shown")
    wait_idle(page)


def wait_idle(page) -> None:
    """Until the last answer has its line under it and the next message can be sent."""
    wait_for(lambda: "the first after" in "".join(words(page, 0)[-1:]), LONG_WAIT, "no answer")
    wait_for(lambda: page.get_by_role("button", name="Send").is_visible(), LONG_WAIT, "the answers do not end")


def words(page, pane: int, role: str = "bot") -> list[str]:
    texts = page.get_by_role("log").nth(pane).locator(f".{role}.message, .message.{role}").all_inner_texts()
    return [text.strip() for text in texts if text.strip()]


def icon(page, pane: int, name: str):
    return page.get_by_role("log").nth(pane).locator(f"button[title='{name}'], button[aria-label='{name}']")


def edit(page, pane: int, message: int, text: str) -> str:
    """Edit a message by its pencil; returns what stood in the box."""
    icon(page, pane, "Edit").nth(message).click()
    box = page.get_by_role("log").nth(pane).locator("textarea")
    wait_for(lambda: "textarea" in page.evaluate("document.activeElement.className"), 30, "the box has no focus")
    found = box.input_value()
    box.fill(text)
    icon(page, pane, "Submit").first.click()
    return found


def test_models_answer_side_by_side_and_an_answer_becomes_a_row(chat):
    send(chat, TYPED)
    answers = [words(chat, pane)[0] for pane in range(3)]
    assert len({answer.split("\n")[0] for answer in answers}) == 3
    assert all("tokens/s, the first after" in answer for answer in answers)
    assert words(chat, 0, "user")[0] == TYPED.replace("`", ""), "what was typed is not what is shown"
    icon(chat, 0, "Like").first.click()
    chat.locator(".toast-body").get_by_text("is not complete").wait_for()
    assert not (home() / "datasets/local/from-chat.jsonl").exists(), "an answer that was cut off became a row"
    edit(chat, 0, 1, "A corrected answer.")
    wait_for(lambda: (home() / "datasets/local/from-chat.jsonl").exists(), 30, "no row was kept")
    icon(chat, 0, "Like").first.click()
    wait_for(
        lambda: [one["source"] for one in read_rows("from-chat")] == ["liked"], 30, "it is not kept as a liked one"
    )
    (row,) = read_rows("from-chat")
    assert [one["content"] for one in row["messages"]] == [TYPED, "A corrected answer."]
    chat.locator("#chat-settings-button").click()
    chat.get_by_text("What the model saw").click()
    wait_for(lambda: chat.locator(".seen mark").count() == 3, 30, "the special tokens are not visible")
    shoot(chat, "chat-compare")


def test_retry_undo_edit_and_what_is_left_out(chat):
    send(chat, "First question")
    icon(chat, 0, "Retry").first.click()
    wait_for(lambda: "seed 1, temperature 0.5" in "".join(words(chat, 0)), LONG_WAIT, "no second try")
    wait_idle(chat)
    icon(chat, 0, "Undo").first.click()
    box = chat.get_by_placeholder("Your message")
    wait_for(lambda: box.input_value() == "First question" and not words(chat, 0), 30, "nothing was undone")
    for turn in range(5):
        send(chat, f"Question {turn}: " + "a few more words " * 8)
    wait_for(lambda: chat.get_by_text("left out: the model does not").count() > 1, 30, "nothing was left out")
    shoot(chat, "chat-left-out")
    box.fill("word " * 600)
    chat.get_by_role("button", name="Send").click()
    chat.get_by_text("Shorten it").first.wait_for()
    wait_for(lambda: box.input_value().startswith("word word"), 30, "the text is lost")
    chat.reload()
    chat.get_by_role("tab", name="Chat").click()
    wait_for(lambda: "Question 4" in " ".join(words(chat, 0, "user")), 60, "the reload lost the conversation")


@pytest.fixture
def server(monkeypatch):
    """A chat server on loopback that talks slowly and for long; the app is started with its address."""
    with openai_server(times=500, pause=0.05) as (server, url):
        monkeypatch.setenv("CHAT_SERVER_URL", url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        yield server


def is_talking(server, page) -> bool:
    """True while the server sends words, at least two a second."""
    sent = server.sent
    page.wait_for_timeout(1000)
    return server.sent > sent


def test_a_stop_keeps_what_came_and_the_next_message_is_answered(server, page):
    server.pause = 0.5  # until a slow machine has stopped it, the answer still fits into the server's window
    page.get_by_role("tab", name="Chat").click()
    settle(page)
    choose(page, "Model", "Server: tiny")
    set_longest_answer(page, 50)
    page.get_by_placeholder("Your message").fill("Go on for long")
    page.get_by_role("button", name="Send").click()
    wait_for(lambda: "tiny heard 1" in "".join(words(page, 0)), 60, "the server's words do not come")
    page.get_by_role("button", name="Stop").click()
    wait_for(lambda: "Stopped." in "".join(words(page, 0)), 60, "the answer does not say that it was stopped")
    wait_for(lambda: not is_talking(server, page), 60, "the server talks on")
    server.times = 1
    send(page, "And now?")
    assert words(page, 0)[1].startswith("tiny heard 3: And now?")


@pytest.fixture
def behind_a_proxy(monkeypatch) -> None:
    """The app, started after this, has another name than localhost."""
    monkeypatch.setenv("STUDIO_HOSTS", "studio.test")


def test_over_plain_http_the_adapters_are_listed_too(behind_a_proxy, library, app):
    """Any address but localhost is no secure context: the browser has no clipboard there."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        rule = "--host-resolver-rules=MAP studio.test 127.0.0.1"
        page = new_page(playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, rule]))
        page.goto(app[0].replace("127.0.0.1", "studio.test"))
        page.get_by_role("tab", name="Chat").click()
        assert page.evaluate("navigator.clipboard === undefined")
        settle(page)
        choose(page, "Model", "adapter-0")


def test_only_a_copied_answer_loses_the_line_under_it():
    from playwright.sync_api import sync_playwright

    text = "1 &lt; 2\n\n<small>3.0 tokens/s</small>"
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS).new_page()
        page.route("https://studio.test/", lambda route: route.fulfill(body="", content_type="text/html"))
        page.goto("https://studio.test/")
        page.set_content("<div role=log><button id=answer>x</button><pre><b id=code>x</b></pre></div><i id=other>x</i>")
        page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text }")
        page.evaluate(COPY_THE_WORDS)
        page.evaluate("document.onclick = () => navigator.clipboard.writeText(window.text)")
        page.evaluate("(text) => { window.text = text }", text)
        for name, copied in (("answer", "1 < 2"), ("code", text), ("other", text)):
            page.locator(f"#{name}").click()
            assert page.evaluate("window.copied") == copied


def test_leaving_in_mid_answer_cancels_it(server, page):
    """Another conversation opened, and one deleted, while the model talks: nothing of it comes later."""
    page.get_by_role("tab", name="Chat").click()
    settle(page)
    server.times = 1
    choose(page, "Model", "Server: tiny")
    set_longest_answer(page, 50)
    send(page, "Where do llamas live?")
    page.get_by_role("button", name="New chat").click()
    wait_for(lambda: not words(page, 0), 30, "the new conversation is not empty")
    server.times = 500

    def begin(act) -> None:
        act()
        wait_for(lambda: "tiny heard" in "".join(words(page, 0)[-1:]) and is_talking(server, page), 60, "no words come")

    page.get_by_placeholder("Your message").fill("Go on for long")
    begin(lambda: page.get_by_role("button", name="Send").click())
    page.get_by_role("radio", name="Where do llamas live?").check()
    wait_for(lambda: words(page, 0, "user") == ["Where do llamas live?"], 60, "it was not opened")
    wait_for(lambda: not is_talking(server, page), 60, "the server talks on")
    assert words(page, 0, "user") == ["Where do llamas live?"] and page.get_by_role("button", name="Send").is_visible()
    listed = page.get_by_role("radio", name="Go on for long")
    wait_for(lambda: listed.count() == 1, 30, "what was said until then is lost")

    begin(icon(page, 0, "Retry").first.click)
    page.get_by_role("button", name="This chat").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    wait_for(lambda: not words(page, 0), 60, "it was not deleted")
    wait_for(lambda: not is_talking(server, page), 60, "the server talks on")
    assert not words(page, 0) and page.get_by_role("radio", name="Where do llamas live?").count() == 0
    page.get_by_role("button", name="Deleted. Undo").click()
    wait_for(lambda: words(page, 0, "user") == ["Where do llamas live?"], 60, "the undo brings nothing back")
