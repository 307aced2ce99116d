"""How the app bears size: rows through the intake, ten thousand runs and adapters in the lists, a million events.

    python -m benchmarks.scale [--full]

There is no rival. Rows: ten times as many must take ten times as long and hardly more memory, each size in a process of its
own. Lists: what the page's own handlers take, against the 300 ms in which it should answer; "first" is the first call in a new
process, with nothing remembered. The browser's part is not in it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.many import make_library, make_long_run, make_rows
from benchmarks.rows import Row, smaller, table, within
from common.paths import LOCAL_OWNER, REPOSITORY
from models.hardware import peak_resident_bytes

PAGE_SECONDS = 0.3
ENTRIES, EVENTS = 10_000, 1_000_000
LINEAR, FLAT = 0.8, 0.65  # ten times the rows: at most 1.25 times the time a row, 1.5 times the memory
TIMES = 5
TOKENIZER = REPOSITORY / "tests" / "data" / "tinyllama-tokenizer"


def read_rows(count: int, with_tokens: bool) -> tuple[float, float]:
    """(seconds, peak memory of this process in MB) of reading, sorting, splitting and, if wanted, encoding so many rows."""
    from models.tokenizer import load_tokenizer
    from trainer.config import TrainConfig
    from trainer.data.intake import load_data, prepare

    with tempfile.TemporaryDirectory() as name:
        config = TrainConfig(data=str(make_rows(Path(name) / "rows.jsonl", count)))
        tokenizer = load_tokenizer(TOKENIZER) if with_tokens else None
        began = time.perf_counter()
        data = load_data(config, Path(name), tokenizer) if with_tokens else prepare(config, Path(name))
        seconds = time.perf_counter() - began
        found = len(data.train.rows) + len(data.held_out.rows) if with_tokens else data.data.rows
        if found != count:
            raise RuntimeError(f"{found} of {count} rows came through")
    return seconds, peak_resident_bytes() / 1e6


def in_a_process(count: int, with_tokens: bool) -> tuple[float, float]:
    """`read_rows` in a process of its own: memory that another size needed is not in its peak."""
    code = f"import json, benchmarks.scale as scale; print(json.dumps(scale.read_rows({count}, {with_tokens})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True)
    seconds, megabytes = json.loads(done.stdout.splitlines()[-1])
    return seconds, megabytes


def intake_rows(sizes: list[int], with_tokens: bool, compared: int = 1) -> list[Row]:
    """The `compared` largest sizes, each against a tenth of it; the note has all of them."""
    found = {size: in_a_process(size, with_tokens) for size in sizes}
    name = "rows to tokens" if with_tokens else "rows read, sorted, split"
    told = "; ".join(f"{size:.0e}: {seconds:.2f} s, {memory:.0f} MB" for size, (seconds, memory) in found.items())
    rows = []
    for few, many in pairwise(sizes[-compared - 1 :]):
        tenth, whole = found[few], found[many]
        time_a_row = whole[0] / many * 1e6, tenth[0] / few * 1e6
        against = f"against {few:.0e} rows; {told}"
        more = f"{(whole[1] - tenth[1]) * 1e6 / (many - few):.0f} bytes a row more"
        rows.append(smaller(f"{name}, {many:.0e}: time a row", *time_a_row, "µs", LINEAR, against))
        rows.append(smaller(f"{name}, {many:.0e}: memory", whole[1], tenth[1], "MB", FLAT, more))
    return rows


@contextmanager
def home_of_its_own() -> Iterator[Path]:
    """An empty STUDIO_HOME for as long as it lasts."""
    before, folder = os.environ.get("STUDIO_HOME"), tempfile.mkdtemp()
    os.environ["STUDIO_HOME"] = folder
    try:
        yield Path(folder)
    finally:
        os.environ.pop("STUDIO_HOME")
        if before is not None:
            os.environ["STUDIO_HOME"] = before
        shutil.rmtree(folder, ignore_errors=True)


def page_calls() -> dict[str, Callable[[], object]]:
    """What the page calls, by what a person does; each returns what it sends."""
    from trainer.queue import order
    from trainer.run import list_runs
    from ui import adapters_tab, chat_models, history_events, history_view, run_view

    owner, newest = LOCAL_OWNER, list_runs(LOCAL_OWNER)[0]
    return {
        "page load: the lists of the Train tab": lambda: history_events.lists(owner, None),
        "page load: who can answer in the chat": lambda: chat_models.model_choices(owner, None),
        "All runs is opened": lambda: history_view.listed(owner, "", []),
        "All runs: a search for a title": lambda: history_view.listed(owner, "attempt 77", []),
        "All runs: a search for a state": lambda: history_view.listed(owner, "done", []),
        "All runs: a search that finds nothing": lambda: history_view.listed(owner, "xyzzy", []),
        "a run is typed into its list": lambda: history_view.run_choices(list_runs(owner), "attempt 77"),
        "the Adapters tab is opened": lambda: adapters_tab._library(owner, "", None),
        "Adapters: a search": lambda: adapters_tab._library(owner, "run-77", None),
        "the poll of every second": lambda: run_view.signature(newest),
        "the queue, twice a second": order,
    }


def list_rows(entries: int) -> list[Row]:
    """One row for each call of the page, the first call of a new process apart."""
    found = []
    with home_of_its_own():
        make_library(entries)
        for name, call in page_calls().items():
            first, *later = [_seconds(call) for _ in range(TIMES + 1)]
            note = f"at most {PAGE_SECONDS} s; the first call {first:.3f} s"
            found.append(within(f"{entries:,} runs and adapters: {name}", median(later), PAGE_SECONDS, "s", note))
        found += _after_a_change(entries)
    return found


def _after_a_change(entries: int) -> list[Row]:
    """What follows a click that changes something: the change itself, and the lists anew."""
    from trainer.history import delete, list_runs, rename, undo_delete
    from ui import history_events

    runs = list_runs(LOCAL_OWNER)
    renamed = _seconds(lambda: (rename(runs[50], "Another title"), history_events.lists(LOCAL_OWNER, None)))
    gone = _seconds(lambda: (delete(runs[51]), history_events.lists(LOCAL_OWNER, None)))
    back = _seconds(lambda: (undo_delete(LOCAL_OWNER, runs[51].id), history_events.lists(LOCAL_OWNER, None)))
    words = {"a rename": renamed, "a delete": gone, "an undo": back}
    return [
        within(f"{entries:,} runs and adapters: {name}, and the lists", seconds, PAGE_SECONDS, "s")
        for name, seconds in words.items()
    ]


def event_rows(events: int) -> list[Row]:
    """The first look at a long run, and each one after it."""
    from trainer.run import read_state
    from ui.run_view import render

    with home_of_its_own():
        run = make_long_run(events)
        first = _seconds(lambda: read_state(run))
        view = median(_seconds(lambda: render(run)) for _ in range(TIMES))
        megabytes = run.events_file.stat().st_size / 1e6
    name = f"a run of {events:,} steps"
    return [
        within(f"{name}: opened first", first, PAGE_SECONDS, "s", f"{megabytes:.0f} MB of events"),
        within(f"{name}: its view, when it is known", view, PAGE_SECONDS, "s"),
    ]


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def rows(quick: bool) -> list[Row]:
    sizes = [10**power for power in range(3, 7 if quick else 8)]
    encoded = [10**power for power in range(3, 6 if quick else 7)]
    compared = 1 if quick else 2  # a full measurement also makes the rows of a quick one: it can be compared with
    intake = intake_rows(sizes, False, compared) + intake_rows(encoded, True, compared)
    return intake + event_rows(EVENTS) + list_rows(ENTRIES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="up to ten million rows")
    print(table(rows(not parser.parse_args().full)))


if __name__ == "__main__":
    main()
