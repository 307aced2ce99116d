"""Two tabs of one person: neither overwrites what the other said, nor brings back what it deleted."""

import pytest

from tests.browser.driving import CHROMIUM, FLAGS, MARKS, choose, shoot, wait_for
from tests.browser.test_chat import send, words
from tests.chat.openai_server import openai_server
from ui.chat_store import MERGE, MOST_DELETED

pytestmark = MARKS


def one(id: str, changed: int, **more) -> dict:
    return {"id": id, "changed": changed, **more}


OLD, NEW = one("a", 1, title="old"), one("a", 2, title="new")
GONE = one("a", 3, deleted=True)
B = one("b", 5)


CASES = [
    ([], [], []),
    ([OLD], [B], [B, OLD]),
    ([OLD], [NEW], [NEW]),
    ([NEW], [OLD], [NEW]),
    ([GONE], [NEW, B], [B, GONE]),
    ([NEW, B], [GONE], [B, GONE]),
    ([one("a", 4)], [GONE], [one("a", 4)]),
    ([one("a", 2, title="ours")], [NEW], [one("a", 2, title="ours")]),
]


@pytest.fixture
def merge():
    """The page's own function, run by Chromium: merge(ours, theirs)."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS).new_page()
        yield lambda ours, theirs: page.evaluate(f"([ours, theirs]) => ({MERGE})(ours, theirs)", [ours, theirs])


def test_of_two_states_the_later_one_stays_and_a_deletion_is_a_state(merge):
    for ours, theirs, merged in CASES:
        assert merge(ours, theirs) == merged, f"{ours} and {theirs}"
    gone = [one(str(number), number, deleted=True) for number in range(MOST_DELETED + 9)]
    merged = merge(gone, [B])
    assert len(merged) == MOST_DELETED + 1 and merged[0] == gone[-1] and B in merged, "the deleted are not bounded"


@pytest.fixture
def server(monkeypatch):
    with openai_server() as (server, url):
        monkeypatch.setenv("CHAT_SERVER_URL", url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        yield server


def open_chat(page, model: str | None = None) -> None:
    """The Chat tab with answers of 50 tokens at most, and the list of conversations open."""
    page.get_by_role("tab", name="Chat").click()
    page.get_by_label("Model", exact=True).first.wait_for()
    page.wait_for_timeout(1000)
    if model:
        choose(page, "Model", model)
    page.get_by_role("button", name="Settings ▼").click()
    page.get_by_label("number input for Longest answer in tokens").fill("50")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Settings ▼").click()
    page.get_by_role("button", name="Conversations ▼").click()


def titles(page) -> list[str]:
    return sorted(page.locator("fieldset").filter(has_text="Kept in this browser").locator("label").all_inner_texts())


def test_two_tabs_keep_each_others_conversations_and_deletions(server, page):
    open_chat(page, "Server: tiny")
    other = page.context.new_page()
    other.set_default_timeout(60_000)
    other.goto(page.url)
    open_chat(other, "Server: tiny")
    send(page, "First in one tab")
    wait_for(lambda: titles(other) == ["First in one tab"], 30, "the other tab does not hear of it")
    send(other, "Second in the other")
    wait_for(lambda: titles(page) == titles(other) == ["First in one tab", "Second in the other"], 30, "one is lost")
    send(page, "And once more")
    assert titles(page) == ["First in one tab", "Second in the other"]

    other.get_by_role("radio", name="First in one tab").check()
    wait_for(lambda: words(other, 0, "user") == ["First in one tab", "And once more"], 30, "it is not the last state")
    send(other, "Said in the other tab")
    send(page, "Said here afterwards")
    assert words(page, 0, "user")[-2:] == ["Said in the other tab", "Said here afterwards"], "the tabs branched off"

    other.get_by_role("radio", name="Second in the other").check()
    wait_for(lambda: words(other, 0, "user") == ["Second in the other"], 30, "it was not opened")
    other.get_by_role("button", name="Delete").click()
    wait_for(lambda: titles(page) == ["First in one tab"], 30, "it is not deleted in the first tab")
    send(page, "The last word")
    shoot(page, "chat-two-tabs")
    page.reload()
    open_chat(page)
    wait_for(lambda: titles(page) == ["First in one tab"], 30, "what was deleted came back")
    wait_for(lambda: words(page, 0, "user")[-1:] == ["The last word"], 30, "the conversation is not open again")
