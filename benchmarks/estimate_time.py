"""How close is the measured speed to the time that a run really takes? Prints a table: prediction and run in turn, medians.

    python -m benchmarks.estimate_time [--pairs 3] [--steps 6]

On the embedded base and the example data. Each pair is one new measurement and one short run right after it, so that both see
the same load; on a machine that does other work the ratios scatter, and their median counts.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.memory import Case, measure
from common.paths import home
from trainer.config import EXAMPLE
from trainer.forecast import calibration
from trainer.forecast.estimate import EMBEDDED_SHAPE, EXAMPLE_FACTS

CASES = (
    Case(length=1024, settings={"data": EXAMPLE}),
    Case(1, 1024, settings={"data": EXAMPLE, "gradient_checkpointing": "on"}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    home().mkdir(parents=True, exist_ok=True)
    print(
        "| run | seconds measuring | predicted tokens/s | real tokens/s | predicted / real time |\n|---|---|---|---|---|"
    )
    for case in CASES:
        ratios = [_pair(case, options.steps) for _ in range(options.pairs)]
        print(f"| {case.name}, median of {len(ratios)} | | | | {median(ratios):.2f} |", flush=True)


def _pair(case: Case, steps: int) -> float:
    """Predicted over real seconds a token."""
    case = replace(case, settings={**case.settings, "max_steps": steps})
    (home() / calibration.FILE).unlink(missing_ok=True)
    began = time.monotonic()
    found = calibration.measure(case.config("embedded", EXAMPLE), EMBEDDED_SHAPE, EXAMPLE_FACTS)
    took = time.monotonic() - began
    with tempfile.TemporaryDirectory() as folder:
        real = measure(case, Path(folder)).tokens_per_second  # of the last 20 steps
    ratio = found.seconds_per_token * real
    print(f"| {case.name} | {took:.0f} | {1 / found.seconds_per_token:.0f} | {real:.0f} | {ratio:.2f} |", flush=True)
    return ratio


if __name__ == "__main__":
    main()
