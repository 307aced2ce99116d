"""`make bench-check`: measures again and says which ratios fell by more than 15 % below the kept ones; then exits with 1.

    python -m benchmarks.check [--only GROUP ...] [--full] [--new FILE]

--new compares a file that `benchmarks.bench` wrote elsewhere instead of measuring. Ratios are compared, not seconds: both
sides of a ratio ran on the same machine. What fell is measured a second time, and the better one counts. A limit has no rival,
so its ratio is only comparable on the same processor.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.bench import add_options, measure
from benchmarks.rows import RESULTS, Row, read_results
from common.paths import home

TOLERANCE = 0.15
MAX_NAMED = 3  # rows of a group that were not measured
SPARE = 3.0  # a limit without a rival that is kept so many times over has not fallen: milliseconds jump by more


def compare(kept: dict[str, dict], new: dict[str, list[Row]]) -> tuple[list[str], list[str]]:
    """Return (a sentence for each ratio that fell, a sentence for what cannot be compared)."""
    fell, unknown = [], []
    for group, rows in new.items():
        before = {row.name: row for row in kept.get(group, {}).get("rows", [])}
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--kept", type=Path, default=RESULTS, help="the file to compare with")
    parser.add_argument("--new", type=Path, help="a file of rows to compare, in place of a measurement")
    options = parser.parse_args()
    home().mkdir(parents=True, exist_ok=True)
    kept, failed = read_results(options.kept), []
    if options.new:
        new = {name: group["rows"] for name, group in read_results(options.new).items()}
    else:
        new, failed = measure([group for group in options.only if group in kept], not options.full, None)
    fell, unknown = compare(kept, new)
    if fell and not options.new:  # once more: a busy machine is no regression
        again, _ = measure(sorted({sentence.split(":")[0] for sentence in fell}), not options.full, None)
        for group, rows in again.items():
            first = {row.name: row for row in new[group]}
            new[group] = [max(row, first.get(row.name, row), key=lambda row: row.ratio) for row in rows]
        fell, unknown = compare(kept, new)
    for sentence in unknown:
        print(f"not compared: {sentence}")
    for sentence in fell:
        print(f"fell by more than {TOLERANCE:.0%}: {sentence}")
    compared = sum(map(len, new.values())) - len([sentence for sentence in unknown if "nothing is kept" in sentence])
    print(
        f"{compared} ratios compared with {options.kept.name}, {len(fell)} fell; groups that failed: {failed or 'none'}"
    )
    return 1 if fell or failed or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
