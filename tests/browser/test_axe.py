"""The page is usable for everybody: axe-core finds nothing serious or critical on any tab, in any state.

Contrast, names and roles of everything that is shown: light and dark, English and Korean, wide and phone.
"""

import json

import pytest

from tests.browser.driving import MARKS, choose, set_field, settle, status, unfold, upload, wait_for

pytestmark = [*MARKS, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
GRAVE = ("serious", "critical")


def findings(page) -> list[str]:
    """What axe-core says of the page as it stands: rule, place and reason of each grave finding."""
    from axe_playwright_python.sync_playwright import Axe

    settle(page)
    found = [one for one in Axe().run(page).response["violations"] if one["impact"] in GRAVE]
    return [
        f"{one['id']}: {node['target']} {node['html'][:120]} {node.get('failureSummary', '')}"
        for one in found
        for node in one["nodes"]
    ]


def open_tab(page, place: int) -> None:
    """Open a tab by its place: its name is in the page's language."""
    page.get_by_role("tablist").first.get_by_role("tab").nth(place).click()


@pytest.mark.parametrize(("language", "dark", "width"), [("en", False, 1280), ("ko", True, 1280), ("ko", False, 390)])
def test_every_tab_of_a_new_page(open_fresh_page, language, dark, width):
    page = open_fresh_page(width=width, dark=dark, language=language)
    assert page.locator("html").get_attribute("lang") == language
    for place in range(5):
        open_tab(page, place)
        assert findings(page) == []


def test_a_report_a_run_its_result_and_an_answer(page, app, embedded_base, tmp_path):
    rows = [{"prompt": f"Say {word}", "completion": f"Aye, {word}!"} for word in ("one", "two", "six", "ten", "red")]
    data = tmp_path / "aye.jsonl"
    data.write_text("\n".join([*map(json.dumps, rows * 8), "not a row"]))
    set_field(page, "name", "Aye aye")
    choose(page, "Base model", "SmolLM2")
    upload(page, data)
    wait_for(lambda: page.locator(".finding").count(), 60, "no finding")
    assert findings(page) == []
    page.get_by_role("button", name="Leave these out").first.click()
    page.locator(".finding.stop").first.wait_for(state="detached")
    set_field(page, "max_steps", "8")
    unfold(page, "Advanced")
    assert findings(page) == []
    page.get_by_role("button", name="Start training").click()
    wait_for(lambda: "of 8" in status(page), 300, "no step")
    assert findings(page) == []
    wait_for(lambda: status(page).startswith("Done"), 120, "the training does not end")
    assert findings(page) == []
    page.get_by_role("button", name="Chat", exact=True).click()
    message = page.get_by_placeholder("Your message").first
    message.fill("Say blue")
    message.press("Enter")
    wait_for(lambda: page.locator("[data-testid=bot]").count(), 120, "no answer")
    assert findings(page) == []
    open_tab(page, 4)
    page.locator(".adapter-title", has_text="Aye aye").wait_for()
    assert findings(page) == []
