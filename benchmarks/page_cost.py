"""What the page costs: to open, and to leave open while nothing happens, beside Gradio's own chat and an empty page.

    python -m benchmarks.page_cost [--full]

Per page: the first paint of a warm browser, the seconds until its main button can be pressed, what is transferred cold, console
lines, the controls that are in sight at 1280 x 800, the sum of layout shifts, and the part of a core that browser and server
together take while nobody touches it. Each page has a server and a browser of its own, one after another.
"""

import importlib.util
import sys
import time
from contextlib import ExitStack

import psutil

from benchmarks.chat_page import CHROMIUM, open_browser, serve_app
from benchmarks.rows import Row, main, within
from benchmarks.start import EMPTY_PAGE, served

CHAT_PAGE = (
    "import gradio as gr\ngr.ChatInterface(lambda message, history: message).launch(ssr_mode=False, quiet=True)\n"
)
SETTLE_SECONDS = 15.0  # after opening: fonts, first calls
OURS, CHAT, EMPTY = "ours", "gr.ChatInterface", "empty gr.Blocks"
BUTTONS = {OURS: "#start-button", CHAT: "textarea", EMPTY: "footer"}  # what has to be there before the page is of use
LIMITS = {  # what is measured: its name, its limit or None, its unit
    "paint warm": ("first contentful paint, warm", 1.0, "s"),
    "usable warm": ("usable, warm", 2.5, "s"),
    "usable cold": ("usable, cold", None, "s"),
    "megabytes": ("transferred, cold", 0.8, "MB"),
    "idle": ("an idle page, browser and server together", 0.02, "cores"),
    "shift": ("layout shifts", 0.1, ""),
    "console": ("errors and warnings in the console", None, ""),
    "foreign": ("requests to others", None, ""),
    "in sight": ("controls on the first screen", None, ""),
}
SHIFTS = """new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (!one.hadRecentInput) window.shifts = (window.shifts || 0) + one.value;
}).observe({type: "layout-shift", buffered: true})"""
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"
IN_SIGHT = """() => [...document.querySelectorAll(
  "button, input, textarea, select, [role=tab], summary, a[href]"
)].filter((one) => {
  const box = one.getBoundingClientRect();
  return box.width > 4 && box.height > 4 && box.top < innerHeight && box.bottom > 0 && one.checkVisibility();
}).length"""


def cost_of(name: str, idle_seconds: float) -> dict[str, float]:
    """Return what one page costs: seconds, megabytes, counts, and parts of a core."""
    with ExitStack() as stack:
        command = [sys.executable, "-c", CHAT_PAGE if name == CHAT else EMPTY_PAGE]
        address = serve_app(stack) if name == OURS else stack.enter_context(served(command))
        context = open_browser(stack).new_context(viewport={"width": 1280, "height": 800})
        found = dict.fromkeys(("console", "foreign", "megabytes"), 0.0)

        def count(what: str, amount: float) -> None:
            found[what] += amount

        for visit in ("cold", "warm"):
            page = context.new_page()
            page.add_init_script(SHIFTS)
            if visit == "cold":
                page.on("console", lambda line: count("console", line.type in ("error", "warning")))
                page.on("request", lambda one: count("foreign", not one.url.startswith((address, "data:", "blob:"))))
                wire = context.new_cdp_session(page)
                wire.send("Network.enable")
                wire.on("Network.loadingFinished", lambda one: count("megabytes", one["encodedDataLength"] / 1e6))
            began = time.monotonic()
            page.goto(address)
            page.locator(BUTTONS[name]).first.wait_for()
            found[f"usable {visit}"] = time.monotonic() - began
            found[f"paint {visit}"] = page.evaluate(FIRST_PAINT)
            page.wait_for_timeout(SETTLE_SECONDS * 1000)
            if visit == "cold":
                page.close()
        found |= {"shift": page.evaluate("window.shifts || 0"), "in sight": page.evaluate(IN_SIGHT)}
        return found | {"idle": _share(idle_seconds)}


def _share(seconds: float) -> float:
    """Return the part of a core that the server and the browser, children of this process, take over some seconds."""

    def spent() -> float:
        return sum(sum(one.cpu_times()[:2]) for one in psutil.Process().children(recursive=True))

    before = spent()
    time.sleep(seconds)
    return (spent() - before) / seconds


def rows(quick: bool = True) -> list[Row]:
    """Measure our page and the two others; [] where there is no browser."""
    if CHROMIUM is None or importlib.util.find_spec("playwright") is None:
        print("page_cost: no Playwright or no Chromium here, not measured", file=sys.stderr, flush=True)
        return []
    found = {name: cost_of(name, 20 if quick else 120) for name in BUTTONS}
    others = {what: ", ".join(f"{name} {found[name][what]:.3g}" for name in (CHAT, EMPTY)) for what in found[OURS]}
    measured = []
    for what, (label, limit, unit) in LIMITS.items():
        ours = found[OURS][what]
        note = f"{f'at most {limit:g}; ' if limit is not None else ''}{others[what]}"
        measured.append(
            within(label, max(ours, 1e-4), limit, unit, note)
            if limit
            else Row(label, ours, None, unit, 1.0, None, note)
        )
    return measured


if __name__ == "__main__":
    main(rows, __doc__)
