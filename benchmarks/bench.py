"""`make bench`: what matters to a person against what they would use instead, as one Markdown table.

    python -m benchmarks.bench [--only train_speed start] [--full] [--keep] [--check]

Quick by default: eight minutes on 2 cores, each row printed as it comes. --keep writes the rows into `results/bench.json`.
--check (`make bench-check`) says which ratios fell by more than 15 % below the kept ones, and then exits with 1. Ratios are
compared, not seconds: both sides of a ratio ran on the same machine. What fell is measured a second time, and the better one
counts. A limit has no rival, so its ratio is only comparable on the same processor.
"""

import argparse
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path

from benchmarks.rows import HEAD, RESULTS, Kept, Row, keep, line, read_results, table, where
from common.files import write_text
from common.paths import home

GROUPS = ("start", "scale", "memory", "train_speed", "evaluation_speed")  # the cheap ones come first
GROUPS += ("chat_page", "chat_speed", "beside", "quick_try")
TOLERANCE = 0.15
MAX_NAMED = 3  # rows of a group that were not measured
SPARE = 3.0  # a limit without a rival that is kept so many times over has not fallen: milliseconds jump by more


def measure(groups: list[str], quick: bool, into: Path | None = None) -> tuple[dict[str, list[Row]], list[str]]:
    """Print rows as they come; return ({group: its rows}, groups that failed). A group that is done is written into `into`."""
    measured, failed = {}, []
    print(HEAD, flush=True)
    for group in groups:
        began, measured[group] = time.monotonic(), []
        try:
            for row in import_module(f"benchmarks.{group}").rows(quick):
                measured[group].append(row)
                print(line(row), flush=True)
        except Exception:  # the other groups can still be measured
            traceback.print_exc()
            failed.append(group)
            continue
        print(f"{group}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        if into and measured[group]:  # quick, or without a browser, a group may have none
            keep(group, measured[group], quick, into)
    return measured, failed


def report(kept: dict[str, Kept]) -> str:
    """Put all kept rows into Markdown, each group with what its numbers belong to."""
    parts = [
        "# Kept results",
        "",
        "Written by `make bench ARGS=--keep`; what is measured is told in the README beside it.",
    ]
    for name, group in kept.items():
        size = "quick" if group["quick"] else "full"
        parts += ["", f"## {name}", "", f"{where(group)}; {size}", "", table(group["rows"])]
    return "\n".join(parts) + "\n"


def compare(kept: dict[str, Kept], new: dict[str, list[Row]]) -> tuple[list[str], list[str]]:
    """Return (a sentence for each ratio that fell, a sentence for what cannot be compared)."""
    fell, unknown = [], []
    for group, rows in new.items():
        before = {row.name: row for row in kept[group]["rows"]}
        for row in rows:
            has_spare = row.rival is None and row.ratio >= SPARE * (row.aim or 1)
            if row.name not in before:
                unknown.append(f"{group}: {row.name}: nothing is kept of it")
            elif row.ratio < (1 - TOLERANCE) * before[row.name].ratio and not has_spare:
                fell.append(f"{group}: {row.name}: {row.ratio:.2f}, was {before[row.name].ratio:.2f}")
        gone = sorted(before.keys() - {row.name for row in rows})
        named = ", ".join(gone[:MAX_NAMED]) + (f" and {len(gone) - MAX_NAMED} more" if len(gone) > MAX_NAMED else "")
        unknown += [f"{group}: {named}: kept, but not measured"] if gone else []
    return fell, unknown


def check(kept: dict[str, Kept], groups: list[str], quick: bool) -> int:
    """Measure the groups that are kept and print what fell; return 1 when something did, failed, or nothing is kept."""
    new, failed = measure([group for group in groups if group in kept], quick)
    fell, unknown = compare(kept, new)
    if fell:  # once more: a busy machine is no regression
        again, _ = measure(sorted({sentence.split(":")[0] for sentence in fell}), quick)
        for group, rows in again.items():
            first = {row.name: row for row in new[group]}
            new[group] = [max(row, first.get(row.name, row), key=lambda row: row.ratio) for row in rows]
        fell, unknown = compare(kept, new)
    unknown += [f"{group}: not measured, because no row of it is kept" for group in groups if group not in kept]
    print(*(f"not compared: {sentence}" for sentence in unknown), sep="\n")
    print(*(f"fell by more than {TOLERANCE:.0%}: {sentence}" for sentence in fell), sep="\n")
    compared = sum(map(len, new.values())) - len([sentence for sentence in unknown if "nothing is kept" in sentence])
    print(f"{compared} ratios compared, {len(fell)} fell; groups that failed: {failed or 'none'}")
    return 1 if fell or failed or not compared else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, metavar="GROUP", help=f"{GROUPS}")
    parser.add_argument("--full", action="store_true", help="more steps and pairs: tens of minutes")
    parser.add_argument("--keep", action="store_true", help=f"write the rows into {RESULTS.name}")
    parser.add_argument("--check", action="store_true", help="compare with the kept rows")
    parser.add_argument("--kept", type=Path, default=RESULTS, help="the file to compare with")
    options = parser.parse_args()
    home().mkdir(parents=True, exist_ok=True)
    if options.check:
        return check(read_results(options.kept), options.only, not options.full)
    _measured, failed = measure(options.only, not options.full, RESULTS if options.keep else None)
    if options.keep:
        write_text(RESULTS.with_suffix(".md"), report(read_results()))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
