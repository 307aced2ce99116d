"""Two tabs of one person: neither overwrites what the other said, nor brings back what it deleted."""

import json

import pytest

from tests.browser.driving import MARKS, choose, new_page, prepare, settle, shoot, unfold, wait_for
from tests.browser.test_chat import open_chat, send, set_longest_answer, wait_idle, words
from ui.chat.store import KEY, MAX_DELETED_RECORDS, MERGE, READ, VERSION

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
def merge(browser):
    """The page's own function, run by Chromium: merge(ours, theirs)."""
    page = new_page(browser)

    def run(ours, theirs):
        return page.evaluate(f"([ours, theirs]) => ({MERGE})(ours, theirs)", [ours, theirs])

    run.page = page
    return run


def test_of_two_states_the_later_one_stays_and_a_deletion_is_a_state(merge):
    for ours, theirs, merged in CASES:
        assert merge(ours, theirs) == merged, f"{ours} and {theirs}"
    gone = [one(str(number), number, deleted=True) for number in range(MAX_DELETED_RECORDS + 9)]
    merged = merge(gone, [B])
    assert len(merged) == MAX_DELETED_RECORDS + 1 and merged[0] == gone[-1] and B in merged, (
        "the deleted are not bounded"
    )


@pytest.fixture(scope="module")
def shared_environment(shared_server) -> dict[str, str]:
    return {"CHAT_SERVER_URL": shared_server.url, "HF_HUB_OFFLINE": "0"}


@pytest.fixture
def server(shared_server):
    shared_server.times, shared_server.pause = 1, 0.0
    return shared_server


def open_short(page, model: str | None = None) -> None:
    """The Chat tab with answers of 50 tokens at most."""
    open_chat(page)
    if model:
        choose(page, "Model", model)
    set_longest_answer(page, 50)


def titles(page, last_used_first: bool = False) -> list[str]:
    found = page.locator(".chat-titles").locator("label").all_inner_texts()
    return found if last_used_first else sorted(found)


def lies(what: dict) -> str:
    """A script that lays these texts into the browser before the page is there."""
    sets = "".join(f"localStorage.setItem({json.dumps(key)}, {json.dumps(text)});" for key, text in what.items())
    return f"if (!localStorage.getItem('laid')) {{ localStorage.setItem('laid', 1); {sets} }}"


def test_whatever_lies_in_the_browser_is_read_or_kept_as_it_is(merge):
    page, ours = merge.page, {"version": VERSION, "conversations": [OLD]}

    def read(**texts) -> list:
        storage = (
            f"Object.defineProperty({json.dumps(texts)}, 'getItem', {{value(key) {{ return this[key] ?? null }}}})"
        )
        return page.evaluate(f"() => ({READ})({storage})")

    assert read() == []
    assert read(**{KEY: json.dumps(ours)}) == [OLD]
    assert read(**{KEY: json.dumps(ours), f"{KEY}:b": json.dumps(B)}) == [OLD, B], "an answer on its way is lost"
    for text in ('{"version": 3, "talks": []}', '{"version": 1, "conv', "[]", "null"):
        (found,) = read(**{KEY: text})
        assert found["unread"] == text and found["id"].startswith("unread-")
    (found,) = read(**{KEY: json.dumps({**ours, "conversations": [{"title": "no id"}]})})
    assert json.loads(found["unread"]) == {"title": "no id"}


def test_a_list_of_another_version_is_kept_and_offered_as_a_file(shared_app, browser):
    page, tomorrow = new_page(browser), '{"version": 3, "talks": ["from tomorrow"]}'
    page.add_init_script(lies({KEY: tomorrow}))
    page.goto(shared_app)
    page.get_by_role("tab", name="Chat").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Save 1 unreadable chat").click()
    (found,) = json.loads(download.value.path().read_text())
    assert found["unread"] == tomorrow


def test_a_reload_in_mid_answer_loses_no_word(server, fresh_page):
    page = fresh_page
    server.times, server.pause = 500, 0.05
    open_short(page, "Server: tiny")
    page.get_by_label("Your message").fill("Do not lose me")
    page.get_by_role("button", name="Send").click()
    draft = (
        f"Object.keys(localStorage).some((key) => key.startsWith('{KEY}:') && localStorage[key].includes('tiny heard'))"
    )
    wait_for(lambda: page.evaluate(draft), 60, "the answer on its way is not kept")
    page.reload()
    server.times = 1
    open_short(page)
    wait_for(lambda: words(page, 0, "user") == ["Do not lose me"], 60, "the question is lost")
    assert "tiny heard" in words(page, 0)[0] and "Stopped." in words(page, 0)[0]
    page.get_by_label("Your message").fill("And now?")
    page.get_by_role("button", name="Send").click()
    wait_for(lambda: ": And now?" in words(page, 0)[-1], 60, "the conversation cannot go on")
    wait_idle(page)
    server.times = 500
    page.get_by_label("Your message").fill("And on")
    page.get_by_label("Your message").press("Enter")
    wait_for(lambda: ": And on" in words(page, 0)[-1], 60, "no words come")
    page.keyboard.press("Escape")
    wait_for(lambda: "Stopped." in words(page, 0)[-1], 60, "Esc does not stop it")


def test_two_tabs_keep_each_others_conversations_and_deletions(server, fresh_page):
    page = fresh_page
    open_short(page, "Server: tiny")
    other = prepare(page.context.new_page())
    other.goto(page.url)
    open_short(other, "Server: tiny")
    send(page, "First in one tab")
    wait_for(lambda: titles(other) == ["First in one tab"], 30, "the other tab does not hear of it")
    send(other, "Second in the other")
    wait_for(lambda: titles(page) == titles(other) == ["First in one tab", "Second in the other"], 30, "one is lost")
    send(page, "And once more")
    assert titles(page) == ["First in one tab", "Second in the other"]

    # the last used stands first: then the other tab has heard of it
    wait_for(
        lambda: titles(other, last_used_first=True)[0] == "First in one tab", 30, "the other tab does not hear of it"
    )
    other.get_by_role("radio", name="First in one tab").click()
    wait_for(lambda: words(other, 0, "user") == ["First in one tab", "And once more"], 30, "it is not the last state")
    send(other, "Said in the other tab")
    heard = f"localStorage['{KEY}'].includes('Said in the other tab')"
    wait_for(lambda: page.evaluate(heard), 30, "the first tab does not hear of it")
    settle(page)
    send(page, "Said here afterwards")
    assert words(page, 0, "user")[-2:] == ["Said in the other tab", "Said here afterwards"], "the tabs branched off"

    other.get_by_role("radio", name="Second in the other").click()
    wait_for(lambda: words(other, 0, "user") == ["Second in the other"], 30, "it was not opened")
    settle(other)
    unfold(other, "This chat")
    other.get_by_role("button", name="Delete", exact=True).click()
    wait_for(lambda: titles(page) == ["First in one tab"], 30, "it is not deleted in the first tab")
    send(page, "The last word")
    shoot(page, "chat-two-tabs")
    page.reload()
    open_short(page)
    wait_for(lambda: titles(page) == ["First in one tab"], 30, "what was deleted came back")
    wait_for(lambda: words(page, 0, "user")[-1:] == ["The last word"], 30, "the conversation is not open again")
