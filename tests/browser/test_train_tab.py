"""The Train tab in a real browser: from a file with odd columns to a run that survives everything. Screenshots are looked at."""

import json
import os
import re
import signal

import pytest

from benchmarks.inputs import make_library
from common.files import read_json
from common.paths import runs_folder
from runs.fields import label_of
from runs.presets import PRESETS, QUICK
from runs.run import find_run, list_runs, read_state
from tests.browser.driving import (
    ENDLESS,
    MARKS,
    fill,
    set_field,
    settle,
    shoot,
    status,
    type_base,
    unfold,
    upload,
    wait_for,
)
from ui.long_lists import MAX_LISTED_ENTRIES

pytestmark = MARKS

SECONDS = 240  # for what a loaded machine does meanwhile: a process that starts, weights that are saved


@pytest.fixture
def odd_file(tmp_path):
    """Rows whose columns nobody can guess for sure, three of them twice."""
    rows = [{"frage": f"What is {n} plus {n}?", "antwort": f"It is {n + n}.", "id": n} for n in range(30)]
    file = tmp_path / "odd.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows + rows[:3]))
    return file


def prepare(page, base, file, steps: int) -> None:
    """The form filled in by hand: base, file with its columns, steps."""
    type_base(page, str(base))
    upload(page, file)
    use_columns(page)
    set_field(page, "max_steps", str(steps))


def use_columns(page) -> None:
    """Take the columns as they were guessed, once they are filled in."""
    guess_is_there(page)
    page.get_by_role("button", name="Use these columns").click()
    page.get_by_text("trained tokens").wait_for()


def guess_is_there(page) -> None:
    box = page.get_by_label("prompt", exact=True)
    wait_for(lambda: box.input_value() == "frage", SECONDS, "the guess is not filled in")
    settle(page)


def test_the_whole_way_of_a_file_to_a_run_that_survives(open_page, app, tiny_base, odd_file):
    page = open_page()
    type_base(page, str(tiny_base))
    upload(page, odd_file)
    page.get_by_text("Which column is what?", exact=True).wait_for()
    guess_is_there(page)
    shoot(page, "mapping", full_page=True)
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("Fix the data first").wait_for()
    assert not list_runs(), "a refused start leaves nothing"

    use_columns(page)
    page.get_by_text("3 rows say the same as an earlier one").wait_for()
    page.get_by_role("button", name="Use each once").click()
    facts = page.locator(".fact")
    wait_for(
        lambda: any(re.fullmatch(r"30\s+usable", fact) for fact in facts.all_inner_texts()),
        SECONDS,
        "the cure does nothing",
    )
    page.get_by_label("As tokens").check()
    trained = wait_for(lambda: page.locator(".sample .tok.on").all_inner_texts(), SECONDS, "no trained token is shown")
    assert "</s>" in trained, "the stop token is trained, and one sees it"
    set_field(page, "max_length", "128")
    set_field(page, "max_steps", str(ENDLESS))
    unfold(page, "Steps, memory, time")
    page.get_by_text(f"{ENDLESS:,} steps").wait_for()
    assert re.search(r"Memory: about \d+\.\d+ GiB of RAM .*free\): fits", page.locator(".plan").first.inner_text())
    page.get_by_text("How it is started").click()
    box = page.locator(".as-long-as-its-text .cm-scroller").first
    wait_for(lambda: 0 < box.bounding_box()["height"] < 80, 30, "a gap under the command")
    shoot(page, "tokens-and-plan", full_page=True)

    page.get_by_role("button", name="Start training").click()
    page.get_by_text(f"of {ENDLESS:,}").wait_for()
    page.reload()
    page.get_by_text(f"of {ENDLESS:,}").wait_for()
    app[1]()  # SIGKILL to the app, and a new one
    page = open_page(dark=True)
    page.get_by_text(f"of {ENDLESS:,}").wait_for()
    (run,) = list_runs()
    before = read_state(run).step
    wait_for(lambda: read_state(run).step > before, SECONDS, "the training does not go on")
    page.get_by_role("button", name="Stop and keep").click()
    wait_for(lambda: status(page).startswith("Stopped"), SECONDS, status(page))
    shoot(page, "stopped-dark", full_page=True)
    stopped = read_state(run)
    page.get_by_role("button", name="Resume").click()
    wait_for(lambda: read_state(run).step > stopped.step, SECONDS, "it does not resume")
    page.get_by_text(f"of {ENDLESS:,}").wait_for()
    page.get_by_role("button", name="Stop and keep").click()
    wait_for(lambda: status(page).startswith("Stopped"), SECONDS, status(page))
    assert read_state(run).adapter == run.id


def listed(page, title: str):
    """The check box of a run in the list of all runs."""
    return (
        page.locator("label:has(input[type=checkbox])").filter(has_text=re.compile(f"^\\s*{title} ·")).locator("input")
    )


def test_two_runs_are_queued_compared_renamed_deleted_and_brought_back(page, tiny_base, odd_file):
    prepare(page, tiny_base, odd_file, ENDLESS)
    set_field(page, "name", "first")
    set_field(page, "max_length", "128")
    unfold(page, "Steps, memory, time")
    page.get_by_text(f"{ENDLESS:,} steps").wait_for()
    page.get_by_role("button", name="Start training").click()
    page.get_by_text(f"of {ENDLESS:,}").wait_for()
    set_field(page, "name", "second")
    set_field(page, "max_steps", "3")
    page.locator(".plan").get_by_text(re.compile(r"\b3 steps\b")).first.wait_for()
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("Waiting, place 1 of 1").wait_for()
    shoot(page, "queued")
    find_run("first").request_stop()
    wait_for(lambda: status(page).startswith("Done"), SECONDS, "the next in the queue does not start")
    shoot(page, "done", full_page=True)
    page.get_by_text("All sample answers").click()
    page.get_by_text("before", exact=True).first.wait_for()

    page.get_by_role("tab", name="All runs").click()
    page.get_by_text("first · Stopped").wait_for()  # the list is fresh
    settle(page)
    for name in ("first", "second"):
        listed(page, name).check()
        settle(page)
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("Settings that differ").wait_for()
    assert "Max steps" in page.locator(".compare tr.differs").all_inner_texts()[0]
    shoot(page, "compare", full_page=True)
    listed(page, "first").uncheck()
    settle(page)
    page.get_by_placeholder("New name").fill("Better name")
    page.get_by_role("button", name="Rename").click()
    listed(page, "Better name").wait_for()
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Yes, delete", exact=True).click()
    page.get_by_role("button", name="Undo delete").wait_for()
    assert [run.id for run in list_runs()] == ["first"]
    page.get_by_role("button", name="Undo delete").click()
    listed(page, "Better name").wait_for()


def test_a_run_that_was_killed_by_the_system_says_so_and_offers_a_cure(page, tiny_base, odd_file):
    prepare(page, tiny_base, odd_file, ENDLESS)
    set_field(page, "max_length", "128")
    unfold(page, "Steps, memory, time")
    page.get_by_text(f"{ENDLESS:,} steps").wait_for()
    page.get_by_role("button", name="Start training").click()
    page.get_by_text(f"of {ENDLESS:,}").wait_for()
    (run,) = list_runs()
    os.kill(read_json(run.process_file)["trainer"]["pid"], signal.SIGKILL)
    wait_for(lambda: status(page).startswith("Interrupted"), SECONDS, status(page))
    page.get_by_role("button", name="Halve the batch size").wait_for()
    shoot(page, "killed")
    page.get_by_role("button", name="Discard").click()
    page.get_by_role("button", name="Yes, delete it").click()
    wait_for(lambda: not list_runs(), SECONDS, "it is still there")
    assert list((runs_folder() / ".trash").iterdir()), "nothing to undo"


def test_what_cannot_work_is_a_sentence_and_the_page_stays_alive(fresh_page):
    fresh_page.get_by_label("Upload a file").check()
    fresh_page.get_by_role("button", name="Start training").click()
    toast = fresh_page.locator(".toast-body")  # the form says the same
    toast.get_by_text("No file was uploaded").first.wait_for()
    shoot(fresh_page, "error")
    fresh_page.get_by_label("Example: a study coach").check()
    set_field(fresh_page, "learning_rate", "5")
    fresh_page.get_by_role("button", name="Start training").click()
    toast.get_by_text("5.0 is too high").first.wait_for()
    fresh_page.get_by_role("tab", name="Chat").click()
    fresh_page.get_by_role("button", name="Send").click()
    toast.get_by_text("There is no message").first.wait_for()


def test_the_page_works_on_a_phone(open_fresh_page):
    page = open_fresh_page(width=400, height=860)
    assert page.evaluate("document.documentElement.scrollWidth") <= 400, "one has to scroll sideways"
    shoot(page, "phone", full_page=True)


PASTED = "JSON lines, a table, or plain text"


def test_the_form_is_as_it_was_left_after_a_reload_and_a_reset_empties_it(fresh_page):
    set_field(fresh_page, "max_steps", "33")
    fresh_page.get_by_label("Paste", exact=True).check()
    fill(fresh_page, PASTED, '{"prompt": "a", "completion": "b"}')
    settle(fresh_page)
    fresh_page.reload()
    wait_for(
        lambda: '"completion"' in fresh_page.get_by_label(PASTED).input_value(), SECONDS, "what was pasted is gone"
    )
    unfold(fresh_page, "Advanced")
    unfold(fresh_page, "Training")
    steps = fresh_page.locator("#field-max_steps input")
    assert steps.input_value() == "33", "what was filled in is gone"
    fresh_page.get_by_role("button", name="Reset the form").click()
    wait_for(lambda: steps.input_value() == "0", SECONDS, "it is not reset")


def test_what_was_found_in_one_source_never_stands_under_another(fresh_page, tiny_base, odd_file):
    type_base(fresh_page, str(tiny_base))
    set_field(fresh_page, "max_length", "128")  # what the base reads
    upload(fresh_page, odd_file)
    use_columns(fresh_page)
    fresh_page.get_by_label("Paste", exact=True).check()
    fresh_page.get_by_text("Nothing was pasted").first.wait_for()
    assert not fresh_page.get_by_text("trained tokens").count() and not fresh_page.get_by_text("Use each once").count()
    fill(fresh_page, PASTED, "\n".join(["prompt,completion", *(f"question {n},answer {n}" for n in range(20))]))
    fresh_page.get_by_text("trained tokens").wait_for()
    assert not fresh_page.get_by_text("Needs fixing").count(), "the columns of the file are looked for in the paste"


def test_a_wrong_value_is_said_at_its_field_and_beside_start_until_it_is_right(fresh_page):
    set_field(fresh_page, "learning_rate", "5")
    field = fresh_page.locator(".wrong-field#field-learning_rate")
    field.get_by_text("too high").wait_for()
    fresh_page.locator("button.label-wrap.open").filter(has_text="Advanced").click()
    fresh_page.locator(".start-words").get_by_role("link", name=label_of("learning_rate")).click()
    wait_for(
        lambda: fresh_page.evaluate("document.activeElement.closest('#field-learning_rate') !== null"), 10, "elsewhere"
    )
    set_field(fresh_page, "learning_rate", "0.0005")
    field.wait_for(state="detached")


def test_a_quick_try_starts_with_ten_presses_of_keys(page):
    """The keys as a person presses them: Tab to the presets, an arrow, Tab to Start, Enter."""
    focused = "(one => one === document.body ? '' : one.value || one.innerText)(document.activeElement)"
    keys = 0
    for key, goal in (("Tab", "Good default"), ("ArrowLeft", "Quick try"), ("Tab", "Start training")):
        while goal not in page.evaluate(focused):
            page.keyboard.press(key)
            keys += 1
            assert keys < 10, f"{goal} is too far away"
    page.keyboard.press("Enter")
    wait_for(list_runs, SECONDS, "nothing has started")
    assert list_runs()[0].config().max_steps == PRESETS[QUICK]["max_steps"]


def pick_by_typing(page, label: str, words: str) -> None:
    """Pick what is not among the newest: it comes from the server while one types."""
    box = page.get_by_label(label, exact=True).first
    box.fill("")
    box.press_sequentially(words)
    exactly = re.compile(rf"{re.escape(words)}(?!\d)")  # not run-39, which is listed until the server has answered
    page.get_by_role("option").filter(has_text=exactly).first.click()


def test_of_many_runs_and_adapters_an_old_one_is_found_by_typing(isolated_home, open_page):
    make_library(MAX_LISTED_ENTRIES + 20)
    page = open_page()
    page.get_by_text(
        f"Showing the newest {MAX_LISTED_ENTRIES} of {MAX_LISTED_ENTRIES + 20}. Type to find the others."
    ).first.wait_for()
    pick_by_typing(page, "Run", "Attempt 3 ·")
    page.locator(".run-title").filter(has_text=re.compile("^Attempt 3$")).wait_for()
    page.get_by_role("tab", name="All runs").click()
    page.get_by_text(f"Showing the newest {MAX_LISTED_ENTRIES} of {MAX_LISTED_ENTRIES + 20}. Search").wait_for()
    assert not listed(page, "Attempt 3").count()
    page.get_by_label("Search", exact=True).first.fill("attempt 3")
    listed(page, "Attempt 3").check()
    shoot(page, "many-runs")
    page.get_by_role("tab", name="Chat").click()
    settle(page)
    pick_by_typing(page, "Model", "run-3")
    wait_for(
        lambda: page.get_by_label("Model", exact=True).first.input_value() == "Adapter: run-3", SECONDS, "another one"
    )
    shoot(page, "many-models")
