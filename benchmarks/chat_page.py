"""How fast is the chat on the page: the real page in a real browser on the same machine, from Enter to the last word.

    python -m benchmarks.chat_page [--full]

The rival is the chat that people copy, Gradio's ChatInterface around `generate()` with a streamer, on the same base, with the
dtype that it loads by itself; ours is the app with its defaults. Both run all the time and are asked in turn; the browser notes
every word that appears. It needs Playwright and Chromium (`make test` installs Playwright); without them there are no rows.
"""

import importlib.util
import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from benchmarks.inputs import embedded_base, home_of_its_own
from benchmarks.rows import Row, faster, main, smaller
from benchmarks.start import served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync", "--disable-background-networking"]
QUESTIONS = ["Write a long story about a llama who learns to read.", "Write a long story about a goat who cannot swim."]
TOKENS = 96  # the longest answer
STILL_SECONDS = 4.0  # without a new word an answer is over
WAIT_SECONDS = 300
# python -c INTERFACE FOLDER TOKENS
INTERFACE = """
import sys
from threading import Thread
import gradio as gr
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer

tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])

def answer(message, history):
    messages = [{"role": one["role"], "content": one["content"][0]["text"]} for one in history]
    messages.append({"role": "user", "content": message})
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    settings = {"max_new_tokens": int(sys.argv[2]), "do_sample": False, "streamer": streamer}
    Thread(target=model.generate, kwargs={**inputs, **settings}).start()
    text = ""
    for word in streamer:
        text += word
        yield text

gr.ChatInterface(answer).launch(ssr_mode=False)
"""
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


class ChatPage:
    """A page of Chromium with a chat on it; `box` is the selector of the box to write in."""

    def __init__(self, page, tokenizer, box: str) -> None:
        self.page, self.tokenizer, self.box = page, tokenizer, box

    def ask(self, question: str) -> tuple[float, float]:
        """Return (tokens a second from the first word to the last, seconds from Enter to the first word)."""
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


def open_page(browser, address: str):
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    return page


def open_rival(stack: ExitStack, browser, base: Path, tokenizer, tokens: int = TOKENS) -> ChatPage:
    """Serve ChatInterface and open its page; closed with `stack`."""
    command = [sys.executable, "-c", INTERFACE, str(base), str(tokens)]
    page = open_page(browser, stack.enter_context(served(command, HF_HUB_OFFLINE="1")))
    return ChatPage(page, tokenizer, "textarea")


def serve_app(stack: ExitStack) -> str:
    """Serve the app in a home of its own and return its address; closed with `stack`."""
    folder = stack.enter_context(home_of_its_own())
    # with an empty Hub cache the app's own choice is the embedded base, wherever this runs
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(folder / "hub")}
    return stack.enter_context(served([sys.executable, "app.py"], **offline))


def open_ours(stack: ExitStack, browser, tokenizer) -> ChatPage:
    """Serve the app and open its Chat tab; closed with `stack`."""
    page = open_page(browser, serve_app(stack))
    page.get_by_role("tab", name="Chat").click()
    page.locator("#chat-settings-button").click()
    page.get_by_label("number input for Longest answer in tokens").fill(str(TOKENS))
    page.keyboard.press("Tab")
    page.locator("#chat-settings-button").click()
    return ChatPage(page, tokenizer, "textarea[placeholder^='Your message']")


def open_browser(stack: ExitStack):
    """Start Chromium; closed with `stack`."""
    from playwright.sync_api import sync_playwright

    browser = stack.enter_context(sync_playwright()).chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    stack.callback(browser.close)
    return browser


def rows(quick: bool) -> list[Row]:
    """Medians of all answers: tokens a second as they appear, and seconds to the first word; [] where there is no browser."""
    if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
        print("chat_page: no Playwright or no Chromium here, not measured", file=sys.stderr, flush=True)
        return []
    from models.tokenizer import load_tokenizer

    base, pairs = embedded_base(), 1 if quick else 7
    tokenizer = load_tokenizer(base)
    with ExitStack() as stack:
        browser = open_browser(stack)
        pages = [open_ours(stack, browser, tokenizer), open_rival(stack, browser, base, tokenizer)]
        done = [[page.ask(QUESTIONS[number % 2]) for page in pages] for number in range(pairs + 1)]
    done = done[1:]  # ours loads its model at the first one, the rival before it had a page
    speed, wait = ([median(one[side][part] for one in done) for side in (0, 1)] for part in (0, 1))
    words = "SmolLM2-135M, int8 (rival: as it is stored)"
    note = f"answers of up to {TOKENS} tokens, {pairs} pairs, a browser on the same cores"
    return [
        faster(f"chat page: an answer, {words}", *speed, "tokens/s", 1.0, note),
        smaller(f"chat page: the first word, {words}", *wait, "s", None, note),
    ]


if __name__ == "__main__":
    main(rows, __doc__)
