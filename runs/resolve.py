"""The one place where settings meet this machine: checked, capped by its owner's limits, the base chosen.

`launch` and `create_run` resolve what they get; whoever has to know before (a plan, an estimate, the page for its look at the
data) hands on the ResolvedConfig. Nobody after it checks, caps or chooses again, until the training process finds out where
it runs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from adapters.library import adapter_title
from common.errors import UserError
from common.language import _, joined, n_
from common.paths import LOCAL_OWNER
from common.visitors import is_guest, is_visitor
from models.base import Base, choose_base
from models.hardware import Hardware, cpu_count, find_gpus, find_hardware
from models.quantised import check_precision
from runs.config import TrainConfig
from runs.fields import Mark, Problem, label_of
from runs.limits import limits
from runs.machines.parallel import NAMES, SPLIT_WEIGHTS, check_machine, mode_of
from runs.machines.user_config import with_user_config

PRECISION_WORDS = {"8bit": _("8 bits"), "4bit": _("4 bits"), "fp32": _("32 bits")}


@dataclass(frozen=True)
class ResolvedConfig:
    """Settings that can start here, with the base that they come to, and the hardware as it was when they were resolved.

    `config` says "auto" where its owner does: who resumes the run on another machine gets what is right there. Only the precision
    of a base that is quantised already is in it, because that is the same everywhere.
    """

    config: TrainConfig
    base: Base
    hardware: Hardware


def resolve(
    config: TrainConfig | ResolvedConfig, choose: Callable[[str, str | None], Base] = choose_base
) -> ResolvedConfig:
    """Check and cap `config` and `choose` its base; one that was resolved stays as it is. Raises UserError."""
    if isinstance(config, ResolvedConfig):
        return config
    config.check()
    config = capped(config)
    hardware = find_hardware()
    config = replace(config, **{name: getattr(TrainConfig, name) for name in config.unused})
    config.precision_on(hardware.has_gpu)  # refuses what this machine cannot compute in
    base = choose(config.base, config.base_revision)
    return ResolvedConfig(in_own_precision(config, base), base, hardware)


def base_in_minute(choice: str, revision: str | None) -> Base:
    """Choose a base for a plan: each is looked up once a minute, because the Hub may be slow and each key stroke plans anew."""
    return _base_of_minute(choice, revision, int(time.time() // 60))


@lru_cache(maxsize=256)
def _base_of_minute(choice: str, revision: str | None, minute: int) -> Base:
    return choose_base(choice, revision)


@dataclass(frozen=True)
class TrainingWords:
    """A training in four parts: 'TinyLlama-1.1B-Chat-v1.0', '8 bits', 'LoRA r16', '2 GPUs by DDP'."""

    base: str
    precision: str
    trained: str
    processes: str
    chosen_by: str = "lora_r"  # the setting that decides what is trained


def training_in_words(resolved: ResolvedConfig, owner: str = LOCAL_OWNER) -> TrainingWords:
    """Return base, precision, what is trained and processes, for '{base} in {precision}, {trained}, {processes}'."""
    config, on_gpu = resolved.config, resolved.hardware.has_gpu
    precision = config.precision_on(on_gpu)
    trained = f"{'DoRA' if config.use_dora else 'LoRA'} r{config.lora_r}"
    if config.method == "full":
        trained = _("all weights")
    elif config.method == "last-n":
        trained = n_("the last layer", "the last {count} layers", config.last_layers)
    elif config.init_adapter:
        trained = _("continuing {adapter}", adapter=adapter_title(config.init_adapter, owner))
    count = config.num_processes
    places = n_("{count} GPU", "{count} GPUs", count) if on_gpu else n_("on the CPU", "{count} CPU processes", count)
    mode = mode_of(config)
    if mode != "single":
        places = _("{processes} by {mode}", processes=places, mode="DDP" if mode == "ddp" else NAMES[mode])
    base = resolved.base.model_id.rstrip("/").rsplit("/", 1)[-1]
    chosen_by = "lora_r" if config.makes_adapter else "method"
    return TrainingWords(base, PRECISION_WORDS.get(precision, precision), trained, places, chosen_by)


def in_own_precision(config: TrainConfig, base: Base) -> TrainConfig:
    """Return `config` with the precision that the weights of `base` are stored in, unchanged for a base in 16 or 32 bits.

    Raises UserError where another precision was asked for, where processes would split such weights, or where they would be
    trained themselves.
    """
    stored = base.quantised
    if stored is None:
        return config
    if not config.makes_adapter:
        raise UserError(
            _("{base} is quantised: its weights cannot be trained themselves.", base=base.model_id),
            _("Choose the method lora, or the model in 16 bits{twin}.", twin=stored.named_twin()),
        )
    check_precision(config.precision, stored, base.model_id)
    if config.parallel in SPLIT_WEIGHTS:
        raise UserError(
            _(
                "{mode} splits the weights over processes, and {base} is already quantised.",
                mode=config.parallel,
                base=base.model_id,
            ),
            _("Use ddp or zero2, or the model in 16 bits{twin}.", twin=stored.named_twin()),
        )
    return replace(config, precision=str(stored.precision))


def capped(config: TrainConfig) -> TrainConfig:
    """Return `config` with this machine's limits, and the numbers of its own accelerate config, in it.

    Raises UserError when it asks for more than is allowed, or than this machine can.
    """
    allowed = limits()
    check_for_visitors(config)
    config = with_user_config(config)
    check_machine(config, find_gpus(), cpu_count())
    for name, most in (("max_minutes", allowed.minutes), ("max_rows", allowed.rows)):
        wanted = getattr(config, name)
        if most and wanted > most:
            words = _("{value:,} is too high; the maximum on this machine is {limit:,}.", value=wanted, limit=most)
            raise UserError(Problem(name, words).sentence())
        if most and not wanted:
            config = replace(config, **{name: most})
    return config


def check_for_visitors(config: TrainConfig) -> None:
    """Raise UserError for what names machines, addresses or files of the server, when a visitor asks for it."""
    named = config.changed(Mark.SERVER) if is_visitor() else []
    if named and is_guest():
        words = _("A guest cannot change {settings}.", settings=joined(map(label_of, named), ", "))
        raise UserError(words, _("Leave it as it is."))
    if named:
        raise UserError(
            _(
                "A Space is a single machine: {settings} cannot be changed.",
                settings=joined(map(label_of, named), ", "),
            ),
            _("Leave it as it is."),
        )
