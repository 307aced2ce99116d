"""The real app on a free port, and Chromium on it."""

import os

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


@pytest.fixture
def open_page(app):
    """Opens pages of Chromium on the app: `open_page(width=, height=, dark=)`; each is a browser of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

        def opened(width: int = 1280, height: int = 1000, dark: bool = False):
            page = new_page(browser, viewport={"width": width, "height": height})
            page.goto(app[0] + ("/?__theme=dark" if dark else ""))
            page.get_by_role("button", name="Start training").wait_for()
            return page

        yield opened
        browser.close()


@pytest.fixture
def page(open_page):
    return open_page()
