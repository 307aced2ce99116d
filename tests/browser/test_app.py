"""The app in a real browser, as a person uses it: train, watch, reload, talk. Screenshots stay in `screenshots/`."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.paths import REPOSITORY, home

CHROMIUM = "/usr/bin/chromium"
SCREENSHOTS = REPOSITORY / "screenshots"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Debian's chromium"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def app(isolated_home):
    """The real app on a free port, with this test's home: (address, function that starts it again)."""
    port = free_port()
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "PYTHONUNBUFFERED": "1"}
    processes = []

    def launch() -> subprocess.Popen:
        with open(home() / "app.log", "ab") as log:
            command = [sys.executable, "app.py"]
            processes.append(subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log))
        wait_for(lambda: _answers(port), 60, "the app does not answer")
        return processes[-1]

    launch()
    yield f"http://127.0.0.1:{port}", lambda: (processes[-1].kill(), processes[-1].wait(), launch())
    processes[-1].kill()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, seconds: float, words: str):
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.2)
    raise AssertionError(words)


@pytest.fixture
def page(app):
    """A page of Chromium on the app; an error in the browser's console fails the test."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(30_000)
        page.goto(app[0])
        page.get_by_role("button", name="Start training").wait_for()
        yield page
        browser.close()


def shoot(page, name: str) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def fill(page, label: str, value: str) -> None:
    page.get_by_label(label, exact=True).first.fill(value)
    page.keyboard.press("Tab")


def choose(page, label: str, option: str) -> None:
    """Pick an option of a dropdown by a part of its text."""
    page.get_by_label(label, exact=True).first.click()
    page.get_by_role("option").filter(has_text=option).first.click()


def status(page) -> str:
    return page.locator(".status-line").inner_text()


def test_a_person_trains_reloads_and_talks(page, app, embedded_base, tmp_path):
    rows = [{"prompt": f"Say {word}", "completion": f"Aye, {word}!"} for word in ("one", "two", "six", "ten", "red")]
    data = tmp_path / "aye.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in rows * 8))

    choose(page, "Base model", "embedded, small")
    fill(page, "Name of the adapter", "Aye aye")
    page.get_by_label("My own file").check()
    page.locator("input[type=file]").set_input_files(str(data))
    page.get_by_text("aye.jsonl").first.wait_for()
    fill(page, "Max steps", "30")
    fill(page, "Learning rate", "0.001")
    page.get_by_role("button", name="Start training").click()

    page.get_by_text("step 3 of 30").wait_for(timeout=120_000)
    first_line = wait_for(lambda: training_line(page), 30, "no loss is drawn")
    wait_for(lambda: len(training_line(page)) > len(first_line), 60, "the loss does not move")
    shoot(page, "training")
    page.reload()
    page.get_by_text("of 30").wait_for()
    step = int(status(page).split("step ")[1].split(" ")[0])
    assert step >= 3, "the reload lost the run"
    page.get_by_role("button", name="Chat with it").wait_for(timeout=180_000)
    assert "Done" in status(page)
    time.sleep(2)  # the plot draws itself
    shoot(page, "done")
    first, last = losses()
    assert last < 0.5 * first

    page.get_by_role("button", name="Chat with it").click()
    model = page.get_by_label("Model", exact=True).first
    wait_for(lambda: model.input_value() == "Adapter: aye-aye", 30, "the adapter is not picked")
    fill_and_send(page, "Say blue")
    answer = wait_for(lambda: answers_of(page, 0), 120, "the adapter does not answer")
    page.get_by_text("without the adapter, base").wait_for(timeout=120_000)
    base_answer = wait_for(lambda: answers_of(page, 1), 120, "the base does not answer")
    wait_for(lambda: answers_of(page, 0)[0].startswith("Aye"), 60, f"the adapter says {answer}")
    assert not base_answer[0].startswith("Aye")
    fill_and_send(page, "Say red")
    wait_for(lambda: len(answers_of(page, 0)) == 2 and len(answers_of(page, 1)) == 2, 120, "no second turn")
    shoot(page, "chat")


def training_line(page) -> str:
    """The path of the training loss in the plot; "" while it has less than two points."""
    paths = page.locator(".vega-embed path[stroke='#6366f1']")
    return max((path.get_attribute("d") or "" for path in paths.all()), key=len, default="")[4:]


def losses() -> tuple[float, float]:
    """The first and the last loss of the only run."""
    from trainer.run import list_runs, read_state

    (run,) = list_runs()
    state = read_state(run)
    return state.losses[0][1], state.losses[-1][1]


def fill_and_send(page, text: str) -> None:
    page.get_by_placeholder("Your message").fill(text)
    page.get_by_role("button", name="Send").click(timeout=120_000)  # waits until the last answer is there


def answers_of(page, pane: int) -> list[str]:
    """What the assistant said in the first (0) or second (1) pane."""
    log = page.get_by_role("log").nth(pane)
    texts = log.locator(".bot.message, .message.bot").all_inner_texts()
    return [text.strip() for text in texts if text.strip()]


def test_the_training_goes_on_when_the_app_is_killed(page, app, tiny_base, tmp_path):
    data = tmp_path / "rows.csv"
    shutil.copy(REPOSITORY / "tests" / "data" / "rows.csv", data)
    page.get_by_label("Base model", exact=True).fill(str(tiny_base))
    page.keyboard.press("Enter")
    page.get_by_label("My own file").check()
    page.locator("input[type=file]").set_input_files(str(data))
    page.get_by_text("rows.csv").first.wait_for()
    fill(page, "Max steps", "400")
    page.get_by_text("More settings").click()
    fill(page, "Max length", "128")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("of 400").wait_for(timeout=90_000)
    app[1]()
    page.goto(app[0])
    page.get_by_text("of 400").wait_for(timeout=60_000)
    page.get_by_role("button", name="Stop and keep").click()
    wait_for(lambda: status(page).split()[0] in ("Stopped", "Done"), 60, status(page))
    shoot(page, "stopped")


def test_what_cannot_work_is_a_sentence_and_the_page_stays_alive(page):
    page.get_by_label("My own file").check()
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("No file was uploaded").wait_for()
    shoot(page, "error")
    page.get_by_label("Example: a study coach").check()
    fill(page, "Learning rate", "5")
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("learning_rate: 5.0 is too high").wait_for()
    page.get_by_role("tab", name="Chat").click()
    page.get_by_role("button", name="Send").click()
    page.get_by_text("There is no message").wait_for()
