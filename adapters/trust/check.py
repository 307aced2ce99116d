"""Checks the files of an adapter from elsewhere before anything loads it.

`adapter_config.json` can make PEFT import modules by name, match hostile patterns or grow the base: only fields that are listed
here are accepted. Tokenizer files are kept as they are and never loaded; only the text of the chat template is read and compared
with known ones (`models/templates/choice.py`).
"""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from adapters.library import CONFIG, MAX_METRICS_BYTES, METRICS, SETTINGS, WEIGHTS
from adapters.trust.weights import AdapterConfig, check_weights
from common.errors import UserError
from common.files import parse_json
from models import embedded
from models.base import DEFAULT_BASE, KEEPING_THE_BASE, MAX_ADAPTER_CONFIG_BYTES, MAX_TARGET_MODULES
from models.family import MODULES, TINYLLAMA_SHAPE, ModelShape, shape_from
from models.templates.choice import WHERE, own_text, recognise_for

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json")
TOKENIZER_FILES += ("added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja")
OUR_FILES = (SETTINGS, METRICS, "samples.json", "README.md", "loss.png", "LICENSE")
FILES = (CONFIG, WEIGHTS, *TOKENIZER_FILES, *OUR_FILES)
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
MAX_FILE_BYTES = 20_000_000
# of one file; those that are not named here may have MAX_FILE_BYTES
MAX_BYTES = {
    WEIGHTS: 2_000_000_000,
    CONFIG: MAX_ADAPTER_CONFIG_BYTES,
    SETTINGS: 100_000,
    METRICS: MAX_METRICS_BYTES,
    "samples.json": 1_000_000,
    "README.md": 1_000_000,
    "LICENSE": 200_000,
}
MAX_RANK = 256
_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_PLACE = re.compile(r"(?:[a-z0-9_]{1,20}\.){0,6}[a-z_]{1,20}")
_REVISION = re.compile(r"[\w][\w./-]{0,99}")
# fields of LoraConfig that change what is computed, or what is imported, beyond a plain LoRA
REFUSED = {
    "modules_to_save": "trains whole layers of the base",
    "auto_mapping": "names code to import",
    "megatron_config": "names code to import",
    "layer_replication": "repeats layers of the base",
    "trainable_token_indices": "changes tokens of the base",
    "rank_pattern": "gives layers different ranks",
    "alpha_pattern": "gives layers different scales",
    "exclude_modules": "leaves layers out by a pattern",
    "layers_to_transform": "picks single layers",
    "layers_pattern": "picks layers by a pattern",
    "target_parameters": "changes parameters outside of the linear layers",
    "alora_invocation_tokens": "is an activated LoRA",
    "lora_bias": "trains biases",
    "fan_in_fan_out": "is for another kind of layer",
    "monteclora_config": "is another kind of LoRA",
    "arrow_config": "is another kind of LoRA",
    "use_qalora": "is another kind of LoRA",
    "use_bdlora": "is another kind of LoRA",
    "velora_config": "is another kind of LoRA",
    "kasa_config": "is another kind of LoRA",
    "eva_config": "starts from data that is not here",
    "corda_config": "starts from data that is not here",
    "lora_ga_config": "starts from data that is not here",
    "loftq_config": "quantises the base in its own way",
    "runtime_config": "changes how it is loaded",
    "ensure_weight_tying": "trains whole layers of the base",
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


def check_adapter(folder: Path, base: ModelShape | None = None) -> None:
    """Raise UserError unless `folder` holds a whole, harmless LoRA; with `base`, of that base."""
    for name, most in MAX_BYTES.items():
        if (folder / name).exists():
            _check_size(folder / name, most)
    config = check_config(require_object(folder / CONFIG, MAX_BYTES[CONFIG]))
    if (folder / METRICS).exists():  # read whenever the library is shown
        require_object(folder / METRICS, MAX_METRICS_BYTES)
    check_weights(folder / WEIGHTS, config, base)


def template_note(folder: Path, model_id: str) -> list[str]:
    """Return a sentence when the adapter's chat template is not known here; [] for any other."""
    if recognise_for(own_text(folder), known_base_template(model_id)) is not None:
        return []
    return [f"It brings a chat template that is not known here, so that it cannot answer yet. {WHERE}"]


def max_bytes(name: str) -> int:
    """Return the most bytes that a file of this name may have."""
    return MAX_BYTES.get(name, MAX_FILE_BYTES)


def _check_size(path: Path, most: int) -> None:
    """Raise UserError for a file of more than `most` bytes."""
    if path.stat().st_size > most:
        raise UserError(f"{path.name} has {path.stat().st_size / 1e6:.1f} MB.", "That is no such file. Not imported.")


def require_object(path: Path, max_bytes: int = MAX_FILE_BYTES) -> dict[str, Any]:
    """Return the JSON object in `path`. Raises UserError when it is missing, too large, or no object."""
    try:
        _check_size(path, max_bytes)
        value = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path.name} is missing or damaged.", "Get the adapter again.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path.name} holds no JSON object.", "Get the adapter again.")
    return value


def check_config(config: dict[str, Any]) -> AdapterConfig:
    """Return the adapter_config.json unchanged if it is a plain LoRA. Raises UserError with the first field that is not."""
    if config.get("peft_type") != "LORA":
        raise UserError(f"This is a {str(config.get('peft_type'))[:40]} adapter.", "Only LoRA adapters run here.")
    for name, reason in REFUSED.items():
        if config.get(name):
            raise UserError(f"adapter_config.json sets {name}: it {reason}.", "Such adapters do not run here.")
    for name, allowed in HARMLESS.items():
        if config.get(name) is not None and config[name] not in allowed:
            raise UserError(
                f"adapter_config.json sets {name} to {str(config[name])[:40]!r}.", "That is not known here."
            )
    odd = [name for name in SWITCHES if config.get(name) not in (None, True, False)]
    dropout = config.get("lora_dropout")
    if odd or not (dropout is None or (isinstance(dropout, int | float) and 0 <= dropout <= 1)):
        raise UserError(
            f"adapter_config.json sets {odd[0] if odd else 'lora_dropout'} to something odd.", "Not imported."
        )
    rank, alpha, targets = config.get("r"), config.get("lora_alpha"), config.get("target_modules")
    if type(rank) is not int or not 1 <= rank <= MAX_RANK:
        raise UserError(f"The rank is {str(rank)[:40]}.", f"It must be between 1 and {MAX_RANK}.")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha <= 100_000:
        raise UserError(f"lora_alpha is {str(alpha)[:40]}.", "It must be a positive number.")
    if isinstance(targets, list) and len(targets) > MAX_TARGET_MODULES:
        raise UserError(f"target_modules has {len(targets):,} names.", f"{MAX_TARGET_MODULES:,} are the most.")
    if targets != "all-linear" and not (isinstance(targets, list) and targets and all(map(_is_module, targets))):
        raise UserError(f"target_modules is {str(targets)[:80]}.", f"It must be a list of {', '.join(MODULES)}.")
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not (_is_hub_id(base) or Path(base).is_absolute()):
        raise UserError(f"The base is named '{str(base)[:80]}'.", "It must be a Hub id, owner/name.")
    revision = config.get("revision")
    if revision is not None and (
        not isinstance(revision, str) or not _REVISION.fullmatch(revision) or ".." in revision
    ):
        raise UserError(f"The revision of the base is '{str(revision)[:80]}'.", "That is no commit, tag or branch.")
    return cast(AdapterConfig, config)


def _is_hub_id(text: str) -> bool:
    """Return whether the Hub could have a model of this name: it has rules of its own for '.', '-' and two of them."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    with suppress(HFValidationError):
        validate_repo_id(text)
        return bool(_ID.fullmatch(text))
    return False


def _is_module(name: object) -> bool:
    """Return whether `name` is a known linear layer, by its name or its place in the model; patterns are refused."""
    return isinstance(name, str) and bool(_PLACE.fullmatch(name)) and name.rsplit(".", 1)[-1] in MODULES


def known_base_shape(model_id: str) -> ModelShape | None:
    """Return the shape of a base whose config.json is on this machine, None without one. Raises UserError like `shape_from`."""
    for folder in _base_folders(model_id):
        if (folder / "config.json").is_file():
            return shape_from(require_object(folder / "config.json"), f"Its base, {model_id},")
    return TINYLLAMA_SHAPE if model_id == DEFAULT_BASE else None


def known_base_template(model_id: str) -> str | None:
    """Return the chat template of a base that is on this machine, None without one."""
    return next((text for folder in _base_folders(model_id) if (text := own_text(folder)) is not None), None)


def _base_folders(model_id: str) -> list[Path]:
    """Return the folders on this machine that may hold the files of a base."""
    from huggingface_hub import try_to_load_from_cache

    folders = [embedded.folder()] if model_id == embedded.HUB_ID else []
    cached = try_to_load_from_cache(model_id, "config.json") if _is_hub_id(model_id) else None
    folders += [Path(cached).parent] if isinstance(cached, str) else []
    return folders + ([Path(model_id)] if Path(model_id).is_absolute() else [])
