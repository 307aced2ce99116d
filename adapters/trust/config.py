"""Judges every field of an adapter_config.json before PEFT reads it.

It can make PEFT import modules by name, run hostile patterns or grow the base: only fields that are listed here are accepted,
with values that are plain and bounded.
"""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from adapters.trust.layers import AdapterConfig
from common.errors import UserError
from common.language import _, joined
from models.base import KEEPING_THE_BASE, MAX_TARGET_MODULES
from models.family import MODULES

MAX_RANK = 256
MAX_ALPHA = 100_000
MAX_LAYERS = 1000
MAX_TRAINED_TOKENS = 1000
# in rank_pattern and alpha_pattern together: Python keeps 512 compiled patterns, of more PEFT compiles each again for every layer
MAX_PATTERNS = 500
EMBEDDINGS = ("embed_tokens", "lm_head")  # of a base: what an adapter may replace, in whole or token by token
NOT_IMPORTED, POSITIVE = _("Not imported."), _("It must be a positive number.")
WAY_OUT = _(
    "Train it again without that, or merge it into its base where it was made and use the merged model as a base here."
)
OTHER_KIND, OTHER_DATA = _("That is another kind of LoRA."), _("It starts from data that is not here.")
IMPORTS_CODE = _("It names code to import.")
_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_PLACE = re.compile(r"(?:[a-z0-9_]{1,20}\.){0,6}[a-z_]{1,20}")
_REVISION = re.compile(r"[\w][\w./-]{0,99}")
# fields of LoraConfig that change what is computed, or what is imported, beyond a LoRA
REFUSED = {
    "auto_mapping": IMPORTS_CODE,
    "megatron_config": IMPORTS_CODE,
    "layer_replication": _("It repeats layers of the base."),
    "target_parameters": _("It changes parameters outside the linear layers."),
    "alora_invocation_tokens": _("That is an activated LoRA."),
    "lora_bias": _("It trains biases."),
    "fan_in_fan_out": _("That is for another kind of layer."),
    "monteclora_config": OTHER_KIND,
    "arrow_config": OTHER_KIND,
    "use_qalora": OTHER_KIND,
    "use_bdlora": OTHER_KIND,
    "velora_config": OTHER_KIND,
    "kasa_config": OTHER_KIND,
    "eva_config": OTHER_DATA,
    "corda_config": OTHER_DATA,
    "lora_ga_config": OTHER_DATA,
    "loftq_config": _("It quantises the base in its own way."),
    "runtime_config": _("It changes how the adapter is loaded."),
    "ensure_weight_tying": _("It ties whole layers of the base."),
}
SWITCHES = ("use_rslora", "use_dora", "inference_mode")
# what PEFT writes with values of no consequence for a finished adapter
HARMLESS = {
    "init_lora_weights": KEEPING_THE_BASE,
    "bias": ("none",),
    "task_type": ("CAUSAL_LM",),
    "peft_type": ("LORA",),
    "megatron_core": ("megatron.core",),
    "qalora_group_size": (16,),
}


def check_config(config: dict[str, Any]) -> AdapterConfig:
    """Return the adapter_config.json unchanged if it is a LoRA of this app. Raises UserError with the first field that is not."""
    if config.get("peft_type") != "LORA":
        words = _("This is an adapter of the type {kind}.", kind=str(config.get("peft_type"))[:40])
        raise UserError(words, _("Only LoRA adapters are supported."))
    for name, reason in REFUSED.items():
        if config.get(name):
            raise UserError(joined([_("adapter_config.json sets {field}.", field=name), reason]), WAY_OUT)
    for name, allowed in HARMLESS.items():
        if config.get(name) is not None and config[name] not in allowed:
            raise odd(config, name, WAY_OUT)
    for name in SWITCHES:
        if config.get(name) not in (None, True, False):
            raise odd(config, name)
    dropout = config.get("lora_dropout")
    if dropout is not None and not (_is_number(dropout) and 0 <= dropout <= 1):
        raise odd(config, "lora_dropout")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not _is_rank(rank):
        raise UserError(
            _("The rank is {rank}.", rank=str(rank)[:40]), _("It must be between 1 and {most}.", most=MAX_RANK)
        )
    if not _is_alpha(alpha):
        raise UserError(_("lora_alpha is {alpha}.", alpha=str(alpha)[:40]), POSITIVE)
    _check_targets(config)
    _check_patterns(config)
    _check_embeddings(config)
    _check_base(config)
    return cast(AdapterConfig, config)


def odd(config: dict[str, Any], name: str, hint: str = NOT_IMPORTED) -> UserError:
    """Return the error for a field with a value that is not known here."""
    value = repr(str(config[name])[:40])
    return UserError(
        _("adapter_config.json sets {field} to {value}, which is not known here.", field=name, value=value), hint
    )


def _check_targets(config: dict[str, Any]) -> None:
    """Raise UserError unless plain names and numbers say which layers are changed."""
    targets, numbers = config.get("target_modules"), config.get("layers_to_transform")
    for name in ("target_modules", "exclude_modules", "layers_pattern", "layers_to_transform"):
        value, most = config.get(name), MAX_LAYERS if name == "layers_to_transform" else MAX_TARGET_MODULES
        if isinstance(value, list) and len(value) > most:
            words = _("{field} lists {count:,} names.", field=name, count=len(value))
            raise UserError(words, _("At most {most:,} are allowed.", most=most))
    if targets != "all-linear" and not (isinstance(targets, list) and targets and all(map(_is_module, targets))):
        raise UserError(
            _("target_modules is {value}.", value=str(targets)[:80]),
            _("It must be a list of some of these, written out: {names}.", names=", ".join(MODULES)),
        )
    for name in ("exclude_modules", "layers_pattern"):
        value = config.get(name) or []
        if not all(map(_is_plain, value if isinstance(value, list) else [value])):
            raise _no_plain_names(name, value)
    listed = numbers if isinstance(numbers, list) else [0 if numbers is None else numbers]
    if not all(type(number) is int and 0 <= number < MAX_LAYERS for number in listed):
        raise odd(config, "layers_to_transform")
    needs_list = numbers is not None or config.get("layers_pattern") is not None
    if (targets == "all-linear" and needs_list) or (config.get("layers_pattern") and numbers is None):
        raise UserError(_("adapter_config.json selects layers in a way that PEFT does not load."), WAY_OUT)


def _check_patterns(config: dict[str, Any]) -> None:
    """Raise UserError unless plain names give layers another rank or scale."""
    names: set[str] = set()
    for field, is_value in (("rank_pattern", _is_rank), ("alpha_pattern", _is_alpha)):
        patterns = config.get(field) or {}
        if not isinstance(patterns, dict):
            raise odd(config, field)
        names |= set(patterns)
        if len(names) > MAX_PATTERNS:
            words = _("{field} lists {count:,} names.", field=field, count=len(names))
            raise UserError(words, _("At most {most:,} are allowed.", most=MAX_PATTERNS))
        if wrong := [name for name in patterns if not _is_plain(name.removeprefix("^"))]:
            raise _no_plain_names(field, wrong)
        if wrong := [value for value in patterns.values() if not is_value(value)]:
            words = _("{field} gives a layer the value {value}.", field=field, value=str(wrong[0])[:40])
            raise UserError(words, POSITIVE)


def _check_embeddings(config: dict[str, Any]) -> None:
    """Raise UserError unless what is trained beside the linear layers is the embeddings, or some of their tokens."""
    whole = config.get("modules_to_save") or []
    if not isinstance(whole, list) or not all(name in EMBEDDINGS for name in whole):
        words = _(
            "adapter_config.json sets modules_to_save to {value}: it trains whole layers of the base. Only these are "
            "supported: {names}.",
            value=str(whole)[:80],
            names=", ".join(EMBEDDINGS),
        )
        raise UserError(words, WAY_OUT)
    tokens = config.get("trainable_token_indices") or []
    groups = tokens if isinstance(tokens, dict) else {EMBEDDINGS[0]: tokens}
    if any(name not in EMBEDDINGS or not _are_tokens(numbers) for name, numbers in groups.items()):
        hint = _("It must be a list of at most {most:,} tokens.", most=MAX_TRAINED_TOKENS)
        raise odd(config, "trainable_token_indices", hint)
    if set(groups if tokens else ()) & set(whole):
        raise UserError(_("adapter_config.json trains an embedding twice, as a whole and by token."), WAY_OUT)


def _check_base(config: dict[str, Any]) -> None:
    """Raise UserError unless the base is named as the Hub or a path would name it."""
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(base, str) or not (is_hub_id(base) or Path(base).is_absolute()):
        raise UserError(
            _("The base is named '{base}'.", base=str(base)[:80]), _("It must be a Hugging Face ID: owner/name.")
        )
    if revision is not None and (
        not isinstance(revision, str) or not _REVISION.fullmatch(revision) or ".." in revision
    ):
        words = _("The revision of the base is '{revision}'.", revision=str(revision)[:80])
        raise UserError(words, _("That is not a commit, tag or branch."))


def is_hub_id(text: str) -> bool:
    """Return whether the Hub could have a model of this name: it has rules of its own for '.', '-' and two of them."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    with suppress(HFValidationError):
        validate_repo_id(text)
        return bool(_ID.fullmatch(text))
    return False


def _no_plain_names(field: str, value: object) -> UserError:
    """Return the error for patterns, which are never run here."""
    return UserError(
        _("{field} holds {value}, which is a pattern.", field=field, value=str(value)[:80]),
        _("Write out the names of the layers, as in q_proj."),
    )


def _is_plain(name: object) -> bool:
    """Return whether `name` is a name of a layer, or its place in the model, and no pattern."""
    return isinstance(name, str) and bool(_PLACE.fullmatch(name))


def _is_module(name: object) -> bool:
    """Return whether `name` is a known linear layer, by its name or its place in the model."""
    return _is_plain(name) and str(name).rsplit(".", 1)[-1] in MODULES


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_rank(value: Any) -> bool:
    return type(value) is int and 1 <= value <= MAX_RANK


def _is_alpha(value: Any) -> bool:
    return _is_number(value) and 0 < value <= MAX_ALPHA


def _are_tokens(value: object) -> bool:
    """Return whether `value` is a list of different tokens, by their numbers."""
    if not isinstance(value, list) or len(value) > MAX_TRAINED_TOKENS:
        return False
    return all(type(number) is int and 0 <= number < 2**31 for number in value) and len(set(value)) == len(value)
