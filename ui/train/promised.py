"""What the rooms `runs` and the report of the data say in the form's words.

TODO: runs.forecast.forecast_of_presets, runs.training_in_words and report_view.found_in_one_line take the place of these.
"""

from dataclasses import dataclass, replace

from common.language import _, joined, n_
from data.report import Report
from models.base import shape_for
from models.precision import resolve_precision
from runs.forecast.estimate import estimate
from runs.forecast.plan import DataFacts
from runs.forecast.speed import from_earlier_runs, known
from runs.machines.parallel import NAMES, local_processes, row_of
from runs.presets import PRESETS, preset_values
from runs.resolve import ResolvedConfig

PRECISION_WORDS = {"8bit": _("8 bits"), "4bit": _("4 bits")}


@dataclass(frozen=True)
class Forecast:
    """What a run takes on this machine; None where nothing is known."""

    seconds: float | None
    memory_bytes: int
    is_measured: bool


@dataclass(frozen=True)
class TrainingWords:
    """A training in four parts: 'TinyLlama-1.1B', '8 bits', 'LoRA r16', '2 GPUs by DDP'."""

    base: str
    precision: str
    lora: str
    processes: str


def forecast_of_presets(resolved: ResolvedConfig, facts: DataFacts | None, owner: str) -> dict[str, Forecast]:
    """Return what each preset takes with these settings and data on this machine; {} while that is not known."""
    base, hardware, shape, found = resolved.base, resolved.hardware, shape_for(resolved.base), {}
    if facts is None or shape is None:
        return {}
    for preset in PRESETS:
        config = replace(resolved.config, **preset_values(preset))
        speed = known(config, shape, facts, hardware) or from_earlier_runs(config, base.model_id, hardware, owner)
        made = estimate(config, shape, facts, hardware, speed)
        found[preset] = Forecast(made.seconds, made.memory.total, made.seconds is not None)
    return found


def training_in_words(resolved: ResolvedConfig) -> TrainingWords:
    """Return base, precision, LoRA and processes of a training."""
    config, hardware = resolved.config, resolved.hardware
    precision = resolve_precision(config.precision, hardware.has_gpu)
    lora, count = f"LoRA r{config.lora_r}", local_processes(config)
    if hardware.has_gpu:
        processes = n_("{count} GPU", "{count} GPUs", count)
    else:
        processes = n_("{count} process on the CPU", "{count} processes on the CPU", count)
    if count > 1:
        processes = _("{processes} by {mode}", processes=processes, mode=NAMES[row_of(config)])
    base = resolved.base.model_id.rsplit("/", 1)[-1]
    return TrainingWords(base, str(PRECISION_WORDS.get(precision, precision)), lora, processes)


def found_in_one_line(report: Report) -> str:
    """Return what was found in the data in one line."""
    if report["mapping"] is None:
        return _("{count:,} rows; say below which column is what.", count=report["rows"])
    parts = [
        n_("{count:,} example to learn from", "{count:,} examples to learn from", report["train_rows"]),
        n_("{count:,} held out", "{count:,} held out", report["held_out_rows"]),
        n_("{count:,} token", "{count:,} tokens", report["tokens"]),
    ]
    return joined(parts, ", ")
