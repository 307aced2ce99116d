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
from contextlib import nullcontext
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
from common.language import joined
from evaluation.repair import Sweep, interval, measure, read_sweep
from models.base import EMBEDDED
from models.hardware import describe_hardware
from models.precision import PRECISIONS
from runs.config import TrainConfig
from runs.presets import PRESETS, QUICK
from runs.publish import versions
from runs.queue import launch

RESULTS = Path(__file__).parent / "results"
SETTINGS: list[dict[str, Any]] = [PRESETS[QUICK], {**PRESETS[QUICK], "learning_rate": 4e-3}]
TOLD = ("learning_rate", "lora_r", "lora_alpha")  # of the settings


def main() -> None:
    """Train, measure, time, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS, help="of the base that answers [fp32]")
    parser.add_argument("--adapters", nargs="+", metavar="NAME", help="of this home, in the place of both trainings")
    options = parser.parse_args()
    with nullcontext() if options.adapters else home_of_its_own():
        adapters = [find_adapter(name) for name in options.adapters or []] or [_trained(one) for one in SETTINGS]
        sweeps = [
            read_sweep(one) or measure(one, precision=options.precision, tell=progress_on_stderr()) for one in adapters
        ]
        seconds = _seconds(adapters[0], adapters[-1])
    curves = [
        {"steps": one.metrics["step"], **{name: one.training_config()[name] for name in TOLD}, **asdict(sweep)}
        for one, sweep in zip(adapters, sweeps, strict=True)
    ]
    found = {"date": date.today().isoformat(), "hardware": describe_hardware(), "versions": versions()}
    found |= {"curves": curves, "seconds": seconds}
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
        pair, halves = ["default", "other"], [0.5, 0.5]
        found["peft, svd of two"] = _timed(lambda: model.add_weighted_adapter(pair, halves, "svd", "svd"))
        found["here, svd of two"] = _timed(lambda: write_mix([adapter, other], Mix("svd", halves), Path(folder)))
    return found


def _timed(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return round(time.process_time() - began, 2)


def _report(found: dict[str, Any], sweeps: list[Sweep]) -> str:
    """Return the curves and times as Markdown."""
    known = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    parts = [
        "# The repair slider: what it gave on the example",
        f"{found['hardware']}; {known}; {found['date']}. SmolLM2-135M (embedded), the study coach example. Losses in nats per "
        "token with 95 % intervals; what was forgotten is paired with the base on the same texts. The best (in bold) forgot "
        "least of those whose held-out loss is not measurably above the lowest (paired, 95 %). Repeat it: "
        "`python -m benchmarks.repair`.",
    ]
    for curve, sweep in zip(found["curves"], sweeps, strict=True):
        settings = ", ".join(f"{name} {curve[name]}" for name in ("steps", *TOLD))
        rows = [
            (
                f"**{point.words()}**" if point == sweep.best else str(point.words()),
                point.held_out,
                point.general,
                point.forgotten,
            )
            for point in sweep.points
        ]
        lines = [f"| {name} | {' | '.join(map(interval, numbers))} |" for name, *numbers in rows]
        parts += [
            f"## {settings}",
            joined([f"Base in {sweep.precision}; {sweep.intruders} intruder dimensions in its layers.", *sweep.notes]),
            "\n".join(["| point | held-out loss | general text | forgotten |", "|---|---|---|---|", *lines]),
        ]
    rows = [f"| {name} | {seconds:.2f} |" for name, seconds in found["seconds"].items()]
    parts += ["## Seconds of a processor", "\n".join(["| what | seconds |", "|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
