"""The chat as a person meets it: the real page in a real browser on the same machine, from Enter to the last word.

    python -m benchmarks.chat_page [--full]

The rival is the chat that people copy, Gradio's ChatInterface around `generate()` with a streamer (`chat_interface.py`), on the
same base, with the dtype that it loads by itself; ours is the app with its defaults. Both run all the time and are asked in
turn; the browser notes every word that appears. It needs Playwright and Chromium (`make test` installs Playwright); without
them there are no rows.
"""

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks.chat_bases import embedded_base
from benchmarks.rows import Row, faster, smaller, table
from benchmarks.start import free_port, page_answers
from common.paths import REPOSITORY, home

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-background-networking"]
QUESTIONS = ["Write a long story about a llama who learns to read.", "Write a long story about a goat who cannot swim."]
TOKENS = 96  # the longest answer
STILL_SECONDS = 4.0  # without a new word an answer is over
WAIT_SECONDS = 300
# Notes what the last answer says, 20 times a second; what stands in <small> is the page's own.
WATCH = """() => {
  window.seen = [];
  const words = () => {
    const all = document.querySelectorAll(".bot.message, .message.bot");
    if (!all.length) return "";
    const last = all[all.length - 1].cloneNode(true);
    last.querySelectorAll("small, button, .loading").forEach((one) => one.remove());
    return last.textContent.trim();
  };
  const before = words();
  clearInterval(window.watch);
  window.watch = setInterval(() => {
    const now = words(), last = window.seen[window.seen.length - 1];
    const isNew = now && now !== before && now !== "Loading content" && (!last || last[1] !== now);
    if (isNew) window.seen.push([performance.now() / 1000, now]);
  }, 50);
  return performance.now() / 1000;
}"""


def rows(quick: bool) -> list[Row]:
    """[] where there is no browser."""
    if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
        print("chat_page: no Playwright or no Chromium here, not measured", file=sys.stderr, flush=True)
        return []
    return page_rows(embedded_base(), "SmolLM2-135M", 3 if quick else 7)


def page_rows(folder: Path, name: str, pairs: int) -> list[Row]:
    """Medians of `pairs` answers each: tokens a second as they appear, and seconds to the first word."""
    with ExitStack() as stack:
        pages = opened(stack, folder)
        for page in pages.values():
            page.ask(QUESTIONS[0])  # ours loads its model now, the rival before it had a page
        found = {side: [] for side in pages}
        for number in range(pairs):
            for side, page in pages.items():
                found[side].append(page.ask(QUESTIONS[(number + 1) % 2]))
    speed, wait = ({side: median(one[part] for one in done) for side, done in found.items()} for part in (0, 1))
    words = f"{name}, int8 (rival: as it is stored)"
    note = f"answers of up to {TOKENS} tokens, {pairs} pairs, a browser on the same cores"
    return [
        faster(f"chat page: an answer, {words}", speed["ours"], speed["rival"], "tokens/s", 1.0, note),
        smaller(f"chat page: the first word, {words}", wait["ours"], wait["rival"], "s", None, note),
    ]


class ChatPage:
    """A page of Chromium with a chat on it."""

    def __init__(self, page, tokenizer, box: str) -> None:
        """`box` is the selector of the box to write in."""
        self.page, self.tokenizer, self.box = page, tokenizer, box

    def ask(self, question: str) -> tuple[float, float]:
        """(tokens a second from the first word to the last, seconds from Enter to the first word)."""
        field = self.page.locator(self.box).first
        field.fill(question)
        began = self.page.evaluate(WATCH)
        field.press("Enter")
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            time.sleep(1)  # the page notes the times; looking at it costs both sides
            seen, now = self.page.evaluate("() => [window.seen, performance.now() / 1000]")
            if seen and now > seen[-1][0] + STILL_SECONDS:
                return self._speed(seen), seen[0][0] - began
        raise RuntimeError("no answer came")

    def _speed(self, seen: list) -> float:
        (start, first), (end, last) = seen[0], seen[-1]
        counts = [len(self.tokenizer(text, add_special_tokens=False).input_ids) for text in (first, last)]
        if end <= start or counts[1] <= counts[0]:
            raise RuntimeError(f"the answer came at once: {last[:80]}")
        return (counts[1] - counts[0]) / (end - start)


def opened(stack: ExitStack, folder: Path) -> dict[str, ChatPage]:
    """Both chats, each with a page on it; closed with `stack`."""
    from playwright.sync_api import sync_playwright

    from models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(folder)
    ports = {"ours": free_port(), "rival": free_port()}
    command = [sys.executable, "-m", "benchmarks.chat_interface", str(folder), str(ports["rival"]), str(TOKENS)]
    stack.enter_context(served([sys.executable, "app.py"], ports["ours"], stack))
    stack.enter_context(served(command, ports["rival"], stack))
    browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    stack.callback(browser.close)
    pages = {}
    for side, box in {"ours": "textarea[placeholder^='Your message']", "rival": "textarea"}.items():
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(120_000)
        page.goto(f"http://127.0.0.1:{ports[side]}")
        pages[side] = ChatPage(page, tokenizer, box)
    pages["ours"].page.get_by_role("tab", name="Chat").click()
    pages["ours"].page.get_by_role("button", name="Settings ▼").click()
    pages["ours"].page.get_by_label("number input for Longest answer in tokens").fill(str(TOKENS))
    pages["ours"].page.keyboard.press("Tab")
    pages["ours"].page.get_by_role("button", name="Settings ▼").click()
    return pages


@contextmanager
def served(command: list[str], port: int, stack: ExitStack):
    """The command as a server that answers on `port`, with a home of its own that has this one's bases."""
    own = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (own / "bases").symlink_to(home() / "bases")
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "STUDIO_HOME": str(own), "HF_HUB_OFFLINE": "1"}
    # empty: the app's own choice is the embedded base, wherever this runs
    environment["HF_HUB_CACHE"] = str(own / "hub")
    process = subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while not page_answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command[1:3])} ended before it answered")
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="7 answers a side, not 3")
    home().mkdir(parents=True, exist_ok=True)
    print(table(rows(not parser.parse_args().full)))


if __name__ == "__main__":
    main()
