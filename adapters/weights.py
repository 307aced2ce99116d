"""What a safetensors file of a LoRA adapter says of itself, read from its header alone and checked against the base.

Standard library only: nothing is loaded, and nothing that the header claims is believed before its numbers add up.
"""

import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from models.family import MODULES, ModelShape

MAX_HEADER_BYTES = 2_000_000  # three tensors for each of seven modules in 256 layers take a third of it
BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_KEY = re.compile(
    r"base_model\.model\.model\.layers\.(\d{1,4})\.(self_attn|mlp)\.([a-z_]+)\.(lora_A|lora_B|lora_magnitude_vector)(?:\.weight)?"
)


@dataclass(frozen=True)
class Weights:
    """What was found: the rank, the modules that have an adapter, the number of parameters, and how many layers."""

    rank: int
    modules: tuple[str, ...]
    parameters: int
    layers: int
    has_dora: bool


def read_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """{tensor: (dtype, shape)} of a safetensors file. Raises UserError unless its parts fill the file exactly."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise UserError(f"{path.name} is not a safetensors file, or it is cut off.", "Get it again.")
        try:
            header = json.loads(file.read(length))
            tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
            found = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in tensors.items()}
            spans = sorted((*entry["data_offsets"], name) for name, entry in tensors.items())
            _check_spans(spans, found, size - 8 - length)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"The header of {path.name} is damaged.", "Get it again.") from error
    return found


def _check_spans(spans: list, found: dict, size: int) -> None:
    """The tensors lie one after the other, each as long as its shape says. Raises ValueError."""
    place = 0
    for begin, end, name in spans:
        dtype, shape = found[name]
        if not all(type(number) is int and 0 < number < 2**31 for number in shape):
            raise ValueError(f"the shape of {name}")
        if begin != place or end - begin != math.prod(shape) * BYTES[dtype]:
            raise ValueError(f"the bytes of {name}")
        place = end
    if place != size:
        raise ValueError("bytes that belong to nothing")


def check_weights(path: Path, config: dict, base: ModelShape | None) -> Weights:
    """The LoRA in `path`, checked against its adapter_config.json and, where it is known, the shape of the base.

    Raises UserError that names the first tensor that does not fit, with what was expected.
    """
    found = read_header(path)
    parts: dict[tuple[int, str], dict[str, tuple[int, ...]]] = {}
    for name, (_, shape) in found.items():
        match = _KEY.fullmatch(name)
        if not match or MODULES.get(match[3]) != match[2]:
            raise UserError(f"The weights hold '{name[:100]}', which is no LoRA of a layer.", "Not imported.")
        parts.setdefault((int(match[1]), match[3]), {})[match[4]] = shape
    if not parts:
        raise UserError(f"{path.name} holds no weights.", "Get the adapter again.")
    for (layer, module), shapes in parts.items():
        _check_pair(layer, module, shapes, config["r"], _expected(module, layer, base))
    modules = tuple(module for module in MODULES if any(module == key[1] for key in parts))
    _check_modules(modules, config["target_modules"])
    return Weights(
        rank=config["r"],
        modules=modules,
        parameters=sum(math.prod(shape) for _, shape in found.values()),
        layers=len({layer for layer, _ in parts}),
        has_dora=any("lora_magnitude_vector" in shapes for shapes in parts.values()),
    )


def _check_pair(layer: int, module: str, shapes: dict, rank: int, expected: tuple[int, int] | None) -> None:
    """lora_A is (rank, in), lora_B is (out, rank), as nn.Linear keeps them."""
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
    """(in, out) of a linear layer of the base; None when the base is not known. Raises UserError."""
    if base is None:
        return None
    if layer >= base.num_hidden_layers:
        raise UserError(
            f"The adapter has a layer {layer}, the base only {base.num_hidden_layers}.", "It was made for another base."
        )
    return base.modules[module]


def _check_modules(modules: tuple[str, ...], named: list[str] | str) -> None:
    wanted = set(modules) if named == "all-linear" else {name.rsplit(".", 1)[-1] for name in named}
    if wanted != set(modules):
        raise UserError(
            f"adapter_config.json names {', '.join(sorted(wanted))}; the weights are of {', '.join(modules)}.",
            "The files do not belong together.",
        )
