"""Whether an adapter fits a base, read from its files before anything is attached, for chat, training and merging.

By the name of the base (`check_base`), and by its layers (`check_fits`).
"""

from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import read_json
from common.imports import import_lock
from common.language import _
from models.base import KEEPING_THE_BASE, MAX_ADAPTER_CONFIG_BYTES, MAX_TARGET_MODULES, Base

MAX_HEADER_BYTES = 2_000_000  # three tensors for each of seven modules in 256 layers take a third of it
HINT = _("Choose an adapter of this base, or the base that it was trained on.")


def check_base(name: str, trained_on: object, base: Base) -> None:
    """Raise UserError when the adapter was trained on another Hub id than `base` has; a folder is checked by its layers alone."""
    are_ids = base.source != "folder" and trained_on and not Path(str(trained_on)).is_absolute()
    if are_ids and trained_on != base.model_id:
        words = _(
            "The adapter '{name}' was trained on {trained_on}; this base is {base}.",
            name=name,
            trained_on=str(trained_on),
            base=base.model_id,
        )
        raise UserError(words, HINT)


def header_bytes(path: Path) -> int:
    """Return the length of the header that a safetensors file claims, 0 for a file of less than eight bytes."""
    with open(path, "rb") as file:
        start = file.read(8)
    return int.from_bytes(start, "little") if len(start) == 8 else 0


def check_fits(folder: Path, network, name: str = "") -> None:
    """Raise UserError unless the adapter in `folder` is a LoRA whose tensors fit the layers of `network`."""
    from safetensors import SafetensorError, safe_open

    name = name or folder.name
    rank = read_rank(folder, name)
    settings: Any = read_json(folder / "adapter_config.json", {}, MAX_ADAPTER_CONFIG_BYTES)
    base = network.get_base_model() if hasattr(network, "get_base_model") else network
    layers = dict(base.named_modules())
    try:
        if header_bytes(folder / "adapter_model.safetensors") > MAX_HEADER_BYTES:
            raise damaged(folder, ValueError(_("its header is longer than that of any LoRA")), name)
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as weights:
            shapes = {key: weights.get_slice(key).get_shape() for key in weights.keys()}  # noqa: SIM118, no mapping
    except (OSError, SafetensorError) as error:
        raise damaged(folder, error, name) from error
    for key, shape in shapes.items():
        path, is_lora, part = key.removeprefix("base_model.model.").partition(".lora_")
        layer = layers.get(path)
        if not is_lora and not _is_own(path, list(shape), settings, layers):
            words = _("The adapter '{name}' changes the base itself: {layer}.", name=name, layer=key[:80])
            raise UserError(words, _("Only LoRA adapters are supported."))
        if not is_lora:
            continue
        if layer is None:
            words = _(
                "The adapter '{name}' does not fit this base, which has no layer {layer}.", name=name, layer=path[:80]
            )
            raise UserError(words, HINT)
        sizes = (getattr(layer, "out_features", None), getattr(layer, "in_features", None))
        wanted = {"A.weight": [rank, sizes[1]], "B.weight": [sizes[0], rank]}.get(part, shape)
        if any(own is not None and own != found for own, found in zip(wanted, shape, strict=False)):
            words = _(
                "The adapter '{name}' does not fit this base: {layer} goes from {inputs} to {outputs}, its {part} is {shape}.",
                name=name,
                layer=path,
                inputs=sizes[1],
                outputs=sizes[0],
                part=part,
                shape=str(list(shape)),
            )
            raise UserError(words, HINT)


def _is_own(tensor: str, shape: list[int], settings: dict[str, Any], layers: dict[str, Any]) -> bool:
    """Return whether a tensor that is no LoRA is one that PEFT keeps beside the base's layer, and of its size.

    That is a whole layer in `modules_to_save`, or the rows of `trainable_token_indices`.
    """
    path, is_token, part = tensor.partition(".token_adapter.")
    path, part = (path, part) if is_token else tensor.rsplit(".", 1)
    weight = getattr(getattr(layers.get(path), "original_module", layers.get(path)), "weight", None)
    if weight is None:
        return False
    if not is_token:
        names = settings.get("modules_to_save") or ()
        return part == "weight" and path.endswith(tuple(names)) and shape == list(weight.shape)
    tokens = settings.get("trainable_token_indices") or ()
    numbers = tokens.get(path.rpartition(".")[2], ()) if isinstance(tokens, dict) else tokens
    is_inside = all(0 <= number < weight.shape[0] for number in numbers)
    return part == "trainable_tokens_delta" and is_inside and shape == [len(numbers), weight.shape[1]]


def read_rank(folder: Path, name: str) -> int | None:
    """Return the rank of the LoRA in `folder`, None when its layers differ. Raises UserError unless it is a LoRA."""
    with import_lock:
        from peft import LoraConfig, PeftConfig

    values = read_json(folder / "adapter_config.json", None, MAX_ADAPTER_CONFIG_BYTES)
    if not isinstance(values, dict):
        raise damaged(folder, ValueError(_("adapter_config.json is not a JSON object")), name)
    targets = values.get("target_modules")
    if isinstance(targets, list) and len(targets) > MAX_TARGET_MODULES:
        words = _("The adapter '{name}' lists {count:,} modules.", name=name, count=len(targets))
        raise UserError(words, _("At most {most:,} are allowed.", most=MAX_TARGET_MODULES))
    try:
        config = PeftConfig.from_pretrained(str(folder))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(folder, error, name) from error
    is_lora = isinstance(config, LoraConfig) and config.task_type in (None, "CAUSAL_LM")
    is_lora = is_lora and config.init_lora_weights in KEEPING_THE_BASE  # all share it
    targets = config.target_modules if is_lora else None
    names = [targets] if isinstance(targets, str) else targets
    has_rank = is_lora and type(config.r) is int and config.r > 0 and isinstance(config.lora_alpha, int | float)
    if not has_rank or not isinstance(names, set | list) or not all(isinstance(name, str) for name in names):
        words = _("The adapter '{name}' is not a LoRA adapter that can be run.", name=name)
        raise UserError(words, _("Check its adapter_config.json."))
    return None if config.rank_pattern else config.r


def damaged(folder: Path, error: BaseException, name: str = "") -> UserError:
    """Return the sentence for an adapter that cannot be read, without a path of the server."""
    first_line = (str(error).splitlines() or [type(error).__name__])[0].replace(str(folder), folder.name)[:200]
    words = _("The adapter '{name}' cannot be read ({error}).", name=name or folder.name, error=first_line.rstrip("."))
    return UserError(words, _("Download it again."))
