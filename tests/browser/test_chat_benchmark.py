"""The benchmark of the page reads a real page: the rival's, with a tiny model."""

import sys
from contextlib import ExitStack

from benchmarks import chat_page
from models.tokenizer import load_tokenizer
from tests.browser.driving import MARKS

pytestmark = MARKS


def test_the_words_of_an_answer_are_timed_as_they_appear(isolated_home, tiny_base):
    from playwright.sync_api import sync_playwright

    with ExitStack() as stack:
        port = chat_page.free_port()
        command = [sys.executable, "-m", "benchmarks.chat_interface", str(tiny_base), str(port), "60"]
        stack.enter_context(chat_page.served(command, port, stack))
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=chat_page.CHROMIUM, args=chat_page.FLAGS
        )
        stack.callback(browser.close)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}")
        chat = chat_page.ChatPage(page, load_tokenizer(tiny_base), "textarea")
        answers = [chat.ask(words) for words in ("Write a long story.", "Write another one.")]
    for speed, first in answers:
        assert 1 < speed < 5000 and 0 < first < 60


def test_without_a_browser_there_are_no_rows(monkeypatch, capsys):
    monkeypatch.setattr(chat_page, "CHROMIUM", None)
    assert chat_page.rows(True) == [] and "not measured" in capsys.readouterr().err
