"""Makes a plain LoRA of one whose training began in a way of its own, which PEFT would repeat in everybody's base.

EVA, MiCA and the orthogonal start choose the first numbers and leave the base alone: what was trained is a LoRA like any other.
PiSSA, OLoRA, CorDA and LoRA-GA take a part out of the base, so that only with the adapter's first weights, B0 and A0, a LoRA for
the whole base can be computed: BA - B0A0 = [B, -B0][A; A0], as in peft's LoraModel.subtract_mutated_init.
"""

from pathlib import Path
from threading import Lock
from typing import Any

from adapters.library import CONFIG, WEIGHTS
from adapters.trust.check import MAX_BYTES, require_object
from adapters.trust.config import check_config
from adapters.trust.weights import NOT_TOGETHER, check_weights
from common.errors import UserError
from common.files import write_json
from common.language import Sentence, _, joined
from models.family import ModelShape

MERGE = _("Merge it where it was made.")
INITIAL = "initial"  # the folder in a staged adapter for the weights with which its training began
LEAVING_THE_BASE = ("eva", "orthogonal", "mica")
TAKING_FROM_THE_BASE = ("pissa", "olora", "corda", "lora_ga")
_ONE_AT_A_TIME = Lock()  # visitors who import at once share the memory, of which one takes twice its weights
USUAL_START = {"init_lora_weights": True, "eva_config": None, "corda_config": None, "lora_ga_config": None}


def takes_from_base(config: dict[str, Any]) -> bool:
    """Return whether the training began by taking a part out of the base."""
    start = config.get("init_lora_weights")
    return isinstance(start, str) and start.startswith(TAKING_FROM_THE_BASE)


def plain_config(config: dict[str, Any], has_initial: bool) -> dict[str, Any]:
    """Return the settings of the plain LoRA that this adapter is, or becomes with its initial weights.

    Raises UserError when it takes initial weights that are not there, or cannot be told apart from its base at all.
    """
    plain, start = dict(config), config.get("init_lora_weights")
    if config.get("fan_in_fan_out") is True:  # PEFT turns it off for the layers of every base here
        plain["fan_in_fan_out"] = False
    if config.get("bias") in (
        "all",
        "lora_only",
    ):  # a base has none, or they are in the weights, which are refused then
        plain["bias"] = "none"
    if start in LEAVING_THE_BASE:
        return plain | USUAL_START
    if not takes_from_base(config):
        return plain
    words = _(
        "adapter_config.json sets init_lora_weights to '{value}': the training began with a part of the base's own weights.",
        value=str(start)[:40],
    )
    if not has_initial:
        raise UserError(
            joined([words, _("Without its initial weights it is unclear what was learned.")]),
            _("Save it with path_initial_model_for_weight_conversion, or add them in a folder named pissa_init."),
        )
    patterns = config.get("rank_pattern"), config.get("alpha_pattern")
    beside = [config.get(name) for name in ("modules_to_save", "trainable_token_indices", "use_dora")]
    if any(beside) or (config.get("use_rslora") and any(patterns)):
        raise UserError(joined([words, _("It has other settings that PEFT cannot convert with that.")]), MERGE)
    check_config(plain | USUAL_START)
    doubled = {
        name: {layer: 2 * value for layer, value in (pattern or {}).items()}
        for name, pattern in zip(("rank_pattern", "alpha_pattern"), patterns, strict=True)
    }
    doubled |= {"r": 2 * config["r"], "lora_alpha": config["lora_alpha"] * (2**0.5 if config.get("use_rslora") else 2)}
    return plain | USUAL_START | doubled


def make_plain(folder: Path, base: ModelShape | None) -> list[Sentence]:
    """Write the adapter in `folder` as a plain LoRA, with the weights in `INITIAL` where it needs them.

    Returns a sentence on what was done, [] for nothing. Raises UserError.
    """
    config, initial = require_object(folder / CONFIG, MAX_BYTES[CONFIG]), folder / INITIAL / WEIGHTS
    plain = plain_config(config, initial.is_file())
    if plain == config:
        return []
    notes = []
    if takes_from_base(config):
        _subtract(folder / WEIGHTS, initial, config, base)
        kind = config["init_lora_weights"]
        notes = [_("It began as {kind}; with its initial weights it was converted to a plain LoRA.", kind=kind)]
    write_json(folder / CONFIG, plain)
    return notes


def _subtract(weights: Path, initial: Path, config: dict[str, Any], base: ModelShape | None) -> None:
    """Replace the LoRA in `weights` by its difference from the one in `initial`, of twice the rank. Raises UserError."""
    settings = check_config(config | USUAL_START)
    if 2 * weights.stat().st_size > MAX_BYTES[WEIGHTS]:
        most = MAX_BYTES[WEIGHTS] / 2e9
        words = _("A plain LoRA is twice as large, and its weights have more than {most:.0f} GB.", most=most)
        raise UserError(words, MERGE)
    for path in (weights, initial):
        check_weights(path, settings, base)
    with _ONE_AT_A_TIME:
        _write_difference(weights, initial)


def _write_difference(weights: Path, initial: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    trained, first = load_file(weights), load_file(initial)
    if trained.keys() != first.keys():
        raise UserError(_("The initial weights are of other layers than the adapter."), NOT_TOGETHER)
    for name, values in trained.items():
        parts, dimension = ([values, first[name]], 0) if ".lora_A" in name else ([values, -first[name]], 1)
        trained[name] = torch.cat([part.to(values.dtype) for part in parts], dim=dimension).contiguous()
    save_file(trained, weights, metadata={"format": "pt"})
