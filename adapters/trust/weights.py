"""Checks the tensors of a LoRA adapter against its settings and its base, by the header of the safetensors file alone.

safetensors checks that the tensors fill the file exactly; the length of the header is checked here before it opens the file.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from adapters.trust.config import NOT_IMPORTED, WAY_OUT
from adapters.trust.layers import AdapterConfig, Layers, path_of
from common.errors import UserError
from common.language import _
from models.adapter_fit import MAX_HEADER_BYTES, header_bytes
from models.family import MODULES, ModelShape

MAX_LAYERS = 1000
DTYPES = ("F64", "F32", "F16", "BF16")
_KEY = re.compile(
    r"base_model\.model\.model\.layers\.(\d{1,4})\.(self_attn|mlp)\.([a-z_]+)\.(lora_A|lora_B|lora_magnitude_vector)(?:\.weight)?"
)
_EMBEDDING = re.compile(
    r"base_model\.model\.(model\.embed_tokens|lm_head)\.(weight|token_adapter\.trainable_tokens_delta)"
)
ANOTHER_BASE = _("It was made for another base.")
NOT_TOGETHER = _("The files do not belong together.")
GET_AGAIN = _("Download it again.")

Shape = tuple[int, ...]


def _read_shapes(path: Path) -> dict[str, Shape]:
    """Return {tensor: shape} of a safetensors file; loads no tensor. Raises UserError for a damaged or an odd one."""
    from safetensors import SafetensorError, safe_open

    if header_bytes(path) > MAX_HEADER_BYTES:  # safetensors itself would read 100 MB of JSON
        words = _("The header of {file} is longer than that of any adapter.", file=path.name)
        raise UserError(words, GET_AGAIN)
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            is_odd = any(part.get_dtype() not in DTYPES for part in slices.values())
    except (SafetensorError, OSError) as error:
        words = _("{file} is damaged, cut off, or not a safetensors file.", file=path.name)
        raise UserError(words, GET_AGAIN) from error
    if is_odd or any(number < 1 for shape in shapes.values() for number in shape):
        words = _("{file} is a safetensors file, but its numbers are not those of a LoRA.", file=path.name)
        raise UserError(words, GET_AGAIN)
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
            raise UserError(_("It trains biases of the base: {name}.", name=name[:100]), WAY_OUT)
        else:
            words = _("The weights contain '{name}', which is not the LoRA of a layer.", name=name[:100])
            raise UserError(words, NOT_IMPORTED)
    if not parts:
        raise UserError(_("{file} holds no weights.", file=path.name), GET_AGAIN)
    named = Layers(config)
    for (layer, module), shapes in parts.items():
        _check_pair(layer, module, shapes, named.rank(path_of(layer, module)), _expected(module, layer, base))
    _check_named(config, named, set(parts), base)
    _check_embeddings(config, embeddings, base)


def _check_named(config: AdapterConfig, settings: Layers, found: set[tuple[int, str]], base: ModelShape | None) -> None:
    """Raise UserError unless the settings name the layers that have weights: PEFT passes over all others in silence."""
    layers = range(min(base.num_hidden_layers, MAX_LAYERS)) if base else sorted({layer for layer, _module in found})
    named = {(layer, module) for layer in layers for module in MODULES if settings.changes(layer, module)}
    wanted, there = ({module for _layer, module in pairs} for pairs in (named, found))
    if wanted != there and config["target_modules"] != "all-linear":  # of which a base has more, or others
        raise UserError(
            _(
                "adapter_config.json names {wanted}; the weights are of {found}.",
                wanted=", ".join(sorted(wanted)) or _("nothing"),
                found=", ".join(sorted(there)),
            ),
            NOT_TOGETHER,
        )
    extra, missing = found - named, named - found
    if extra or (missing and config.get("init_lora_weights") is False):  # PEFT fills those with chance
        layer, module = min(extra or missing)
        values = {"layer": layer, "module": module}
        raise UserError(
            _(
                "The weights have a LoRA for {module} of layer {layer}, which adapter_config.json does not name.",
                **values,
            )
            if extra
            else _("adapter_config.json names {module} of layer {layer}, for which there are no weights.", **values),
            NOT_TOGETHER,
        )


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
            words = _(
                "Its {layer} is of {count:,} tokens; its base has {most:,}.", layer=name, count=shape[0], most=rows
            )
            raise UserError(words, _("Train it again without adding tokens, or on a base that has them."))
        if (name, kind) not in wanted:
            words = _(
                "The weights contain {layer} of the base, which adapter_config.json does not name in modules_to_save.",
                layer=name,
            )
            raise UserError(words, _("Save it again with save_embedding_layers=False, or with modules_to_save."))
        if len(shape) != 2 or shape != (rows, base.hidden_size if base else shape[1]):
            words = _(
                "{layer} in the weights has the shape {shape}; the base needs {rows:,} rows.",
                layer=name,
                shape=str(list(shape)),
                rows=rows,
            )
            raise UserError(words, NOT_TOGETHER)
    is_tied = base is not None and base.tie_word_embeddings  # then the head follows the embeddings
    if missing := [name for name, kind in wanted if (name, kind) not in found and not (is_tied and kind != "weight")]:
        words = _(
            "adapter_config.json trains whole layers of the base that the weights lack: {names}.",
            names=", ".join(missing),
        )
        raise UserError(words, NOT_TOGETHER)
    highest = max((number for numbers in groups.values() for number in numbers), default=0)
    if base and highest >= base.vocab_size:
        words = _(
            "It trains token {number:,}; its base has tokens 0 to {last:,}.", number=highest, last=base.vocab_size - 1
        )
        raise UserError(words, _("Train it on a base that has room for the token, or with tokens that the base has."))


def _check_pair(layer: int, module: str, shapes: dict[str, Shape], rank: int, expected: tuple[int, int] | None) -> None:
    """Raise UserError unless lora_A is (rank, in) and lora_B (out, rank), as nn.Linear keeps them.

    `expected` is (in, out) of the base's layer, None when it is not known.
    """
    where = {"layer": layer, "module": module}
    if not {"lora_A", "lora_B"} <= set(shapes):
        raise UserError(_("Half of the LoRA of {module} of layer {layer} is missing.", **where), GET_AGAIN)
    a, b = shapes["lora_A"], shapes["lora_B"]
    if len(a) != 2 or len(b) != 2 or a[0] != rank or b[1] != rank:
        words = _(
            "The rank is {rank}, but {module} of layer {layer} has the shapes {a} and {b}.",
            rank=rank,
            a=str(list(a)),
            b=str(list(b)),
            **where,
        )
        raise UserError(words, NOT_TOGETHER)
    if expected and (a[1], b[0]) != expected:
        raise UserError(
            _(
                "The adapter does not fit its base: {module} of layer {layer} goes from {inputs} to {outputs}, the base's from "
                "{base_inputs} to {base_outputs}.",
                inputs=a[1],
                outputs=b[0],
                base_inputs=expected[0],
                base_outputs=expected[1],
                **where,
            ),
            ANOTHER_BASE,
        )


def _expected(module: str, layer: int, base: ModelShape | None) -> tuple[int, int] | None:
    """Return (in, out) of a linear layer of the base, None without a base. Raises UserError for a layer that it lacks."""
    if base is None:
        return None
    if layer >= base.num_hidden_layers:
        words = _(
            "The adapter has layer {layer}, the base only {count} layers.", layer=layer, count=base.num_hidden_layers
        )
        raise UserError(words, ANOTHER_BASE)
    return base.modules[module]
