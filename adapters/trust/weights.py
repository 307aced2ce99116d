"""Checks the tensors of a LoRA adapter against its settings and its base, by the header of the safetensors file alone.

safetensors checks that the tensors fill the file exactly; the length of the header is checked here before it opens the file.
"""

import re
import struct
from pathlib import Path
from typing import Required, TypedDict

from common.errors import UserError
from models.family import MODULES, ModelShape

MAX_HEADER_BYTES = 2_000_000  # three tensors for each of seven modules in 256 layers take a third of it
DTYPES = ("F64", "F32", "F16", "BF16")
_KEY = re.compile(
    r"base_model\.model\.model\.layers\.(\d{1,4})\.(self_attn|mlp)\.([a-z_]+)\.(lora_A|lora_B|lora_magnitude_vector)(?:\.weight)?"
)


Shape = tuple[int, ...]


class AdapterConfig(TypedDict, total=False):
    """The fields of an adapter_config.json that are used after `check.check_config`."""

    r: Required[int]
    lora_alpha: Required[float]
    target_modules: Required[list[str] | str]
    base_model_name_or_path: Required[str]
    revision: str | None
    use_dora: bool | None
    use_rslora: bool | None


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
    for name, shape in _read_shapes(path).items():
        match = _KEY.fullmatch(name)
        if not match or MODULES.get(match[3]) != match[2]:
            raise UserError(f"The weights hold '{name[:100]}', which is no LoRA of a layer.", "Not imported.")
        parts.setdefault((int(match[1]), match[3]), {})[match[4]] = shape
    if not parts:
        raise UserError(f"{path.name} holds no weights.", "Get the adapter again.")
    for (layer, module), shapes in parts.items():
        _check_pair(layer, module, shapes, config["r"], _expected(module, layer, base))
    modules = {module for _, module in parts}
    named = config["target_modules"]
    wanted = modules if named == "all-linear" else {name.rsplit(".", 1)[-1] for name in named}
    if wanted != modules:
        raise UserError(
            f"adapter_config.json names {', '.join(sorted(wanted))}; the weights are of {', '.join(sorted(modules))}.",
            "The files do not belong together.",
        )


def _check_pair(layer: int, module: str, shapes: dict[str, Shape], rank: int, expected: tuple[int, int] | None) -> None:
    """Raise UserError unless lora_A is (rank, in) and lora_B (out, rank), as nn.Linear keeps them.

    `expected` is (in, out) of the base's layer, None when it is not known.
    """
    where = f"layer {layer}, {module}"
    if not {"lora_A", "lora_B"} <= set(shapes):
        raise UserError(f"Half of the adapter of {where} is missing.", "Get it again.")
    a, b = shapes["lora_A"], shapes["lora_B"]
    if len(a) != 2 or len(b) != 2 or a[0] != rank or b[1] != rank:
        raise UserError(
            f"The rank is {rank}, but {where} has {list(a)} and {list(b)}.", "The files do not belong together."
        )
    if expected and (a[1], b[0]) != expected:
        raise UserError(
            f"The adapter does not fit its base: {where} goes from {a[1]} to {b[0]}, "
            f"the base's from {expected[0]} to {expected[1]}.",
            "It was made for another base.",
        )


def _expected(module: str, layer: int, base: ModelShape | None) -> tuple[int, int] | None:
    """Return (in, out) of a linear layer of the base, None without a base. Raises UserError for a layer that it lacks."""
    if base is None:
        return None
    if layer >= base.num_hidden_layers:
        raise UserError(
            f"The adapter has a layer {layer}, the base only {base.num_hidden_layers}.", "It was made for another base."
        )
    return base.modules[module]
