"""What the browser tests share: Chromium's flags, waiting, and the hands of a person on the page."""

import socket
import time
from pathlib import Path

import pytest

from common.paths import REPOSITORY

CHROMIUM = "/usr/bin/chromium"
SCREENSHOTS = REPOSITORY / "screenshots"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update"]
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="needs Debian's chromium"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    """True once somebody listens on the port."""
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


def shoot(page, name: str, full_page: bool = False) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=full_page)


def fill(page, label: str, value: str) -> None:
    page.get_by_label(label, exact=True).first.fill(value)
    page.keyboard.press("Tab")


def choose(page, label: str, option: str) -> None:
    """Pick an option of a dropdown by a part of its text."""
    page.get_by_label(label, exact=True).first.click()
    page.get_by_role("option").filter(has_text=option).first.click()


def type_base(page, base: str) -> None:
    """Type a base that is not in the list."""
    page.get_by_label("Base model", exact=True).fill(base)
    page.keyboard.press("Enter")


def upload(page, file: Path) -> None:
    """Give the training data as a file, and wait until the server has it."""
    page.get_by_label("A file of mine").check()
    # the server shows its field: before that the first one on the page is that of the held-out rows
    page.get_by_text("JSONL, JSON, CSV, TSV, Parquet").wait_for()
    page.locator("input[type=file]").first.set_input_files(str(file))
    page.get_by_text(file.name).first.wait_for()


def status(page) -> str:
    return page.locator(".status-line").inner_text()
