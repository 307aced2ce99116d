"""The whole line in a real browser, as a person uses it: train, watch, reload, talk. Screenshots stay in `screenshots/`."""

import json
import re

from tests.browser.driving import MARKS, choose, set_field, settle, shoot, status, upload, wait_for
from tests.browser.test_chat import send, set_longest_answer, words

pytestmark = MARKS


def test_a_person_trains_reloads_and_talks(page, app, embedded_base, tmp_path):
    rows = [{"prompt": f"Say {word}", "completion": f"Aye, {word}!"} for word in ("one", "two", "six", "ten", "red")]
    data = tmp_path / "aye.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in rows * 8))

    set_field(page, "name", "Aye aye")
    choose(page, "Base model", "SmolLM2")
    upload(page, data)
    set_field(page, "max_steps", "30")
    set_field(page, "learning_rate", "0.001")
    page.get_by_role("button", name="Start training").click()

    wait_for(lambda: step(page) >= 3, 300, "no third step")
    first_line = wait_for(lambda: training_line(page), 30, "no loss is drawn")
    wait_for(lambda: len(training_line(page)) > len(first_line), 60, "the loss does not move")
    shoot(page, "training")
    page.reload()
    page.locator(".status-line").wait_for()
    # on a slow machine the page may come back after the last step
    wait_for(lambda: step(page) >= 3 or status(page).startswith("Done"), 60, "the reload lost the run")
    wait_for(lambda: status(page).startswith("Done"), 60, "the training does not end")
    page.get_by_role("button", name="Chat", exact=True).wait_for()
    wait_for(lambda: training_line(page), 60, "no loss is drawn at the end")
    shoot(page, "done")
    first, last = losses()
    assert last < 0.5 * first

    page.get_by_role("button", name="Chat", exact=True).click()
    model = page.get_by_label("Model", exact=True).first
    wait_for(lambda: model.input_value() == "Adapter: Aye aye", 30, "the adapter is not picked")
    settle(page)
    set_longest_answer(page, 24)
    send(page, "Say blue")
    page.locator(".chat-pane").get_by_text("SmolLM2-135M-Instruct").first.wait_for()
    (answer,), (base_answer,) = words(page, 0), words(page, 1)
    assert answer.startswith("Aye"), f"the adapter says {answer}"
    assert not base_answer.startswith("Aye")
    send(page, "Say red")
    assert len(words(page, 0)) == 2 and len(words(page, 1)) == 2, "no second turn"
    shoot(page, "chat")


def step(page) -> int:
    """The step that the page shows; 0 before the first."""
    found = re.search(r"step (\d+) of", status(page)) if page.locator(".status-line").count() else None
    return int(found[1]) if found else 0


def training_line(page) -> str:
    """The path of the training loss in the plot; "" while it has less than two points."""
    path = page.locator(".plot path.line.training").first
    line = path.get_attribute("d") or "" if path.count() else ""
    return line if "L" in line else ""


def losses() -> tuple[float, float]:
    """The first and the last loss of the only run."""
    from runs.run import list_runs, read_state

    (run,) = list_runs()
    state = read_state(run)
    return state.losses[0][1], state.losses[-1][1]
