"""What each preset takes on this machine, known before anything is pressed. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median

from common.paths import LOCAL_OWNER
from models.base import shape_for
from runs.forecast.estimate import estimate_time, peak_memory
from runs.forecast.plan import DataFacts
from runs.forecast.speed import from_earlier_runs, guess, known
from runs.presets import PRESETS, preset_values
from runs.resolve import ResolvedConfig


@dataclass(frozen=True)
class Forecast:
    """Seconds of training and the peak of memory in bytes; without `is_measured` the speed is a guess from the model's size."""

    seconds: float
    memory_bytes: int
    is_measured: bool


def forecast_of_presets(
    resolved: ResolvedConfig, facts: DataFacts | None, owner: str = LOCAL_OWNER
) -> Mapping[str, Forecast]:
    """Return the forecast of each preset with these settings, base and rows; {} while the rows or the base are not known.

    Takes milliseconds: nothing is measured, loaded or asked of the Hub.
    """
    base, hardware, shape = resolved.base, resolved.hardware, shape_for(resolved.base)
    if facts is None or shape is None:
        return {}
    configs = {preset: replace(resolved.config, **preset_values(preset)) for preset in PRESETS}
    measured, guessed = {}, {}
    for preset, config in configs.items():
        guessed[preset] = guess(config, shape, facts, hardware)
        measured[preset] = known(config, shape, facts, hardware) or from_earlier_runs(
            config, base.model_id, hardware, owner
        )
    # what one preset was measured with says how this machine is against the guess, for the others too
    ratios = [
        speed.seconds_per_token / guessed[preset].seconds_per_token for preset, speed in measured.items() if speed
    ]
    found = {}
    for preset, config in configs.items():
        speed = measured[preset] or replace(
            guessed[preset],
            seconds_per_token=guessed[preset].seconds_per_token * (median(ratios) if ratios else 1.0),
        )
        seconds = estimate_time(config, facts, speed) or 0.0
        memory = peak_memory(config, shape, facts, hardware, measured[preset])
        found[preset] = Forecast(seconds, memory.total, measured[preset] is not None)
    return found
