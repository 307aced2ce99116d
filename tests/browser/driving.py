"""What the browser tests share: Chromium and its flags, waiting, and the hands of a person on the page."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import psutil
import pytest

from common.paths import REPOSITORY
from runs.config import TrainConfig


def find_chromium() -> str | None:
    """Chromium or Chrome as the system has it, else Playwright's own; None when there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    mac = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
    for name in (*names, mac):
        if found := shutil.which(name):
            return found
    own = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", "")).glob("chromium-*/chrome-*/**/*")
    return next(
        (str(file) for file in own if file.name in ("chrome", "Chromium", "chrome.exe") and file.is_file()), None
    )


CHROMIUM = find_chromium()
SCREENSHOTS = REPOSITORY / "screenshots"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
OTHER_NAME = "studio.test"  # of this machine to Chromium: no secure context, which localhost is
FLAGS.append(f"--host-resolver-rules=MAP {OTHER_NAME} 127.0.0.1")
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium here: apt-get install chromium, or .venv/bin/playwright install chromium"
    ),
]
QUIET_START_SECONDS = 6.0  # what the app takes to start on two idle cores
MAX_WAIT_SECONDS = 900  # for anything, however slow the machine is
PAGE_WAIT_SECONDS = 120  # for what a page shows, on two idle cores
WORKING_SHARE = 0.02  # of one core
# More steps than any machine trains while a test looks at it: it is the test that stops the run. With so few that the training
# ends by itself, a test on a loaded machine finds a run that is done where it expects one that trains.
ENDLESS = 30_000
# Notes in `waiting` what the page asks of the app, by a number, until it is answered.
LISTEN = """
(() => {
  const real = window.fetch, numbers = new Map(), answered = new Set(), waiting = (window.waiting = new Set());
  let count = 0;
  const hear = async (stream) => {
    let text = "";
    for await (const piece of stream.pipeThrough(new TextDecoderStream())) {
      const messages = (text + piece).split("\\n\\n");
      text = messages.pop();
      for (const message of messages) {
        const {msg, event_id} = JSON.parse(message.slice("data:".length));
        if (msg !== "process_completed") continue;
        answered.add(event_id);
        waiting.delete(numbers.get(event_id));
      }
    }
  };
  window.fetch = async (...given) => {
    const url = String(given[0].url ?? given[0]), isQueued = url.includes("/queue/join");
    if (url.endsWith("/cancel")) {
      const {event_id} = JSON.parse(given[1].body);
      answered.add(event_id);
      waiting.delete(numbers.get(event_id));
    }
    if (!isQueued && !url.includes("/run/")) {
      const answer = await real(...given);
      if (url.includes("/queue/data")) hear(answer.clone().body).catch(() => waiting.clear());
      return answer;
    }
    const number = count++;
    waiting.add(number);
    try {
      const answer = await real(...given), {event_id} = await answer.clone().json();
      numbers.set(event_id, number);
      if (!isQueued || !event_id || answered.has(event_id)) waiting.delete(number);
      return answer;
    } catch (error) {
      waiting.delete(number);
      throw error;
    }
  };
})()
"""
slowness = 1.0  # how many times longer than on two idle cores the app took to start


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    """True once somebody listens on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_app(environment: dict[str, str], port: int, log) -> subprocess.Popen:
    """Start the real app on `port` and wait until it answers. How long that takes measures the machine for later waits."""
    global slowness
    environment = {**environment, "GRADIO_SERVER_PORT": str(port), "PYTHONUNBUFFERED": "1"}
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "app.py"], cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
    while not answers(port):
        assert process.poll() is None, "the app has ended"
        assert time.monotonic() < began + MAX_WAIT_SECONDS, "the app does not answer"
        time.sleep(0.1)
    slowness = max(1.0, (time.monotonic() - began) / QUIET_START_SECONDS)
    return process


def new_page(browser, **options):
    """A page of a browser of its own."""
    return prepare(browser.new_context(**options).new_page())


def prepare(page):
    """Give `page`, before it is opened, the time-outs of this machine and what `settle` needs."""
    page.set_default_timeout(PAGE_WAIT_SECONDS * slowness * 1000)
    page.add_init_script(LISTEN)
    return page


def settle(page) -> None:
    """Wait until the app has answered whatever this page asks, and what it asks when that is answered."""
    while True:
        next_frames(page)  # a click has led to its question
        page.wait_for_function("!waiting.size")
        next_frames(page)  # an answer is on the page
        if not page.evaluate("waiting.size"):
            return


def next_frames(page) -> None:
    """Wait until what the page does in the next frame is done."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def wait_for(condition, seconds: float, words: str):
    """Return the first true value of `condition`; AssertionError with `words` when it does not come.

    `seconds` are those of a quiet machine. Time in which a training of this test computes does not count, up to
    MAX_WAIT_SECONDS in all.
    """
    began = looked = time.monotonic()
    idle, used = 0.0, training_seconds()
    while idle < seconds * slowness and time.monotonic() < began + MAX_WAIT_SECONDS:
        if value := condition():
            return value
        time.sleep(0.2)
        now, used_now = time.monotonic(), training_seconds()
        if used_now - used < WORKING_SHARE * (now - looked):
            idle += now - looked
        looked, used = now, used_now
    raise AssertionError(words)


def training_seconds() -> float:
    """The processor time that the trainings which this test has started have used until now."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            if any(part.startswith("trainer.") for part in process.cmdline()):
                total += sum(process.cpu_times()[:2])
        except psutil.Error:  # it has just ended
            continue
    return total


def shoot(page, name: str, full_page: bool = False) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full_page)


def fill(page, label: str, value: str) -> None:
    page.get_by_label(label, exact=True).first.fill(value)
    page.keyboard.press("Tab")


def choose(page, label: str, option: str) -> None:
    """Pick an option of a dropdown by a part of its text, and wait for what the app says to it."""
    box = page.get_by_label(label, exact=True).first
    box.click()
    page.get_by_role("option").filter(has_text=option).first.click()
    wait_for(lambda: option in box.input_value(), 30, f"{option} is not picked")
    settle(page)


def unfold(page, title: str) -> None:
    """Open a folded section by its title, until what is typed into it stays.

    Gradio draws it now, and in the frame after that gives each of its fields the value from before once more.
    """
    head = page.locator("button.label-wrap").filter(has_text=re.compile(rf"^\s*{re.escape(title)}")).first
    if "open" in (head.get_attribute("class") or "").split():
        return
    head.click()
    head.locator("xpath=following-sibling::*").first.wait_for()
    settle(page)


def set_field(page, name: str, value: str) -> None:
    """Fill in a setting under Advanced, by its name in TrainConfig."""
    (item,) = (item for item in fields(TrainConfig) if item.name == name)
    unfold(page, "Advanced")
    if name != "name":
        unfold(page, item.metadata["group"])
    page.locator(f"#field-{name}").locator("input, textarea").first.fill(value)
    page.keyboard.press("Tab")


def type_base(page, base: str) -> None:
    """Type a base that is not in the list."""
    unfold(page, "Advanced")
    page.get_by_label("Base model", exact=True).fill(base)
    page.keyboard.press("Enter")


def upload(page, file: Path) -> None:
    """Give the training data as a file, and wait until the server has it."""
    page.get_by_label("Upload a file").check()
    words = page.get_by_text("JSONL, JSON, CSV, TSV")  # of its field: another one is that of the held-out rows
    page.locator(".block").filter(has=words).locator("input[type=file]").set_input_files(str(file))
    page.locator(f".filename[aria-label='{file.name}']").first.wait_for()


def status(page) -> str:
    return page.locator(".status-line").inner_text()
