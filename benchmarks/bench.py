"""`make bench`: every measurement against what people would use instead, as one Markdown table.

    python -m benchmarks.bench [--only train_speed start] [--full] [--keep]

Quick by default: a few minutes on 2 cores. --keep writes the rows into `results/bench.json`, with which `benchmarks.check`
compares a later run.
"""

import argparse
import sys
import traceback
from importlib import import_module
from pathlib import Path

from benchmarks.rows import RESULTS, Row, keep, read_results, table, where
from common.files import write_text
from common.paths import home

GROUPS = ("train_speed", "start", "chat_speed", "chat_page", "memory", "scale")


def measure(groups: list[str], quick: bool, into: Path | None) -> tuple[dict[str, list[Row]], list[str]]:
    """Return ({group: its rows}, groups that failed). Rows are written into `into` as soon as their group is done."""
    measured, failed = {}, []
    for group in groups:
        print(f"measuring {group} ...", file=sys.stderr, flush=True)
        try:
            measured[group] = import_module(f"benchmarks.{group}").rows(quick)
        except Exception:  # the other groups can still be measured
            traceback.print_exc()
            failed.append(group)
            continue
        if into:
            keep(group, measured[group], quick, into)
    return measured, failed


def report(kept: dict[str, dict]) -> str:
    """Put all kept rows into Markdown, each group with what its numbers belong to."""
    intro = "Written by `make bench ARGS=--keep`; what is measured is told in the README beside it."
    parts = ["# Kept results", "", intro]
    for name, group in kept.items():
        size = "quick" if group["quick"] else "full"
        parts += ["", f"## {name}", "", f"{where(group)}; {size}", "", table(group["rows"])]
    return "\n".join(parts) + "\n"


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, metavar="GROUP", help=f"{GROUPS}")
    parser.add_argument("--full", action="store_true", help="more steps and pairs: tens of minutes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--keep", action="store_true", help=f"write the rows into {RESULTS.name}")
    options = parser.parse_args()
    home().mkdir(parents=True, exist_ok=True)
    measured, failed = measure(options.only, not options.full, RESULTS if options.keep else None)
    if options.keep:
        write_text(RESULTS.with_suffix(".md"), report(read_results()))
    print(table([row for rows in measured.values() for row in rows]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
