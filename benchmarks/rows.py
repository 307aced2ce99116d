"""What a measurement says: one `Row` with our number, the rival's, and their ratio; and the file that keeps rows.

    faster("training, fp32", ours=120.0, rival=70.0, unit="tokens/s", aim=1.7)     more is better
    smaller("peak memory", ours=2.1, rival=3.9, unit="GB", aim=1.6)                less is better
    within("the page answers", ours=0.12, limit=0.3, unit="s")                     less than a limit, no rival

`ratio` is always "higher is better": 2.0 is twice as fast or half as much. A group is a module `benchmarks.NAME` with a
function `rows(quick: bool) -> list[Row]`. Results are kept with the machine, versions and date they belong to.
"""

import platform
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from common.files import read_json, write_json
from models.hardware import cpu_count, find_gpus, processor_name

RESULTS = Path(__file__).parent / "results" / "bench.json"
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
    """A row of which more is better: tokens a second."""
    return Row(name, ours, rival, unit, ours / rival, aim, note)


def smaller(name: str, ours: float, rival: float, unit: str, aim: float | None = None, note: str = "") -> Row:
    """A row of which less is better: seconds, bytes."""
    return Row(name, ours, rival, unit, rival / ours, aim, note)


def within(name: str, ours: float, limit: float, unit: str, note: str = "") -> Row:
    """A row without a rival that should stay under `limit`: the ratio is limit / ours, and its aim 1."""
    return Row(name, ours, None, unit, limit / ours, 1.0, note or f"at most {limit:g} {unit}")


def machine() -> dict:
    """What the numbers belong to: processor, GPU, packages, day."""
    gpus = find_gpus()
    return {
        "cpu": f"{processor_name()}, {cpu_count()} cores",
        "gpu": gpus[0].name if gpus else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
        "date": date.today().isoformat(),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def read_results(file: Path = RESULTS) -> dict[str, dict]:
    """{group: {"rows": [Row], "quick": ..., "cpu": ..., ...}}; {} when nothing is kept."""
    kept = read_json(file, {})
    return {name: {**group, "rows": [Row(**row) for row in group["rows"]]} for name, group in kept.items()}


def keep(group: str, rows: list[Row], quick: bool, file: Path = RESULTS) -> None:
    """Put the rows of one group in place of those that were kept of it."""
    kept = read_json(file, {})
    kept[group] = {**machine(), "quick": quick, "rows": [asdict(row) for row in rows]}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, kept)


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| what | ours | rival | ratio | aim | note |", "|---|---|---|---|---|---|"]
    for row in rows:
        aim = "" if row.aim is None else f"{row.aim:g}{'' if row.is_reached else ' (missed)'}"
        rival = "" if row.rival is None else f"{row.rival:.4g} {row.unit}"
        lines.append(f"| {row.name} | {row.ours:.4g} {row.unit} | {rival} | {row.ratio:.2f} | {aim} | {row.note} |")
    return "\n".join(lines)
