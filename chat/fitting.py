"""May this adapter be attached to this base? Looked at in its files, before anything is loaded. Raises UserError."""

from pathlib import Path

from common.errors import UserError
from common.files import read_json
from common.imports import import_lock
from models.base import KEEPING_THE_BASE, MAX_ADAPTER_CONFIG_BYTES, MAX_TARGET_MODULES

MAX_HEADER_BYTES = 2_000_000


def damaged(folder: Path, error: BaseException) -> UserError:
    """The sentence for an adapter that cannot be read, without a path of the server."""
    first_line = (str(error).splitlines() or [type(error).__name__])[0].replace(str(folder), folder.name)[:200]
    return UserError(f"The adapter '{folder.name}' cannot be read: {first_line}", "Pull it again.")


def check_fits(folder: Path, network) -> None:
    """Raise UserError for an adapter that is no whole LoRA of this base, before anything is attached."""
    from safetensors import SafetensorError, safe_open

    rank = read_rank(folder)
    base = network.get_base_model() if hasattr(network, "get_base_model") else network
    layers = dict(base.named_modules())
    try:
        with open(folder / "adapter_model.safetensors", "rb") as file:
            if int.from_bytes(file.read(8), "little") > MAX_HEADER_BYTES:
                raise UserError(f"The adapter '{folder.name}' has a header that no LoRA has.", "Pull it again.")
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as weights:
            shapes = {key: weights.get_slice(key).get_shape() for key in weights.keys()}  # noqa: SIM118, no mapping
    except (OSError, SafetensorError) as error:
        raise damaged(folder, error) from error
    for key, shape in shapes.items():
        path, is_lora, part = key.removeprefix("base_model.model.").partition(".lora_")
        layer = layers.get(path)
        if not is_lora:
            raise UserError(f"The adapter '{folder.name}' changes the base itself: {key[:80]}.", "Only LoRA runs here.")
        if layer is None:
            raise UserError(f"The adapter '{folder.name}' is made for another base: this one has no layer {path}.")
        sizes = (getattr(layer, "out_features", None), getattr(layer, "in_features", None))
        wanted = {"A.weight": [rank, sizes[1]], "B.weight": [sizes[0], rank]}.get(part, shape)
        if any(own is not None and own != found for own, found in zip(wanted, shape, strict=False)):
            raise UserError(
                f"The adapter '{folder.name}' is made for another base: {path} has another size there.",
                "Pick the base that it was trained on.",
            )


def read_rank(folder: Path) -> int | None:
    """The rank of the LoRA in `folder`, None when its layers differ. Raises UserError for anything else than a LoRA."""
    with import_lock:
        from peft import LoraConfig, PeftConfig

    values = read_json(folder / "adapter_config.json", None, MAX_ADAPTER_CONFIG_BYTES)
    if not isinstance(values, dict):
        raise UserError(
            f"The adapter '{folder.name}' is damaged: adapter_config.json cannot be read.", "Pull it again."
        )
    targets = values.get("target_modules")
    if isinstance(targets, list) and len(targets) > MAX_TARGET_MODULES:
        raise UserError(
            f"The adapter '{folder.name}' names {len(targets):,} modules.", f"{MAX_TARGET_MODULES:,} are the most."
        )
    try:
        config = PeftConfig.from_pretrained(str(folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(folder, error) from error
    is_lora = isinstance(config, LoraConfig) and config.task_type in (None, "CAUSAL_LM")
    is_lora = is_lora and config.init_lora_weights in KEEPING_THE_BASE  # all share it
    targets = config.target_modules if is_lora else None
    names = [targets] if isinstance(targets, str) else targets
    has_rank = is_lora and type(config.r) is int and config.r > 0 and isinstance(config.lora_alpha, int | float)
    if not has_rank or not isinstance(names, set | list) or not all(isinstance(name, str) for name in names):
        raise UserError(f"The adapter '{folder.name}' is no LoRA that can answer.", "Look at its adapter_config.json.")
    return None if config.rank_pattern else config.r
