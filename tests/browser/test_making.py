"""Made rows in a real browser: from the source to the training, by keys alone, usable for everybody."""

from data.feedback import read_rows
from tests.browser.driving import MARKS, settle
from tests.browser.test_axe import findings
from tests.ui.made_sets import put_made

pytestmark = MARKS


def test_a_person_goes_through_made_rows_by_keys_and_trains_on_what_they_accept(page):
    put_made(rows=5)
    page.get_by_label("Make from documents").check()
    row = page.locator(".made-row")
    row.get_by_text("Row 1 of 5", exact=True).wait_for()
    assert findings(page) == []
    assert page.locator(".presets input:checked").count() == 1, "another choice of the form is what it was"
    row.click()
    for key, place in (("a", 2), ("j", 3), ("k", 2), ("r", 3), ("u", 2), ("r", 3)):
        page.keyboard.press(key)
        row.locator("b", has_text=f"Row {place} of 5").wait_for()
        settle(page)
    page.keyboard.press("e")
    row.locator("textarea").last.wait_for()
    assert findings(page) == []
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("Answered otherwise: a j k.")
    page.keyboard.press("Control+Enter")
    row.locator("b", has_text="Row 4 of 5").wait_for()
    page.get_by_role("button", name="Accept the rest (2)").click()
    page.get_by_text("4 accepted, 1 rejected, 0 not looked at.").wait_for()
    page.get_by_role("button", name="Use the accepted rows").click()
    page.locator("#field-data_kind input[value=chat]:checked").wait_for()
    answers = [kept["messages"][-1]["content"] for kept in read_rows("guide")]
    assert answers == ["Answer 0.", "Answered otherwise: a j k.", "Answer 3.", "Answer 4."]
