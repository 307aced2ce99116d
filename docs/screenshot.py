"""Make docs/screenshot.png: the Train tab in a real browser while a training of the embedded base is half way.

    python -m docs.screenshot [--steps 16]

A few minutes on two cores; the home is a temporary one. Needs Playwright and Chromium, as the browser tests do.
"""

import argparse
from contextlib import ExitStack
from pathlib import Path

import studio
from benchmarks.chat_page import open_browser, open_page, serve_app
from benchmarks.inputs import embedded_base

FILE = Path(__file__).with_suffix(".png")
SIZE = {"width": 1280, "height": 1000}


def main() -> None:
    """Train in a temporary home, open the page half way, and write FILE."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=16)
    steps = parser.parse_args().steps
    embedded_base()
    with ExitStack() as stack:
        address = serve_app(stack)
        settings = {"gradient_accumulation_steps": 1, "eval_steps": max(1, steps // 4)}
        training = studio.train(name="study-coach", base="embedded", max_steps=steps, **settings)
        stack.callback(training.stop)
        for state in training:
            print(f"{state.status} {state.step}/{state.total_steps}", flush=True)
            if state.step > steps // 2:
                break
        page = open_page(open_browser(stack), address)
        page.set_viewport_size(SIZE)
        page.locator(".plot path.line").first.wait_for()
        page.wait_for_timeout(3000)  # until all curves are drawn
        page.screenshot(path=FILE, animations="disabled")
    print(FILE)


if __name__ == "__main__":
    main()
