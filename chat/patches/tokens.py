"""Replaces `TrainableTokensLayer.forward` of peft==0.21.2 and its wrapper's `adapter_state_dict_load_map`: tokens of adapters.

Why: PEFT copies the whole matrix of embeddings for each token written, and cannot copy int8 weights, in which a CPU answers. Here
the base's layer computes all, and the adapter's own rows (of the embeddings) or columns (of the logits) take their place. Once
one adapter has tokens, PEFT also looks for some in every other that is loaded, and fails.
Gain: what a copy of 32,000 x 2,048 numbers takes, twice a token where the head is tied; in int8 it would not run at all.
Refuses: any other wrapper of PEFT stays as it is.
To drop it: remove the call of `install` in chat/resident.py, load the base of such adapters in fp32 and no other beside them.
"""

from functools import partial

import torch
from torch.nn.functional import linear


def install(network) -> None:
    """Let the layers of `network` with own tokens of adapters compute only those anew."""
    from peft.tuners.trainable_tokens import TrainableTokensLayer
    from peft.utils.other import TrainableTokensWrapper

    for module in network.modules():
        if isinstance(module, TrainableTokensLayer):
            module.forward = partial(_forward, module)
        if isinstance(module, TrainableTokensWrapper):
            module.adapter_state_dict_load_map = partial(_load_map, module)


def _load_map(wrapper, adapter_name: str) -> dict[str, str]:
    """Return where the tensors of an adapter go, {} for one without tokens of its own."""
    has_tokens = adapter_name in wrapper._get_available_adapters()
    return type(wrapper).adapter_state_dict_load_map(wrapper, adapter_name) if has_tokens else {}


def _forward(layer, inputs):
    """Compute the embeddings of token ids, or the logits of hidden states, with the active adapter's own tokens."""
    result = layer.base_layer(inputs)
    for name in [] if layer.disable_adapters else layer.active_adapters:
        rows = layer.trainable_tokens_delta[name].to(result.dtype)
        numbers = torch.tensor(layer.token_indices[name], device=result.device)
        if isinstance(layer.base_layer, torch.nn.Linear):
            result[..., numbers] = linear(inputs, rows.to(inputs.dtype)).to(result.dtype)
        else:
            is_own = inputs[..., None] == numbers
            result[is_own.any(-1)] = rows[is_own.int().argmax(-1)[is_own.any(-1)]]
    return result
