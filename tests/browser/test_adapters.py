"""The Adapters tab in a real browser with a Hub on loopback: look, rename, push, pull, delete and undo. Screenshots stay."""

import os

import pytest

from common.files import write_json
from common.paths import home
from tests.adapters.making import make_adapter, put, write_history
from tests.browser.driving import CHROMIUM, FLAGS, MARKS, SCREENSHOTS, free_port, new_page, start_app, wait_for
from tests.hub_server import HubServer

pytestmark = MARKS
HOSTILE = "<img src=x onerror=document.title='hacked'>"


@pytest.fixture
def hub(tiny_base, tmp_path):
    with HubServer({"tests/tiny-base": tiny_base}) as server:
        made = make_adapter(tmp_path / "made", tiny_base, base="tests/tiny-base")
        write_history(put("study-coach", made))
        put("older", made)
        write_json(home() / "adapters/local/older/studio.json", {"notes": HOSTILE})
        server.add("carol/shown", made)
        server.repositories["carol/shown"].files["README.md"] = (
            b"---\nlibrary_name: peft\nbase_model: tests/tiny-base\nbase_model_relation: adapter\n---\n"
        )
        server.repositories["carol/shown"].record()
        server.alice = server.add_user("alice")
        yield server


@pytest.fixture
def page(hub, isolated_home):
    """Chromium on the real app, in which alice is signed in; an error in the console fails the test."""
    from playwright.sync_api import sync_playwright

    port = free_port()
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
    environment |= {"HF_TOKEN": hub.alice, "HF_HUB_DISABLE_XET": "1"}
    with open(home() / "app.log", "ab") as log:
        process = start_app(environment, port, log)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = new_page(browser, viewport={"width": 1280, "height": 1000})
            page.goto(f"http://127.0.0.1:{port}")
            page.get_by_role("tab", name="Adapters").click()
            page.locator("dl.facts").first.wait_for()
            yield page
            browser.close()
    finally:
        process.kill()
    assert hub.alice not in (home() / "app.log").read_text(), "the token is in the app's log"


def shoot(page, name: str) -> None:
    """The page wide and narrow, light and dark."""
    SCREENSHOTS.mkdir(exist_ok=True)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 1000})
        for scheme in ("light", "dark"):
            page.evaluate(f"document.body.classList.toggle('dark', {str(scheme == 'dark').lower()})")
            file = SCREENSHOTS / f"adapters-{name}-{width}-{scheme}.png"
            page.screenshot(path=file, full_page=True, animations="disabled")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
                "the page scrolls sideways"
            )
    page.evaluate("document.body.classList.remove('dark')")
    page.set_viewport_size({"width": 1280, "height": 1000})


def test_the_library_is_shown_pushed_and_pulled(page, hub):
    page.locator("dl.facts").first.wait_for()
    shoot(page, "library")
    page.get_by_role("tab", name="Push to the Hub").click()
    page.get_by_text("Signed in to the Hub as alice").wait_for()
    page.get_by_role("button", name="See what would change").click()
    page.get_by_text("Creates alice/").wait_for()
    shoot(page, "push")
    page.get_by_role("button", name="Push", exact=True).click()
    page.get_by_text("Only you see it.").wait_for()
    name = next(name for name in hub.repositories if name.startswith("alice/"))
    assert hub.repositories[name].private and "README.md" in hub.repositories[name].files

    page.get_by_role("tab", name="Import and pull").click()
    page.get_by_label("Adapters of").fill("tests/tiny-base")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_text("carol/shown").last.click()
    page.get_by_role("button", name="Look", exact=True).click()
    page.get_by_text("carol/shown (public) is a LoRA of rank 4 for tests/tiny-base").wait_for()
    shoot(page, "pull")
    page.get_by_role("button", name="Pull", exact=True).click()
    page.get_by_text("Pulled as shown.").wait_for()
    assert (home() / "adapters/local/shown/adapter_model.safetensors").is_file()

    page.get_by_role("tab", name="Details").click()
    page.locator("dl.facts").get_by_text("pulled from carol/shown").wait_for()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Undo delete of shown").click()
    wait_for(lambda: (home() / "adapters/local/shown").is_dir(), 20, "it did not come back")
    assert page.title() != "hacked"


def test_what_does_not_work_is_said_and_hides_nothing(page, hub):
    hub.add("carol/evil", {"adapter_config.json": b"{}", f"{HOSTILE}.bin": b"x"})
    page.get_by_label("New name").fill("older")
    page.get_by_role("button", name="Rename").click()
    page.get_by_text("There is an adapter or a run 'older' already.").wait_for()
    cell = page.get_by_role("gridcell", name="older").or_(page.locator("td").filter(has_text="older")).first
    assert cell.evaluate(
        "cell => { const box = cell.getBoundingClientRect();"
        " return cell.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)); }"
    ), "something lies over the list"
    page.get_by_role("tab", name="Import and pull").click()
    page.get_by_label("Adapter on the Hub").fill("carol/evil")
    page.get_by_role("button", name="Look", exact=True).click()
    page.get_by_text(f"its weights are {HOSTILE}.bin, which can run code").wait_for()
    shoot(page, "error")
    assert page.title() != "hacked"


def test_a_zip_is_made_and_imported_and_markup_stays_text(page, tmp_path):
    page.get_by_role("tab", name="Export").click()
    page.get_by_role("button", name="Make a zip").click()
    link = page.locator("a[download]").first
    link.wait_for()
    shoot(page, "export")
    with page.expect_download() as download:
        link.click()
    archive = tmp_path / "brought.zip"
    download.value.save_as(archive)
    page.get_by_role("tab", name="Import and pull").click()
    page.locator("input[type=file]").last.set_input_files(str(archive))
    page.get_by_text("brought.zip").first.wait_for()
    page.get_by_role("button", name="Import", exact=True).click()
    page.get_by_text("Imported as brought.").wait_for()
    page.get_by_placeholder("Search names").fill("onerror")
    page.get_by_role("tab", name="Details").click()
    page.locator("dl.facts").get_by_text(HOSTILE).wait_for()
    assert page.title() != "hacked"
