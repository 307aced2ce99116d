"""A page that many tests call over HTTP, as on a laptop and as on a Space."""

import gradio as gr
import pytest
from fastapi.testclient import TestClient

from ui.guard import guarded
from ui.owner import BROWSER_COOKIE
from ui.page import build
from ui.theme import theme

HER_ADDRESS, HIS_ADDRESS = "93.184.215.14", "151.101.1.69"


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def built(cache):
    """The page of a laptop, which takes seconds to build: each test makes an app of its own with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(cache))
        page = build()
        page.max_file_size, page.theme_css, page.theme = None, "", theme()  # as launch() sets them
        page.config = page.get_config_file()
        return page


@pytest.fixture
def page(built, cache, monkeypatch):
    """That page, whose uploads go into `cache`."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(cache))
    return built


@pytest.fixture
def laptop(page):
    app = gr.routes.App.create_app(page.queue(), app_kwargs=guarded("127.0.0.1"))
    return TestClient(app, base_url="http://127.0.0.1:7860", raise_server_exceptions=False)


@pytest.fixture
def space(page, monkeypatch):
    """A Space's app: `space(address)` is a browser at that address that has opened the page."""
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    app = gr.routes.App.create_app(page.queue(api_open=True), app_kwargs=guarded("0.0.0.0"))

    def browser(address: str = HER_ADDRESS, has_cookie: bool = True) -> TestClient:
        headers = {"x-forwarded-for": f"1.2.3.4, {address}"}
        client = TestClient(app, base_url="https://space.test", headers=headers, raise_server_exceptions=False)
        if has_cookie:
            assert client.get("/config").status_code == 200 and BROWSER_COOKIE in client.cookies
        return client

    return browser


def handler(client: TestClient, name: str):
    return next(one for one in client.app.get_blocks().fns.values() if one.api_name == name)
