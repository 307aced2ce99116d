"""The page is usable for everybody: axe-core finds nothing serious or critical on any tab, in any state.

Contrast, names and roles of everything that is shown: light and dark, English and Korean, wide and phone.
"""

import json

import pytest

from benchmarks.inputs import make_library
from tests.browser.driving import (
    ENDLESS,
    MARKS,
    set_field,
    settle,
    status,
    type_base,
    upload,
    wait_for,
)
from tests.browser.test_chat import set_longest_answer

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
    tab = page.get_by_role("tablist").first.get_by_role("tab").nth(place)
    tab.click()
    wait_for(lambda: tab.get_attribute("aria-selected") == "true", 30, "the tab is not opened")


@pytest.mark.parametrize(("language", "dark", "width"), [("en", False, 1280), ("ko", True, 1280), ("ko", False, 390)])
def test_every_tab_of_a_new_page(open_fresh_page, language, dark, width):
    page = open_fresh_page(width=width, dark=dark, language=language)
    assert page.locator("html").get_attribute("lang") == language
    for place in range(5):
        open_tab(page, place)
        assert findings(page) == []


def test_a_report_a_run_its_result_and_an_answer(isolated_home, open_page, tiny_base, tmp_path):
    make_library(1)
    page = open_page()
    wait_for(lambda: status(page).startswith("Done"), 60, "the finished run is not shown")
    assert findings(page) == []

    rows = [{"prompt": f"Say {word}", "completion": f"Aye, {word}!"} for word in ("one", "two", "six", "ten", "red")]
    data = tmp_path / "aye.jsonl"
    data.write_text("\n".join([*map(json.dumps, rows * 8), "not a row"]))
    set_field(page, "name", "Aye aye")
    type_base(page, str(tiny_base))
    set_field(page, "max_length", "128")  # what the base reads
    upload(page, data)
    cure = page.get_by_role("button", name="Leave these out")
    cure.first.wait_for()
    assert findings(page) == []
    cure.first.click()
    page.locator(".finding.stop").first.wait_for(state="detached")
    set_field(page, "max_steps", str(ENDLESS))
    assert findings(page) == []
    page.get_by_role("button", name="Start training").click()
    wait_for(lambda: f"of {ENDLESS:,}" in status(page), 300, "no step")
    assert findings(page) == []
    page.get_by_role("button", name="Stop and keep").click()
    page.locator(".toast-title-row").first.wait_for()
    assert findings(page) == []
    wait_for(lambda: status(page).startswith("Stopped"), 120, "the training does not end")
    assert findings(page) == []
    page.get_by_role("button", name="Chat", exact=True).click()
    model = page.get_by_label("Model", exact=True).first
    wait_for(lambda: model.input_value() == "Adapter: Aye aye", 60, "the adapter is not picked")
    settle(page)
    set_longest_answer(page, 16)
    message = page.get_by_placeholder("Your message").first
    message.fill("Say blue")
    message.press("Enter")
    wait_for(lambda: page.locator("[data-testid=bot]").count(), 120, "no answer")
    assert findings(page) == []
    open_tab(page, 4)
    page.locator("[data-adapter]").filter(has_text="Aye aye").click()
    page.locator(".adapter-title", has_text="Aye aye").wait_for()
    assert findings(page) == []
