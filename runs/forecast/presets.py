"""What each of several trainings takes on this machine, known before anything is pressed: presets, or the arms of an experiment.

Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median

from common.paths import LOCAL_OWNER
from models.base import Base, shape_for
from models.hardware import Hardware
from runs.config import TrainConfig
from runs.forecast.estimate import estimate_time, peak_memory
from runs.forecast.memory import Memory
from runs.forecast.plan import DataFacts
from runs.forecast.speed import from_earlier_runs, guess, known
from runs.presets import PRESETS, preset_values
from runs.resolve import ResolvedConfig

AS_SET = "as set"  # in the place of a preset's name: the settings as they are


@dataclass(frozen=True)
class Forecast:
    """Seconds of training and its memory; without `is_measured` the speed is a guess from the model's size."""

    seconds: float
    memory: Memory
    is_measured: bool


def forecast_of_presets(
    resolved: ResolvedConfig, facts: DataFacts | None, owner: str = LOCAL_OWNER
) -> Mapping[str, Forecast]:
    """Return the forecast of each preset with these settings, base and rows, and of the settings AS_SET.

    {} while the rows or the base are not known.
    """
    if facts is None:
        return {}
    configs = {preset: (replace(resolved.config, **preset_values(preset)), facts) for preset in PRESETS}
    configs[AS_SET] = (resolved.config, facts)
    return forecast_each(configs, resolved.base, resolved.hardware, owner)


def forecast_each(
    wanted: Mapping[str, tuple[TrainConfig, DataFacts]], base: Base, hardware: Hardware, owner: str = LOCAL_OWNER
) -> Mapping[str, Forecast]:
    """Return the forecast of each training with these settings and rows on one base; {} while its shape is not known.

    Takes milliseconds: nothing is measured, loaded or asked of the Hub.
    """
    shape = shape_for(base)
    if shape is None:
        return {}
    measured, guessed = {}, {}
    for name, (config, facts) in wanted.items():
        guessed[name] = guess(config, shape, facts, hardware)
        measured[name] = known(config, shape, facts, hardware) or from_earlier_runs(
            config, base.model_id, hardware, owner
        )
    # what one was measured with says how this machine is against the guess, for the others too
    ratios = [speed.seconds_per_token / guessed[name].seconds_per_token for name, speed in measured.items() if speed]
    found = {}
    for name, (config, facts) in wanted.items():
        speed = measured[name] or replace(
            guessed[name], seconds_per_token=guessed[name].seconds_per_token * (median(ratios) if ratios else 1.0)
        )
        seconds = estimate_time(config, facts, speed) or 0.0
        memory = peak_memory(config, shape, facts, hardware, measured[name])
        found[name] = Forecast(seconds, memory, measured[name] is not None)
    return found
