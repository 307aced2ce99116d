"""What the repair slider gives on the example: the loss on held-out rows and on general text at each point.

    python -m benchmarks.repair            writes results/repair.md and results/repair.json; a quarter of an hour on 2 cores

The embedded base is trained on the example twice: a Quick try, and one at four times the rate, which forgets more. Beside the
curves: the seconds of a processor that PEFT's `reduce_intruder_dimension` takes, all SVDs again for each strength, and its
`add_weighted_adapter`.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from adapters.library import Adapter, find_adapter
from adapters.mix import Mix, write_mix
from adapters.repair import INTRUDERS, Repair, find_intruders, write_repaired
from benchmarks.inputs import embedded_base, home_of_its_own
from benchmarks.train_speed import wait
from common.command_line import progress_on_stderr
from evaluation.repair import Sweep, interval, measure
from models.base import EMBEDDED
from models.hardware import describe_hardware
from models.precision import PRECISIONS
from runs.config import TrainConfig
from runs.presets import PRESETS, QUICK
from runs.publish import versions
from runs.queue import launch

RESULTS = Path(__file__).parent / "results"
SETTINGS: dict[str, dict[str, Any]] = {
    "a Quick try": PRESETS[QUICK],
    "a Quick try at four times the rate": {**PRESETS[QUICK], "learning_rate": 4e-3},
}


def main() -> None:
    """Train, measure, time, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS, help="of the base that answers [fp32]")
    options = parser.parse_args()
    with home_of_its_own():
        adapters = {title: _trained(settings) for title, settings in SETTINGS.items()}
        sweeps = {
            title: measure(adapter, precision=options.precision, tell=progress_on_stderr())
            for title, adapter in adapters.items()
        }
        seconds = _seconds(*adapters.values())
    found = {
        "date": date.today().isoformat(),
        "hardware": describe_hardware(),
        "versions": versions(),
        "curves": [{"adapter": title, "settings": SETTINGS[title], **asdict(sweep)} for title, sweep in sweeps.items()],
        "seconds": seconds,
    }
    (RESULTS / "repair.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    (RESULTS / "repair.md").write_text(_report(found, sweeps))


def _trained(settings: dict[str, Any]) -> Adapter:
    """Return the adapter of a training on the example."""
    return find_adapter(wait(launch(TrainConfig(name="study-coach", base=EMBEDDED, **settings))).adapter)


def _seconds(adapter: Adapter, other: Adapter) -> dict[str, float]:
    """Return what PEFT and this app take for the same, in seconds of a processor: one strength, and a mix."""
    from peft import PeftModel
    from peft.tuners.lora.intruders import reduce_intruder_dimension

    from models.precision import load_base_model

    base_folder = embedded_base()
    model: Any = PeftModel.from_pretrained(load_base_model(base_folder, "fp32"), str(adapter.folder))
    model.load_adapter(str(other.folder), adapter_name="other")
    (adapter.folder / INTRUDERS).unlink()
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "peft, one strength": _timed(lambda: reduce_intruder_dimension(model, logging_sink=None)),
            "here, what intrudes": _timed(lambda: find_intruders(adapter, base_folder)),
            "here, one strength": _timed(lambda: write_repaired(adapter, Repair("reduce", 0.5), Path(folder))),
        }
        for kind in ("svd", "ties_svd"):
            how = Mix(kind, [0.5, 0.5])
            found[f"peft, {kind}"] = _timed(
                lambda kind=kind: model.add_weighted_adapter(["default", "other"], [0.5, 0.5], kind, kind, density=0.5)
            )
            found[f"here, {kind}"] = _timed(lambda how=how: write_mix([adapter, other], how, Path(folder)))
    return found


def _timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return round(time.process_time() - began, 2)


def _report(found: dict[str, Any], sweeps: dict[str, Sweep]) -> str:
    """Return the curves and times as Markdown."""
    known = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    parts = [
        "# The repair slider: what it gave on the example",
        f"{found['hardware']}; {known}; {found['date']}. SmolLM2-135M (embedded), the study coach example. Losses in nats per "
        "token with 95 % intervals; what was forgotten is paired with the base on the same texts. The best (in bold) forgot "
        "least of those whose held-out loss is not measurably above the lowest (paired, 95 %). Repeat it: "
        "`python -m benchmarks.repair`.",
    ]
    for title, sweep in sweeps.items():
        lines = [
            f"## {title[0].upper()}{title[1:]}; base in {sweep.precision}",
            f"{sweep.intruders} intruder dimensions in its layers.",
            "| point | held-out loss | general text | forgotten |\n|---|---|---|---|",
        ]
        for point in sweep.points:
            words = f"**{point.words()}**" if point == sweep.best else str(point.words())
            cells = (words, *(interval(one) for one in (point.held_out, point.general, point.forgotten)))
            lines[-1] += f"\n| {' | '.join(cells)} |"
        parts += lines
    rows = "".join(f"\n| {name} | {seconds:.2f} |" for name, seconds in found["seconds"].items())
    parts += ["## Seconds of a processor", f"| what | seconds |\n|---|---|{rows}"]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
