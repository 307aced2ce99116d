"""The real app on a free port, and Chromium on it."""

import os
from contextlib import suppress

import psutil
import pytest

from common.paths import home
from tests.browser.driving import CHROMIUM, FLAGS, free_port, new_page, start_app


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
def shared_app(tmp_path_factory):
    """The address of one app, with an empty home, for all tests of a file that look at a fresh page and leave nothing behind."""
    folder, port = tmp_path_factory.mktemp("shared"), free_port()
    (folder / "home").mkdir()
    environment = {**os.environ, "STUDIO_HOME": str(folder / "home"), "HF_HOME": str(folder / "hf")}
    with open(folder / "app.log", "ab") as log:
        process = start_app(environment, port, log)
    yield f"http://127.0.0.1:{port}"
    process.kill()


@pytest.fixture
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def opened(browser, address: str, width: int = 1280, height: int = 1000, dark: bool = False, language: str = "en"):
    """A page of a browser of its own, once Start is there."""
    page = new_page(browser, viewport={"width": width, "height": height})
    page.goto(f"{address}/?lang={language}{'&__theme=dark' if dark else ''}")
    page.locator("#start-button").wait_for()
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
