"""Replaces `forward` of the LoRA layers of peft==0.21.2: the sums alone, with several adapters in one batch.

Why: PEFT's layer examines its adapters, dropout, dtypes and options at every call; for one token that takes longer than the sums.
Here `forward` is set when adapters are switched: the base layer alone, or the base and a branch for some rows.
Gain, on 2 CPU cores: an adapter costs 20 to 26 % in int8 and 10 % in fp32; two in one batch 31.2 to 57.8 tokens/s, the base and
three adapters 27.3 to 66.5 (int8, benchmarks/README.md).
Refuses: what is no plain LoRA of a linear layer (DoRA, a bias, embeddings, tokens, any class not in `PLAIN`) stays PEFT's, which
computes one adapter at a time.
To drop it: let chat/resident.py call PEFT's `set_adapter` and `disable_adapter`, and answer one adapter after the other.
"""

import itertools
from typing import Any

# PEFT's layers that add scaling * B(A(x)) to what the base's layer says
PLAIN = {"Linear", "Linear8bitLt", "Linear4bit"}


def set_branches(network, name: str | None) -> None:
    """Let the LoRA layers of a PEFT model compute every row with the adapter `name`, None for the base alone."""
    for layer in _lora_layers(network):
        layer.__dict__.pop("forward", None)
        if type(layer).__name__ in PLAIN and (not _has(layer, name) or _is_plain(layer, name)):
            layer.forward = _forward(layer, [(slice(None), name)])


def set_rows(network, names: list[str | None]) -> None:
    """Let the LoRA layers compute row i of a batch with the adapter `names[i]`, None for the base alone.

    All adapters must be `is_mixable`, and the rows of one adapter must be adjacent.
    """
    parts, start = [], 0
    for name, rows in itertools.groupby(names):
        end = start + len(list(rows))
        parts.append((slice(start, end), name))
        start = end
    for layer in _lora_layers(network):
        layer.__dict__.pop("forward", None)
        if type(layer).__name__ in PLAIN:
            layer.forward = _forward(layer, parts)


def is_mixable(network, name: str) -> bool:
    """Return whether the adapter has plain LoRA branches only, whose rows can share a batch with other adapters'."""
    if any(name in wrapper._get_available_adapters() for wrapper in _wrappers(network).values()):
        return False
    layers = [layer for layer in _lora_layers(network) if _has(layer, name)]
    return all(type(layer).__name__ in PLAIN and _is_plain(layer, name) for layer in layers)


def _wrappers(network) -> dict[str, Any]:
    """Return {path: wrapper} of the embeddings and heads beside which PEFT keeps those of adapters."""
    from peft.utils.other import AuxiliaryTrainingWrapper

    return {path: module for path, module in network.named_modules() if isinstance(module, AuxiliaryTrainingWrapper)}


def is_wrapped_otherwise(network, config) -> bool:
    """Return whether the embeddings of an adapter with this LoraConfig cannot stand beside those in memory.

    PEFT keeps whole layers and single tokens in wrappers of different kinds, and would put one around the other.
    """
    tokens, is_tied = config.trainable_token_indices, network.config.tie_word_embeddings
    whole = set(config.modules_to_save or ())
    single = set(tokens if isinstance(tokens, dict) else ["embed_tokens"] if tokens else ())
    single |= {"embed_tokens", "lm_head"} if is_tied and single else set()
    kinds = dict.fromkeys(whole, "ModulesToSaveWrapper") | dict.fromkeys(single, "TrainableTokensWrapper")
    return any(
        type(wrapper).__name__ != kinds.get(path.rpartition(".")[2], type(wrapper).__name__)
        for path, wrapper in _wrappers(network).items()
    )


def _lora_layers(network) -> list:
    """Return PEFT's LoRA layers of `network`."""
    from peft.tuners.lora import LoraLayer

    return [module for module in network.modules() if isinstance(module, LoraLayer)]


def _has(layer, name: str | None) -> bool:
    """Return whether the adapter `name` changes this layer."""
    return name in layer.lora_A or name in layer.lora_embedding_A


def _is_plain(layer, name: str | None) -> bool:
    """Return whether the adapter's branch of this layer is no variant (DoRA) and has no bias."""
    return name not in layer.lora_variant and not layer.lora_bias[name]


class Branches:
    """The forward of a layer: base(x), and scaling * B(A(x)) in each adapter's rows, in PEFT's dtype."""

    def __init__(self, base, branches: list[tuple[slice, Any, Any]]) -> None:
        self.base, self.branches = base, branches

    def __call__(self, inputs):
        """Compute the layer."""
        return self.add(inputs, self.base(inputs))

    def add(self, inputs, result):
        """Add the branches to the `result` of the base's layer, and return it."""
        from torch.nn.functional import linear

        for rows, down, up in self.branches:
            result[rows].add_(linear(linear(inputs[rows].to(down.dtype), down), up))
        return result


def _forward(layer, parts: list[tuple[slice, str | None]]):
    """Return the forward of a layer with the adapters of `parts`."""
    base = layer.base_layer.forward
    branches = [
        (rows, layer.lora_A[name].weight, layer.lora_B[name].weight * layer.scaling[name])
        for rows, name in parts
        if name in layer.lora_A
    ]
    return Branches(base, branches) if branches else base
