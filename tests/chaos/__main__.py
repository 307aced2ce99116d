"""Attack the real app while people use it, and see that nobody notices: `python -m tests.chaos --minutes 3 --seed 1`."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.world import chaos


def main() -> int:
    """Print what was tried and what came of it. Returns 1 when the app fell short."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=main.__doc__)
    parser.add_argument("--minutes", type=float, default=3, help="of the attack; a third more before it is quiet")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = chaos(options.minutes * 60, options.seed, Path(folder))
    print(report)
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
