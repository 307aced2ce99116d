"""The Adapters tab in a real browser with a Hub on loopback: preview, rename, push, pull, delete and undo. Screenshots stay."""

import pytest

from common.files import write_json
from common.paths import home
from tests.adapters.making import make_adapter, put, write_history
from tests.browser.driving import MARKS, SCREENSHOTS, settle, unfold, wait_for
from tests.hub_server import HubServer

pytestmark = MARKS
HOSTILE = "<img src=x onerror=document.title='hacked'>"


@pytest.fixture(scope="module")
def hub(tiny_base, tmp_path_factory):
    """A Hub with an adapter of carol's; `made` is another one."""
    with HubServer({"tests/tiny-base": tiny_base}) as server:
        server.made = make_adapter(tmp_path_factory.mktemp("made") / "made", tiny_base, base="tests/tiny-base")
        server.add("carol/shown", server.made)
        server.repositories["carol/shown"].files["README.md"] = (
            b"---\nlibrary_name: peft\nbase_model: tests/tiny-base\nbase_model_relation: adapter\n---\n"
        )
        server.repositories["carol/shown"].record()
        server.alice = server.add_user("alice")
        yield server


@pytest.fixture(scope="module")
def shared_environment(hub) -> dict[str, str]:
    """Alice is signed in."""
    signed_in = {"HF_TOKEN": hub.alice, "HF_HUB_DISABLE_XET": "1"}
    return {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", **signed_in}


@pytest.fixture
def page(hub, in_shared_home, open_fresh_page):
    """The library with two adapters; each test adds others than the next one looks at."""
    if not (home() / "adapters/local/older").exists():
        write_history(put("study-coach", hub.made))
        put("older", hub.made)
        write_json(home() / "adapters/local/older/studio.json", {"notes": HOSTILE})
    page = open_fresh_page()
    page.get_by_role("tab", name="Adapters").click()
    page.locator("[data-adapter]").first.wait_for()
    settle(page)
    yield page
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


def pick(page, name: str) -> None:
    """Click the card of an adapter, until its details are there, all of them."""
    page.locator(f"[data-adapter='{name}']").click()
    page.locator(".adapter-title").get_by_text(name, exact=True).wait_for()
    settle(page)


def test_the_library_is_shown_pushed_and_pulled(page, hub):
    pick(page, "study-coach")
    page.get_by_text("What it learned").first.wait_for()
    shoot(page, "library")
    page.get_by_role("button", name="Share", exact=True).click()
    page.get_by_text("Signed in to Hugging Face as alice").wait_for()
    settle(page)  # a change of its fields, which are drawn now, would take the preview back
    page.get_by_role("button", name="Preview the push").click()
    page.get_by_text("Creates alice/").wait_for()
    shoot(page, "push")
    page.get_by_role("button", name="Push", exact=True).click()
    page.get_by_text("Only you can see it.").wait_for()
    name = next(name for name in hub.repositories if name.startswith("alice/"))
    assert hub.repositories[name].private and "README.md" in hub.repositories[name].files

    unfold(page, "Add an adapter")
    page.get_by_label("Base model", exact=True).last.fill("tests/tiny-base")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Search", exact=True).click()
    page.get_by_text("carol/shown").last.wait_for()
    settle(page)
    page.get_by_text("carol/shown").last.click()
    named = page.get_by_label("Adapter on the Hub")
    wait_for(lambda: named.input_value() == "carol/shown", 20, "a click on what was found names nothing")
    page.get_by_role("button", name="Preview", exact=True).click()
    page.get_by_text("carol/shown (public) is a LoRA of rank 4 for tests/tiny-base").wait_for()
    shoot(page, "pull")
    page.get_by_role("button", name="Pull", exact=True).click()
    page.locator(".adapter-title").get_by_text("shown", exact=True).wait_for()
    assert (home() / "adapters/local/shown/adapter_model.safetensors").is_file()

    page.get_by_role("button", name="Delete", exact=True).click()
    yes = page.get_by_role("button", name="Yes, delete it", exact=True)
    yes.wait_for()
    assert (home() / "adapters/local/shown").is_dir(), "it is deleted before the question is answered"
    yes.click()
    page.locator(".toast").get_by_text("Deleted shown.").wait_for()
    assert not (home() / "adapters/local/shown").exists() and not page.locator("[data-adapter='shown']").count()
    page.locator(".toast").get_by_role("button", name="Undo").click()
    page.locator("[data-adapter='shown']").wait_for()  # its card: the details of before may be there still
    page.locator(".adapter-title").get_by_text("shown", exact=True).wait_for()
    assert (home() / "adapters/local/shown").is_dir(), "it did not come back"
    assert page.title() != "hacked"


def test_what_does_not_work_is_said_and_hides_nothing(page, hub):
    hub.add("carol/evil", {"adapter_config.json": b"{}", f"{HOSTILE}.bin": b"x"})
    pick(page, "study-coach")
    unfold(page, "Name and notes")
    page.get_by_label("Name", exact=True).last.fill("older")
    page.get_by_role("button", name="Rename").last.click()
    page.get_by_text("There is already an adapter named").first.wait_for()
    card = page.locator("[data-adapter='older']")
    card.scroll_into_view_if_needed()
    assert card.evaluate(
        "card => { const box = card.getBoundingClientRect();"
        " return card.contains(document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)); }"
    ), "something lies over the list"
    unfold(page, "Add an adapter")
    page.get_by_label("Adapter on the Hub").fill("carol/evil")
    page.get_by_role("button", name="Preview", exact=True).click()
    page.get_by_text(f"{HOSTILE}.bin, which can run code").first.wait_for()
    shoot(page, "error")
    assert page.title() != "hacked"


def test_a_zip_is_made_and_imported_and_markup_stays_text(page, tmp_path):
    pick(page, "older")
    page.get_by_role("button", name="Export", exact=True).click()
    page.get_by_role("button", name="Make a zip").click()
    link = page.locator("a[download]").first
    link.wait_for()
    shoot(page, "export")
    with page.expect_download() as download:
        link.click()
    archive = tmp_path / "brought.zip"
    download.value.save_as(archive)
    unfold(page, "Add an adapter")
    page.locator("input[type=file][accept='.zip']").set_input_files(str(archive))
    page.get_by_text("brought.zip").first.wait_for()
    page.get_by_role("button", name="Import", exact=True).click()
    page.locator(".adapter-title").get_by_text("brought", exact=True).wait_for()
    page.get_by_placeholder("Search adapters").fill("onerror")
    page.locator("[data-adapter='brought']").wait_for(state="detached")
    pick(page, "older")
    unfold(page, "Name and notes")
    wait_for(
        lambda: page.get_by_label("Private notes").input_value() == HOSTILE, 20, "the note is not as it was written"
    )
    assert page.title() != "hacked"
