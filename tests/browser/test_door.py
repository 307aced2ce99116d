"""The way in to a shared app, in Chromium: the page with the box, the key in it, and the printed link."""

import os

import psutil
import pytest

from common.paths import home
from tests import fake_tunnel
from tests.browser.driving import MARKS, free_port, new_page, start_app
from ui.sharing import Who, link, new_key

pytestmark = MARKS


@pytest.fixture
def door(isolated_home):
    port, tunnel = free_port(), str(free_port())
    environment = {**os.environ, **fake_tunnel.install(isolated_home.parent / "hf"), "FAKE_TUNNEL_PORT": tunnel}
    with open(home() / "app.log", "wb") as log:
        process = start_app({**environment, "STUDIO_SHARE": "1"}, port, log)
    yield f"http://127.0.0.1:{port}"
    for one in [*psutil.Process(process.pid).children(recursive=True), process]:
        one.kill()


def test_a_person_comes_in_by_the_box_or_by_the_link(door, browser, tmp_path):
    page = new_page(browser, viewport={"width": 375, "height": 700}, locale="ko-KR", color_scheme="dark")
    page.goto(door)
    assert page.locator("label").inner_text().startswith("이 앱은")
    page.screenshot(path=tmp_path / "ko.png")
    page.goto(f"{door}/?lang=en")
    page.screenshot(path=tmp_path / "en.png")
    page.get_by_role("textbox").fill("wrong")
    page.get_by_role("button", name="Open").click()
    page.get_by_text("This key opens nothing").wait_for()
    page.get_by_role("textbox").fill(new_key(Who.OWNER))
    page.get_by_role("button").click()
    page.locator("#start-button").wait_for()

    other = new_page(browser)
    other.goto(link(door, new_key(Who.GUEST)))
    other.locator("#start-button").wait_for()
    assert "key" not in other.url and other.evaluate("document.cookie") == "", "no script of a page sees the cookie"
