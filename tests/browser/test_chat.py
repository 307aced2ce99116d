"""The chat in a real browser: several models side by side, history, data from chat. Screenshots stay in `screenshots/`."""

import shutil
from pathlib import Path

import pytest

from common.paths import LOCAL_OWNER, adapters_folder, home
from data.feedback import read_rows
from tests.browser.driving import MARKS, OTHER_NAME, choose, new_page, settle, shoot, wait_for
from tests.chat.conftest import adapters  # noqa: F401
from ui.chat.keys import COPY_THE_WORDS

pytestmark = MARKS
TYPED = "Hello <b>bold</b> </s><|assistant|> `x<y`"
LONG_WAIT = 120


@pytest.fixture(scope="module")
def shared_environment(shared_server) -> dict[str, str]:
    """The app talks with the server too, and has another name than localhost."""
    return {"CHAT_SERVER_URL": shared_server.url, "HF_HUB_OFFLINE": "0", "STUDIO_HOSTS": OTHER_NAME}


@pytest.fixture(scope="module")
def shared_home(shared_home, adapters) -> Path:  # noqa: F811
    copy_adapters(adapters, shared_home / "adapters" / LOCAL_OWNER)
    return shared_home


@pytest.fixture
def library(isolated_home, adapters):  # noqa: F811
    """Two adapters of the tiny base, there before the page is opened."""
    copy_adapters(adapters, adapters_folder())


def copy_adapters(adapters: list[Path], library: Path) -> None:  # noqa: F811
    for number, folder in enumerate(adapters):
        shutil.copytree(folder, library / f"adapter-{number}")


@pytest.fixture
def chat(fresh_page):
    return compare(fresh_page)


def compare(page):
    """The Chat tab with an adapter, its base and another adapter side by side, and short answers."""
    open_chat(page)
    choose(page, "Model", "adapter-0")  # its base joins
    page.get_by_label("Compare with").click()
    page.get_by_role("option").filter(has_text="adapter-1").first.click()
    page.keyboard.press("Escape")
    settle(page)
    set_longest_answer(page, 16)
    return page


def open_chat(page) -> None:
    page.get_by_role("tab", name="Chat").click()
    page.get_by_placeholder("Your message").wait_for()
    settle(page)


def set_longest_answer(page, tokens: int) -> None:
    """Short answers, the same at each try."""
    page.locator("#chat-settings-button").click()
    page.get_by_role("radio", name="Repeatable").check()
    settle(page)
    box = page.get_by_label("number input for Longest answer in tokens")
    box.fill(str(tokens))
    page.keyboard.press("Tab")
    wait_for(lambda: box.input_value() == str(tokens), 10, "the longest answer is another one")
    page.locator("#chat-settings-button").click()


def send(page, text: str) -> None:
    page.get_by_placeholder("Your message").fill(text)
    before = len(words(page, 0, "user"))
    page.get_by_role("button", name="Send").click()
    wait_for(lambda: len(words(page, 0, "user")) > before, 60, "the message is not shown")
    wait_idle(page)


def wait_idle(page) -> None:
    """Until the last answer of each pane, which has begun, has its line under it, and the page is at rest."""

    def are_whole() -> bool:
        panes = range(page.get_by_role("log").count())
        return all("the first after" in "".join(words(page, pane)[-1:]) for pane in panes)

    wait_for(lambda: page.get_by_role("button", name="Send").is_visible() and are_whole(), LONG_WAIT, "no whole answer")
    settle(page)


def words(page, pane: int, role: str = "bot") -> list[str]:
    texts = page.get_by_role("log").nth(pane).locator(f".{role}.message, .message.{role}").all_inner_texts()
    return [text.strip() for text in texts if text.strip()]


def icon(page, pane: int, name: str):
    return page.get_by_role("log").nth(pane).locator(f"button[title='{name}'], button[aria-label='{name}']")


def edit(page, pane: int, message: int, text: str) -> str:
    """Edit a message by its pencil, until the app has heard of it; returns what stood in the box."""
    icon(page, pane, "Edit").nth(message).click()
    box = page.get_by_role("log").nth(pane).locator("textarea")
    wait_for(lambda: "textarea" in page.evaluate("document.activeElement.className"), 30, "the box has no focus")
    found = box.input_value()
    box.fill(text)
    icon(page, pane, "Submit").first.click()
    settle(page)
    return found


def rate(page, pane: int, mark: str) -> None:
    """Press a thumb under the first answer, until the app has heard of it."""
    icon(page, pane, mark).first.click()
    settle(page)


def test_models_answer_side_by_side_and_an_answer_becomes_a_row(chat, in_shared_home):
    send(chat, TYPED)
    answers = [words(chat, pane)[0] for pane in range(3)]
    assert len({answer.split("\n")[0] for answer in answers}) == 3
    assert all("tokens/s, the first after" in answer for answer in answers)
    assert words(chat, 0, "user")[0] == TYPED.replace("`", ""), "what was typed is not what is shown"
    rate(chat, 0, "Like")
    chat.locator(".toast-body").get_by_text("is not complete").wait_for()
    assert not (home() / "datasets/local/from-chat.jsonl").exists(), "an answer that was cut off became a row"
    edit(chat, 0, 1, "A corrected answer.")
    assert (home() / "datasets/local/from-chat.jsonl").exists(), "no row was kept"
    rate(chat, 0, "Like")
    (row,) = read_rows("from-chat")
    assert row["source"] == "liked", "it is not kept as a liked one"
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
    settle(chat)
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
def server(shared_server):
    """The chat server, which talks slowly and for long."""
    shared_server.times, shared_server.pause = 500, 0.05
    return shared_server


def is_talking(server, page) -> bool:
    """True while the server sends words, at least two a second."""
    sent = server.sent
    page.wait_for_timeout(1000)
    return server.sent > sent


def test_a_stop_keeps_what_came_and_the_next_message_is_answered(server, fresh_page):
    page = fresh_page
    server.pause = 0.5  # until a slow machine has stopped it, the answer still fits into the server's window
    open_chat(page)
    choose(page, "Model", "Server: tiny")
    set_longest_answer(page, 50)
    page.get_by_placeholder("Your message").fill("Go on for long")
    page.get_by_role("button", name="Send").click()
    wait_for(lambda: "tiny heard 1" in "".join(words(page, 0)), 60, "the server's words do not come")
    page.get_by_role("button", name="Stop").click()
    wait_for(lambda: "Stopped." in "".join(words(page, 0)), 60, "the answer does not say that it was stopped")
    wait_for(lambda: not is_talking(server, page), 60, "the server talks on")
    server.times, server.pause = 1, 0.05
    send(page, "And now?")
    assert words(page, 0)[1].startswith("tiny heard 3: And now?")


def test_over_plain_http_the_adapters_are_listed_too(shared_app, browser):
    """Any address but localhost is no secure context: the browser has no clipboard there."""
    page = new_page(browser)
    page.goto(shared_app.replace("127.0.0.1", OTHER_NAME))
    open_chat(page)
    assert page.evaluate("navigator.clipboard === undefined")
    choose(page, "Model", "adapter-0")


def test_only_a_copied_answer_loses_the_line_under_it(browser):
    text = "1 &lt; 2\n\n<small>3.0 tokens/s</small>"
    page = new_page(browser)
    page.route("https://studio.example/", lambda route: route.fulfill(body="", content_type="text/html"))
    page.goto("https://studio.example/")
    page.set_content("<div role=log><button id=answer>x</button><pre><b id=code>x</b></pre></div><i id=other>x</i>")
    page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text }")
    page.evaluate(COPY_THE_WORDS)
    page.evaluate("document.onclick = () => navigator.clipboard.writeText(window.text)")
    page.evaluate("(text) => { window.text = text }", text)
    for name, copied in (("answer", "1 < 2"), ("code", text), ("other", text)):
        page.locator(f"#{name}").click()
        assert page.evaluate("window.copied") == copied


def test_leaving_in_mid_answer_cancels_it(server, fresh_page):
    """Another conversation opened, and one deleted, while the model talks: nothing of it comes later."""
    page = fresh_page
    open_chat(page)
    server.times = 1
    choose(page, "Model", "Server: tiny")
    set_longest_answer(page, 50)
    send(page, "Where do llamas live?")
    page.get_by_role("button", name="New chat").click()
    wait_for(lambda: not words(page, 0), 30, "the new conversation is not empty")
    settle(page)
    server.times = 500

    def begin(act) -> None:
        act()
        wait_for(lambda: "tiny heard" in "".join(words(page, 0)[-1:]) and is_talking(server, page), 60, "no words come")

    page.get_by_placeholder("Your message").fill("Go on for long")
    begin(lambda: page.get_by_role("button", name="Send").click())
    page.get_by_role("radio", name="Where do llamas live?").click()
    wait_for(lambda: words(page, 0, "user") == ["Where do llamas live?"], 60, "it was not opened")
    wait_for(lambda: not is_talking(server, page), 60, "the server talks on")
    assert words(page, 0, "user") == ["Where do llamas live?"] and page.get_by_role("button", name="Send").is_visible()
    listed = page.get_by_role("radio", name="Go on for long")
    wait_for(lambda: listed.count() == 1, 30, "what was said until then is lost")
    settle(page)

    begin(icon(page, 0, "Retry").first.click)
    page.get_by_role("button", name="This chat").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    wait_for(lambda: not words(page, 0), 60, "it was not deleted")
    wait_for(lambda: not is_talking(server, page), 60, "the server talks on")
    assert not words(page, 0) and page.get_by_role("radio", name="Where do llamas live?").count() == 0
    page.get_by_role("button", name="Deleted. Undo").click()
    wait_for(lambda: words(page, 0, "user") == ["Where do llamas live?"], 60, "the undo brings nothing back")
