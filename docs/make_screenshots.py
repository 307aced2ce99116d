"""Make the pictures in docs/images: the page in a real browser, wide, on a phone, light, dark and in Korean.

    python -m docs.make_screenshots [--steps 16]

Trains the embedded base in a temporary home: a few minutes on two cores. Needs Playwright and Chromium, as the browser tests do,
and a Korean font for the Korean picture.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

import studio
from benchmarks.chat_page import open_browser, serve_app
from benchmarks.inputs import embedded_base
from runs.presets import PRESETS, QUICK

FOLDER = Path(__file__).parent / "images"
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
DRAW_MILLISECONDS = 4000  # until all of a page is drawn
ANSWER_MILLISECONDS = 180_000
START = "a.to-field"  # the line beside Start: the plan is there
QUESTION = "Why is the sky blue?"


def main() -> None:
    """Photograph the start page, a training, its result, the chat, an evaluation and the adapters."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=16)
    steps = parser.parse_args().steps
    embedded_base()
    FOLDER.mkdir(exist_ok=True)
    with ExitStack() as stack:
        address = serve_app(stack)
        browser = open_browser(stack)

        def shoot(name: str, wanted: str, query: str = "", size: dict[str, int] = WIDE, act=lambda page: None) -> None:
            """Open the page, wait for what is `wanted` on it, act, and take the picture."""
            page = browser.new_context(viewport=size, locale="en-US").new_page()
            page.set_default_timeout(ANSWER_MILLISECONDS)
            page.goto(f"{address}/?{query}")
            page.locator(wanted).first.wait_for()
            page.wait_for_timeout(DRAW_MILLISECONDS)
            act(page)
            page.screenshot(path=FOLDER / f"{name}.png", animations="disabled")
            page.close()

        shoot("start", START)
        shoot("start-korean", START, "lang=ko")
        settings = {**PRESETS[QUICK], "max_steps": steps, "eval_steps": max(1, steps // 4)}
        training = studio.train(name="Study coach", base="embedded", **settings)
        stack.callback(training.stop)
        for state in training:
            print(f"{state.status} {state.step}/{state.total_steps}", flush=True)
            if state.step == steps // 2 + 1:
                shoot("training", ".run-alive")
                shoot("training-phone", ".run-alive", size=PHONE)
        shoot("result", ".headline")
        shoot("chat-dark", ".headline", "__theme=dark", act=_ask)
        studio.evaluate(max_items=24).wait()
        shoot("evaluation", START, act=lambda page: _open(page, "Evaluate"))
        shoot("adapters", START, act=lambda page: _open(page, "Adapters"))
    print(*sorted(path.name for path in FOLDER.iterdir()))


def _open(page, tab: str) -> None:
    """Open one of the page's tabs."""
    page.get_by_role("tab", name=tab, exact=True).click()
    page.wait_for_timeout(DRAW_MILLISECONDS)


def _ask(page) -> None:
    """Ask the adapter and its base the same question, and wait for both answers."""
    page.get_by_role("button", name="Chat", exact=True).click()
    page.wait_for_timeout(DRAW_MILLISECONDS)
    page.locator("#chat-box textarea").fill(QUESTION)
    page.keyboard.press("Enter")
    page.wait_for_timeout(DRAW_MILLISECONDS)
    page.get_by_role("button", name="Send").wait_for()
    page.wait_for_timeout(DRAW_MILLISECONDS)


if __name__ == "__main__":
    main()
