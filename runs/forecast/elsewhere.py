"""When a training is long on a machine without a GPU: what it takes and costs as a job on Hugging Face, on the cheapest machine.

Nothing is asked of the Hub: the prices are its documentation's, and the speed there is a guess from the size of the model.
Imports no torch.
"""

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import UserError
from common.language import Sentence, _, joined
from common.mix import data_sets
from common.paths import LOCAL_OWNER, home
from common.volume import lost_words, outlives_restart
from common.words import duration
from data.check import check
from models.base import AUTO, EMBEDDED, shape_for
from models.hardware import on_zero_gpu
from models.hub.client import token_of
from models.hub.errors import sign_in_words
from models.prices import MIN_MINUTES, Flavor, documented_flavors
from runs.bundle import flags_of
from runs.config import EXAMPLE, SERVER, TrainConfig
from runs.forecast.estimate import EXAMPLE_FACTS, estimate_time, peak_memory
from runs.forecast.plan import DataFacts, facts_in
from runs.forecast.presets import AS_SET, forecast_of_presets
from runs.forecast.speed import guess
from runs.machines.parallel import NEEDS_DEEPSPEED
from runs.resolve import ResolvedConfig

LONG_SECONDS = 20 * 60.0  # of a training that something is proposed for
TIMES_FASTER = 3  # that it must be elsewhere, with all that a job does before it


@dataclass(frozen=True)
class Elsewhere:
    """A training as a job on `flavor`: its seconds there, with the set-up, and `here_seconds` on this machine."""

    flavor: Flavor
    seconds: float
    here_seconds: float

    @property
    def dollars(self) -> float:
        """What it costs, billed by the begun minute."""
        return self.flavor.dollars_per_minute * math.ceil(self.seconds / 60)

    @property
    def minutes(self) -> int:
        """A time limit for the job: its seconds are a guess, right to a factor of two."""
        return 2 * math.ceil(self.seconds / 60)

    def sentence(self, jobs: str = "Hugging Face Jobs") -> Sentence:
        """Return the proposal in words; `jobs` may be a link."""
        return _(
            "This takes about {here} here. On {jobs} it would take about {there} and cost about ${dollars:.2f} ({machine}).",
            here=duration(self.here_seconds),
            jobs=jobs,
            there=duration(self.seconds),
            dollars=self.dollars,
            machine=self.flavor.words,
        )

    def command(self, config: TrainConfig) -> str:
        """Return what starts it for a shell, with no more money than its limit of time can cost."""
        most = math.ceil(100 * self.flavor.dollars_per_minute * self.minutes) / 100
        limits = f"--flavor {self.flavor.name} --minutes {self.minutes} --max-dollars {most:.2f}"
        return f"python -m jobs hf {flags_of(replace(config, num_processes=1))} {limits}"


def elsewhere(
    resolved: ResolvedConfig, facts: DataFacts | None, seconds: float | None, machines: Sequence[Flavor] = ()
) -> Elsewhere | None:
    """Return the cheapest job that is much faster than `seconds` here; on one card, so that its steps are the same.

    Of the `machines` that the Hub lists, else of the documentation's. None where this machine has a GPU, is fast enough or
    has no Hub, and where no job can do it.
    """
    config, shape = resolved.config, shape_for(resolved.base)
    if facts is None or shape is None or seconds is None or seconds < LONG_SECONDS or not _would_help(resolved):
        return None
    config = replace(config, num_processes=1, max_minutes=0)
    found: list[Elsewhere] = []
    for flavor in machines or documented_flavors():
        machine = flavor.hardware()
        if flavor.gpus != 1 or not peak_memory(config, shape, facts, machine, None).fits:
            continue
        training = estimate_time(config, facts, guess(config, shape, facts, machine))
        one = Elsewhere(flavor, 60 * MIN_MINUTES + (training or 0.0), seconds)
        if TIMES_FASTER * one.seconds <= seconds:
            found.append(one)
    return min(found, key=lambda one: one.dollars) if found else None


def _would_help(resolved: ResolvedConfig) -> bool:
    """Return whether a job is another thing than this machine, and can be had."""
    from huggingface_hub import constants

    has_card = resolved.hardware.has_gpu or on_zero_gpu()
    is_away = constants.HF_HUB_OFFLINE or (resolved.config.base == AUTO and resolved.base.source == EMBEDDED)
    try:
        check_for_job(resolved.config)
    except UserError:
        return False
    return not has_card and not is_away


def check_for_job(config: TrainConfig) -> None:
    """Raise UserError for settings that no job on Hugging Face can have."""
    if Path(config.base).is_absolute() or config.base.startswith((".", "~")):
        raise UserError(
            _("The base model is a folder on this machine."),
            _("Choose one with an ID on the Hugging Face Hub, or embedded."),
        )
    if not config.makes_adapter:
        words = _("A job sends home an adapter, and the method {method} makes a whole model.", method=config.method)
        raise UserError(words, _("Choose the method lora, or train here."))
    if config.parallel in NEEDS_DEEPSPEED:
        words = _("parallel: {parallel} needs DeepSpeed, which a job does not have.", parallel=config.parallel)
        raise UserError(words, _("Choose fsdp2 or auto."))
    if named := [name for name in config.changed(SERVER) if name != "ddp_timeout"]:
        words = _(
            "A job runs on one machine of its own, so these settings have no effect: {names}.", names=", ".join(named)
        )
        raise UserError(words, _("Leave them at their defaults."))


def is_lost(seconds: float | None) -> bool:
    """Return whether a training of so many seconds is long, and a restart of this Space would lose it."""
    return seconds is not None and seconds >= LONG_SECONDS and not outlives_restart(home())


def lines_at_start(resolved: ResolvedConfig, stop: threading.Event) -> list[Sentence]:
    """Return what the command line proposes before a long training. Where it may be long, its data is checked first."""
    facts = _facts(resolved, stop)
    forecast = forecast_of_presets(resolved, facts, LOCAL_OWNER).get(AS_SET)
    seconds = forecast.seconds if forecast else None
    lines = []
    if job := elsewhere(resolved, facts, seconds):
        how = _("Start it: {command}", command=job.command(resolved.config)) if token_of(None) else sign_in_words()
        lines.append(joined([job.sentence(), how]))
    if is_lost(seconds) and (words := lost_words(home())):
        lines.append(words)
    return lines


def _facts(resolved: ResolvedConfig, stop: threading.Event) -> DataFacts | None:
    """Return the facts of the rows; None where they cannot take long, be read, or are on the Hub."""
    config, sets = resolved.config, data_sets(resolved.config.data)
    if config.data == EXAMPLE and not config.text_data:
        return EXAMPLE_FACTS
    if resolved.hardware.has_gpu or not all(Path(one.place).is_file() for one in sets):
        return None
    tokens = sum(Path(one.place).stat().st_size for one in sets)  # at most one a byte, except in compressed files
    rows = max(1, tokens // config.max_length)
    most: DataFacts = {
        "train_rows": rows,
        "tokens": tokens,
        "trained_tokens": tokens,
        "longest": config.max_length,
        "mean_length": config.max_length,
    }
    forecast = forecast_of_presets(resolved, most, LOCAL_OWNER).get(AS_SET)
    if forecast is None or forecast.seconds < LONG_SECONDS:
        return None
    try:
        return facts_in(check(config.data_settings(), stop=stop))
    except UserError:  # stopped, or the start will say the same
        return None
