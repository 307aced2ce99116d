"""The real app on a free port, and Chromium on it."""

import os
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from common.paths import home
from tests.browser.driving import CHROMIUM, FLAGS, free_port, new_page, start_app
from tests.chat.openai_server import openai_server


@pytest.fixture
def app(isolated_home):
    """The real app on a free port, with this test's home: (address, function that kills it and starts it again)."""
    port = free_port()
    processes = []

    def launch() -> None:
        with open(home() / "app.log", "ab") as log:
            processes.append(start_app(dict(os.environ), port, log))

    launch()
    yield f"http://127.0.0.1:{port}", lambda: (processes[-1].kill(), processes[-1].wait(), launch())
    processes[-1].kill()
    for process in psutil.process_iter(["cmdline"]):  # a training goes on without the app, and would slow the next test
        if any(str(isolated_home) in word for word in process.info["cmdline"] or []):
            with suppress(psutil.NoSuchProcess):
                process.kill()


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory) -> Path:
    """The home of the shared app, empty; a file of tests puts in what its tests need."""
    (folder := tmp_path_factory.mktemp("shared") / "home").mkdir()
    return folder


@pytest.fixture(scope="module")
def shared_environment() -> dict[str, str]:
    """More variables of the shared app; a file of tests has its own."""
    return {}


@pytest.fixture(scope="module")
def shared_app(shared_home, shared_environment):
    """The address of one app for all tests of a file that leave behind nothing which the others would see."""
    port, given = free_port(), {"STUDIO_HOME": str(shared_home), "HF_HOME": str(shared_home.parent / "hf")}
    with open(shared_home / "app.log", "ab") as log:
        process = start_app({**os.environ, **given, **shared_environment}, port, log)
    yield f"http://127.0.0.1:{port}"
    process.kill()


@pytest.fixture
def in_shared_home(shared_home, monkeypatch) -> None:
    """This test reads and writes the files of the shared app."""
    monkeypatch.setenv("STUDIO_HOME", str(shared_home))


@pytest.fixture(scope="module")
def shared_server():
    """A chat server on loopback, for the tests of a file."""
    with openai_server() as (server, url):
        server.url = url
        yield server


@pytest.fixture(scope="module")
def chromium():
    """One Chromium for all tests of a file."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def browser(chromium):
    """Chromium, whose visitors all leave after the test."""
    yield chromium
    for visitor in chromium.contexts:
        visitor.close()


def opened(browser, address: str, width: int = 1280, height: int = 1000, dark: bool = False, language: str = "en"):
    """A page of a visitor of its own, once its form is filled in and its plan is made."""
    page = new_page(browser, viewport={"width": width, "height": height})
    page.goto(f"{address}/?lang={language}{'&__theme=dark' if dark else ''}")
    page.locator(".start-words a").first.wait_for()
    return page


@pytest.fixture
def open_page(app, browser):
    """Opens pages of Chromium on the app: `open_page(width=, height=, dark=, language=)`."""
    return lambda **options: opened(browser, app[0], **options)


@pytest.fixture
def open_fresh_page(shared_app, browser):
    """Opens pages like `open_page`, on the app that the tests of this file share."""
    return lambda **options: opened(browser, shared_app, **options)


@pytest.fixture
def fresh_page(open_fresh_page):
    return open_fresh_page()


@pytest.fixture
def page(open_page):
    return open_page()
