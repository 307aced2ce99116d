"""Checks the tensors of a LoRA adapter against its settings and its base, by the header of the safetensors file alone.

safetensors checks that the tensors fill the file exactly; the length of the header is checked here before it opens the file.
"""

import re
import struct
from collections.abc import Mapping
from pathlib import Path

from adapters.trust.layers import AdapterConfig, Layers, path_of
from common.errors import UserError
from models.family import MODULES, ModelShape

MAX_HEADER_BYTES = 2_000_000  # three tensors for each of seven modules in 256 layers take a third of it
MAX_LAYERS = 1000
DTYPES = ("F64", "F32", "F16", "BF16")
_KEY = re.compile(
    r"base_model\.model\.model\.layers\.(\d{1,4})\.(self_attn|mlp)\.([a-z_]+)\.(lora_A|lora_B|lora_magnitude_vector)(?:\.weight)?"
)
_EMBEDDING = re.compile(
    r"base_model\.model\.(model\.embed_tokens|lm_head)\.(weight|token_adapter\.trainable_tokens_delta)"
)
TRAIN_AGAIN = "Train it again without it, or merge it where it was made and use the merged model as a base here."
ANOTHER_BASE = "It was made for another base."
NOT_TOGETHER = "The files do not belong together."

Shape = tuple[int, ...]


def header_bytes(path: Path) -> int:
    """Return the length of the header that a safetensors file claims, 0 for a file of less than eight bytes."""
    with open(path, "rb") as file:
        start = file.read(8)
    return struct.unpack("<Q", start)[0] if len(start) == 8 else 0


def _read_shapes(path: Path) -> dict[str, Shape]:
    """Return {tensor: shape} of a safetensors file; loads no tensor. Raises UserError for a damaged or an odd one."""
    from safetensors import SafetensorError, safe_open

    if header_bytes(path) > MAX_HEADER_BYTES:  # safetensors itself would read 100 MB of JSON
        raise UserError(f"The header of {path.name}, a safetensors file, is longer than an adapter's.", "Get it again.")
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            is_odd = any(part.get_dtype() not in DTYPES for part in slices.values())
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path.name} is damaged, cut off, or not a safetensors file.", "Get it again.") from error
    if is_odd or any(number < 1 for shape in shapes.values() for number in shape):
        raise UserError(f"{path.name} is a safetensors file, but not of numbers that a LoRA has.", "Get it again.")
    return shapes


def check_weights(path: Path, config: AdapterConfig, base: ModelShape | None) -> None:
    """Check the LoRA in `path` against its adapter_config.json and, where it is known, the shape of the base.

    Raises UserError that names the first tensor that does not fit, with what was expected.
    """
    parts: dict[tuple[int, str], dict[str, Shape]] = {}
    embeddings: dict[tuple[str, str], Shape] = {}
    for name, shape in _read_shapes(path).items():
        match, embedding = _KEY.fullmatch(name), _EMBEDDING.fullmatch(name)
        if embedding:
            embeddings[embedding[1].rpartition(".")[2], embedding[2].rpartition(".")[2]] = shape
        elif match and MODULES.get(match[3]) == match[2]:
            parts.setdefault((int(match[1]), match[3]), {})[match[4]] = shape
        elif name.endswith(".bias"):
            raise UserError(f"It trains biases of the base: {name[:100]}.", TRAIN_AGAIN)
        else:
            raise UserError(f"The weights hold '{name[:100]}', which is no LoRA of a layer.", "Not imported.")
    if not parts:
        raise UserError(f"{path.name} holds no weights.", "Get the adapter again.")
    named = Layers(config)
    for (layer, module), shapes in parts.items():
        _check_pair(layer, module, shapes, named.rank(path_of(layer, module)), _expected(module, layer, base))
    _check_named(config, named, set(parts), base)
    _check_embeddings(config, embeddings, base)


def _check_named(config: AdapterConfig, settings: Layers, found: set[tuple[int, str]], base: ModelShape | None) -> None:
    """Raise UserError unless the settings name the layers that have weights: PEFT passes over all others in silence."""
    layers = range(min(base.num_hidden_layers, MAX_LAYERS)) if base else sorted({layer for layer, _ in found})
    named = {(layer, module) for layer in layers for module in MODULES if settings.changes(layer, module)}
    wanted, there = ({module for _, module in pairs} for pairs in (named, found))
    if wanted != there and config["target_modules"] != "all-linear":  # of which a base has more, or others
        raise UserError(
            f"adapter_config.json names {', '.join(sorted(wanted)) or 'nothing'}; "
            f"the weights are of {', '.join(sorted(there))}.",
            NOT_TOGETHER,
        )
    extra, missing = found - named, named - found
    if extra or (missing and config.get("init_lora_weights") is False):  # PEFT fills those with chance
        layer, module = min(extra or missing)
        words = "names no LoRA of" if extra else "names a LoRA that has no weights, of"
        raise UserError(f"adapter_config.json {words} layer {layer}, {module}.", NOT_TOGETHER)


def _check_embeddings(config: AdapterConfig, found: Mapping[tuple[str, str], Shape], base: ModelShape | None) -> None:
    """Raise UserError unless the embeddings in the weights are those that the settings name, of the base's size.

    What `modules_to_save` does not name, PEFT would write into the base itself.
    """
    whole, tokens = config.get("modules_to_save") or [], config.get("trainable_token_indices") or {}
    groups = tokens if isinstance(tokens, dict) else {"embed_tokens": tokens}
    wanted = {(name, "weight"): 0 for name in whole}
    wanted |= {(name, "trainable_tokens_delta"): len(numbers) for name, numbers in groups.items()}
    for (name, kind), shape in found.items():
        rows = wanted.get((name, kind)) or (base.vocab_size if base else shape[0])
        if kind == "weight" and shape[0] != rows:
            words = f"It brings {name} of {shape[0]:,} tokens; its base has {rows:,}."
            raise UserError(words, "Train it again without adding tokens, or on a base that has them.")
        if (name, kind) not in wanted:
            words = f"The weights hold {name} of the base, which adapter_config.json does not name in modules_to_save."
            raise UserError(words, "Save it again with save_embedding_layers=False, or with modules_to_save.")
        if len(shape) != 2 or shape != (rows, base.hidden_size if base else shape[1]):
            raise UserError(f"{name} in the weights has {list(shape)}, not {rows} rows of the base.", NOT_TOGETHER)
    is_tied = base is not None and base.tie_word_embeddings  # then the head follows the embeddings
    if missing := [name for name, kind in wanted if (name, kind) not in found and not (is_tied and kind != "weight")]:
        words = f"adapter_config.json trains whole layers of the base, {', '.join(missing)}, and the weights lack them."
        raise UserError(words, NOT_TOGETHER)
    highest = max((number for numbers in groups.values() for number in numbers), default=0)
    if base and highest >= base.vocab_size:
        words = f"It trains token {highest:,}; its base has the tokens 0 to {base.vocab_size - 1:,}."
        raise UserError(words, "Train it on a base that has room for the token, or with tokens that the base has.")


def _check_pair(layer: int, module: str, shapes: dict[str, Shape], rank: int, expected: tuple[int, int] | None) -> None:
    """Raise UserError unless lora_A is (rank, in) and lora_B (out, rank), as nn.Linear keeps them.

    `expected` is (in, out) of the base's layer, None when it is not known.
    """
    where = f"layer {layer}, {module}"
    if not {"lora_A", "lora_B"} <= set(shapes):
        raise UserError(f"Half of the adapter of {where} is missing.", "Get it again.")
    a, b = shapes["lora_A"], shapes["lora_B"]
    if len(a) != 2 or len(b) != 2 or a[0] != rank or b[1] != rank:
        raise UserError(f"The rank is {rank}, but {where} has {list(a)} and {list(b)}.", NOT_TOGETHER)
    if expected and (a[1], b[0]) != expected:
        raise UserError(
            f"The adapter does not fit its base: {where} goes from {a[1]} to {b[0]}, "
            f"the base's from {expected[0]} to {expected[1]}.",
            ANOTHER_BASE,
        )


def _expected(module: str, layer: int, base: ModelShape | None) -> tuple[int, int] | None:
    """Return (in, out) of a linear layer of the base, None without a base. Raises UserError for a layer that it lacks."""
    if base is None:
        return None
    if layer >= base.num_hidden_layers:
        raise UserError(f"The adapter has a layer {layer}, the base only {base.num_hidden_layers}.", ANOTHER_BASE)
    return base.modules[module]
