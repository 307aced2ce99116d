"""Replaces `forward` of `Linear` of peft==0.21.2 and of torch==2.13.0 while fp32 weights are evaluated on a CPU: the sums alone.

Why: PEFT's layer examines its adapters, dropout and dtypes at every call, and goes over its result twice more to scale and to
add the branch; a sample answer calls it 210 times a token. For the three rows of sample answers oneDNN's product takes longer
than the same one the other way round (models/patches/few_rows.py).
Gain: see "Small levers" in benchmarks/README.md. With the adapter off the losses are those of PEFT to the bit, else within 1e-5
(tests/trainer/test_samples.py).
Refuses: training, gradients, other dtypes and devices, DoRA, a bias of the branch, several adapters: all go to PEFT.
To drop it: remove the call of `install` in trainer/recipe.py.
"""

from functools import partial

import torch
from peft.tuners import lora
from torch.nn.functional import linear

from models.patches.few_rows import are_few, linear_of_few


def install(model) -> None:
    """Let the linear layers of `model`, with their LoRA branches, compute only what an evaluation needs. Twice is once."""
    inner = {part for layer in model.modules() if isinstance(layer, lora.LoraLayer) for part in layer.modules()}
    for layer in model.modules():
        is_outer = type(layer) is lora.Linear or (type(layer) is torch.nn.Linear and layer not in inner)
        if is_outer and _is_plain(_base_of(layer).weight) and "forward" not in vars(layer):
            layer.forward = partial(_forward, layer, layer.forward)


def _forward(layer, forward, inputs, *args, **kwargs):
    """Compute base(x) + scaling * B(A(x)) for a batch; `forward` is the layer's own."""
    base, branches = _base_of(layer), []
    if base is not layer and not layer.disable_adapters:
        branches = [name for name in layer.active_adapters if name in layer.lora_A]
    is_evaluated = not (layer.training or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or args or kwargs)
    if not (is_evaluated and _is_plain(inputs) and all(_is_plain_branch(layer, name) for name in branches)):
        return forward(inputs, *args, **kwargs)
    rows = inputs.reshape(-1, inputs.shape[-1])
    product = linear_of_few if are_few(rows, base.weight) else linear
    result = product(rows, base.weight, base.bias)
    for name in branches:
        low = linear(rows, layer.lora_A[name].weight)
        result.addmm_(low, layer.lora_B[name].weight.T, alpha=layer.scaling[name])
    return result.reshape(*inputs.shape[:-1], len(base.weight))


def _base_of(layer):
    return getattr(layer, "base_layer", layer)


def _is_plain(tensor) -> bool:
    return tensor.dtype == torch.float32 and tensor.device.type == "cpu"


def _is_plain_branch(layer, name: str) -> bool:
    is_float = _is_plain(layer.lora_A[name].weight)
    return is_float and name not in layer.lora_variant and not layer.lora_bias[name] and not layer.merged
