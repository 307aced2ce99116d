"""A measurement as a `Row`, tables of rows, and the file that keeps them.

    faster("training, fp32", ours=120.0, rival=70.0, unit="tokens/s", aim=1.7)     more is better
    smaller("peak memory", ours=2.1, rival=3.9, unit="GB", aim=1.6)                less is better
    within("the page answers", ours=0.12, limit=0.3, unit="s")                     less than a limit, no rival

`ratio` is always "higher is better": 2.0 is twice as fast or half as much. A group of `benchmarks.bench` is a module with a
function `rows(quick: bool) -> Iterable[Row]`; `main(rows, __doc__)` is its command line. Quick are the rows that matter to a
person, all groups together in eight minutes.
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TypedDict

from common.files import read_json, write_json
from common.paths import home
from models.hardware import cpu_count, find_gpus, processor_name

RESULTS = Path(__file__).parent / "results" / "bench.json"
HEAD = "| what | ours | rival | ratio | aim | note |\n|---|---|---|---|---|---|"
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "datasets", "gradio")


@dataclass(frozen=True)
class Row:
    """One measurement, each number the median of its runs. `rival` is None where there is only a limit; `aim` is of `ratio`."""

    name: str
    ours: float
    rival: float | None
    unit: str
    ratio: float
    aim: float | None = None
    note: str = ""

    @property
    def is_reached(self) -> bool:
        return self.aim is None or self.ratio >= self.aim


def faster(name: str, ours: float, rival: float, unit: str, aim: float | None = None, note: str = "") -> Row:
    """Make a row of which more is better: tokens a second."""
    return Row(name, ours, rival, unit, ours / rival, aim, note)


def smaller(name: str, ours: float, rival: float, unit: str, aim: float | None = None, note: str = "") -> Row:
    """Make a row of which less is better: seconds, bytes."""
    return Row(name, ours, rival, unit, rival / ours, aim, note)


def within(name: str, ours: float, limit: float, unit: str, note: str = "") -> Row:
    """Make a row without a rival that should stay under `limit`: the ratio is limit / ours, and its aim 1."""
    return Row(name, ours, None, unit, limit / ours, 1.0, note or f"at most {limit:g} {unit}")


def seconds_of(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def take_turns(runs: dict[str, Callable[[], float]], pairs: int) -> dict[str, float]:
    """Return the median of each run over `pairs` rounds of all of them: what else the machine does falls on all alike.

    One round before them is not counted: it loads and warms up.
    """
    rounds = [{name: run() for name, run in runs.items()} for _ in range(pairs + 1)]
    return {name: median(found[name] for found in rounds[1:]) for name in runs}


class Machine(TypedDict):
    """What numbers belong to; a package that is not installed has no version, a machine without a GPU None."""

    cpu: str
    gpu: str | None
    python: str
    versions: dict[str, str | None]
    date: str


class Kept(Machine):
    """The rows of one group, and where they were measured."""

    quick: bool
    rows: list[Row]


def machine() -> Machine:
    gpus, versions = find_gpus(), {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    cpu = f"{processor_name()}, {cpu_count()} cores"
    today, python = date.today().isoformat(), platform.python_version()
    return Machine(cpu=cpu, gpu=gpus[0].name if gpus else None, python=python, versions=versions, date=today)


def where(facts: Machine) -> str:
    """Put it into one line."""
    versions = ", ".join(f"{package} {number}" for package, number in facts["versions"].items() if number)
    return f"{facts['gpu'] or facts['cpu']}; {facts['date']}; {versions}"


def read_results(file: Path = RESULTS) -> dict[str, Kept]:
    """Return {group: its rows}; {} when nothing is kept."""
    kept = read_json(file, {})
    return {name: {**group, "rows": [Row(**row) for row in group["rows"]]} for name, group in kept.items()}


def keep(group: str, rows: list[Row], quick: bool, file: Path = RESULTS) -> None:
    """Replace the kept rows of one group."""
    kept = read_json(file, {})
    kept[group] = {**machine(), "quick": quick, "rows": [asdict(row) for row in rows]}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, kept)


def table(rows: list[Row]) -> str:
    """Put the rows into a Markdown table."""
    return "\n".join([HEAD, *map(line, rows)])


def line(row: Row) -> str:
    """Put a row into a line of the table."""
    aim = "" if row.aim is None else f"{row.aim:g}{'' if row.is_reached else ' (missed)'}"
    rival = "" if row.rival is None else f"{row.rival:.4g} {row.unit}"
    return f"| {row.name} | {row.ours:.4g} {row.unit} | {rival} | {row.ratio:.2f} | {aim} | {row.note} |"


def main(rows: Callable[[bool], Iterable[Row]], doc: str) -> None:
    """Measure one group and print its rows as they come."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="more steps, pairs and sizes")
    options = parser.parse_args()
    home().mkdir(parents=True, exist_ok=True)
    print(HEAD, flush=True)
    for row in rows(not options.full):
        print(line(row), flush=True)
