"""How does the app bear size: rows through the intake, a thousand runs and adapters in the lists, a million steps.

    python -m benchmarks.scale [--full]

There is no rival. Rows: ten times as many must take ten times as long and hardly more memory, each size in a process of its
own. Lists: what the page's own handlers take, against the 300 ms in which it should answer; "first" is the first call in a new
process. The browser's part is not in it.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.inputs import TOKENIZER, home_of_its_own, make_library, make_long_run, make_rows
from benchmarks.rows import Row, main, seconds_of, smaller, within
from common.paths import LOCAL_OWNER, REPOSITORY
from models.hardware import peak_resident_bytes

PAGE_SECONDS = 0.3
ENTRIES, EVENTS = 1_000, 1_000_000
LINEAR, FLAT = 0.8, 0.65  # ten times the rows: at most 1.25 times the time a row, 1.5 times the memory
TIMES = 5


def read_rows(count: int, with_tokens: bool) -> tuple[float, float]:
    """Read, sort and split `count` rows, and encode them if wanted; returns (seconds, peak MB of this process)."""
    from data.intake import load_data, prepare
    from data.settings import DataSettings
    from models.tokenizer import load_tokenizer

    with tempfile.TemporaryDirectory() as name:
        settings = DataSettings(data=str(make_rows(Path(name) / "rows.jsonl", count)))
        tokenizer = load_tokenizer(TOKENIZER) if with_tokens else None
        began = time.perf_counter()
        data = load_data(settings, Path(name), tokenizer) if with_tokens else prepare(settings, Path(name))
        seconds = time.perf_counter() - began
        found = len(data.train.rows) + len(data.held_out.rows) if with_tokens else data.data.rows
        if found != count:
            raise RuntimeError(f"{found} of {count} rows came through")
    return seconds, peak_resident_bytes() / 1e6


def in_a_process(count: int, with_tokens: bool) -> tuple[float, float]:
    """Call `read_rows` in a process of its own: memory that another size needed is not in its peak."""
    code = f"import json, benchmarks.scale as scale; print(json.dumps(scale.read_rows({count}, {with_tokens})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True)
    return tuple(json.loads(done.stdout.splitlines()[-1]))


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


def list_rows(entries: int, only: tuple[str, ...] = ()) -> Iterator[Row]:
    """One row for each call of the page, and for each click that changes something and then shows the lists; or `only` some."""
    from runs.history import EVERY_RUN, RunFilter, delete, undo_delete
    from runs.labels import set_labels
    from runs.queue import order
    from runs.run import list_runs
    from ui.adapters import handlers
    from ui.chat import models as chat_models
    from ui.train import history_events, history_view, run_view

    owner = LOCAL_OWNER
    with home_of_its_own():
        make_library(entries)
        newest, *_ = runs = list_runs(owner)
        calls = {
            "page load: the lists of the Train tab": lambda: history_events.lists(owner, None),
            "page load: who can answer in the chat": lambda: chat_models.model_choices(owner, None),
            "All runs is opened": lambda: history_view.listed(owner, EVERY_RUN, []),
            "All runs: a search for a title": lambda: history_view.listed(owner, RunFilter("attempt 77"), []),
            "All runs: a search for a state": lambda: history_view.listed(owner, RunFilter("done"), []),
            "All runs: a search that finds nothing": lambda: history_view.listed(owner, RunFilter("xyzzy"), []),
            "a run is typed into its list": lambda: history_view.run_choices(list_runs(owner), "attempt 77"),
            "the Adapters tab is opened": lambda: handlers._library(owner, "", None),
            "Adapters: a search": lambda: handlers._library(owner, "run-77", None),
            "the poll of every second": lambda: run_view.signature(newest),
            "the queue, twice a second": order,
        }
        changes = {
            "a rename": lambda: set_labels(runs[50], "Another title"),
            "a delete": lambda: delete(runs[51]),
            "an undo": lambda: undo_delete(owner, runs[51].id),
        }
        for name, call in calls.items():
            if only and name not in only:
                continue
            first, *later = [seconds_of(call) for _ in range(TIMES + 1)]
            note = f"at most {PAGE_SECONDS} s; the first call {first:.3f} s"
            yield within(f"{entries:,} runs and adapters: {name}", median(later), PAGE_SECONDS, "s", note)
        for name, change in () if only else changes.items():
            seconds = seconds_of(change) + seconds_of(lambda: history_events.lists(owner, None))
            yield within(f"{entries:,} runs and adapters: {name}, and the lists", seconds, PAGE_SECONDS, "s")


def event_rows(events: int) -> list[Row]:
    """The first look at a long run, and each one after it."""
    from runs.run import read_state
    from ui.train.run_view import render

    with home_of_its_own():
        run = make_long_run(events)
        first = seconds_of(lambda: read_state(run))
        view = median(seconds_of(lambda: render(run)) for _ in range(TIMES))
        megabytes = run.events_file.stat().st_size / 1e6
    name = f"a run of {events:,} steps"
    return [
        within(f"{name}: opened first", first, PAGE_SECONDS, "s", f"{megabytes:.0f} MB of events"),
        within(f"{name}: its view, when it is known", view, PAGE_SECONDS, "s"),
    ]


def rows(quick: bool) -> Iterator[Row]:
    """How time and memory grow with rows, runs, adapters and steps; quick without what takes minutes."""
    yield from intake_rows([10**power for power in range(4, 6 if quick else 8)], False, 1 if quick else 2)
    if not quick:
        yield from intake_rows([10**power for power in range(3, 7)], True, 2)
        yield from event_rows(EVENTS)
    yield from list_rows(
        ENTRIES, ("page load: the lists of the Train tab", "All runs: a search for a state") if quick else ()
    )


if __name__ == "__main__":
    main(rows, __doc__)
