"""LoRA's branch added in place: one product that adds into the base layer's output, where PEFT makes three tensors of its size.

PEFT computes `result + lora_B(lora_A(dropout(x))) * scaling`: the product, the scaled product and the sum are each as large as
the output and go through memory once or twice, and the backward pass scales a gradient of that size again. Here the scale
goes into the small tensor between A and B (rank numbers a token), and B's product is added where the base's output lies. A
16-bit base's inputs are no longer copied to fp32 for fp32 adapters either, which PEFT does for 16-bit layers even under
autocast. Same values but for the order of additions (tested against autograd); PEFT's own way where it does more than this.

Not in the app: `benchmarks.train_gpu` measures first whether it pays.
"""

import types

import torch
from peft.tuners.lora import LoraLayer


class AddLora(torch.autograd.Function):
    """`result` with `scale * (x @ A.T) @ B.T` added in place. A and B may be fp32 where the others are 16-bit."""

    @staticmethod
    def forward(ctx, result, x, a, b, scale: float):
        flat, weight = x.reshape(-1, x.shape[-1]), b.to(result.dtype)
        small = (flat @ a.to(x.dtype).T).mul_(scale)
        result.view(-1, result.shape[-1]).addmm_(small, weight.T)
        ctx.save_for_backward(x, a, b, small)
        ctx.scale = scale
        ctx.mark_dirty(result)
        return result

    @staticmethod
    def backward(ctx, gradient):
        x, a, b, small = ctx.saved_tensors
        flat, over = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
        of_small = (over @ b.to(over.dtype)).mul_(ctx.scale)
        of_x = (of_small @ a.to(of_small.dtype)).view_as(x) if ctx.needs_input_grad[1] else None
        return gradient, of_x, (of_small.T @ flat).to(a.dtype), (over.T @ small).to(b.dtype), None


def install(model) -> None:
    """Let every plain LoRA layer of `model` add its branch so. Calling it twice changes nothing."""
    for layer in model.modules():
        if isinstance(layer, LoraLayer) and not layer.lora_variant and "forward" not in vars(layer):
            layer.forward = types.MethodType(_forward, layer)


def _forward(layer, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
    is_plain = not (layer.disable_adapters or layer.merged or layer.lora_variant or args or kwargs)
    if not is_plain or len(layer.active_adapters) != 1 or not torch.is_grad_enabled():
        return type(layer).forward(layer, x, *args, **kwargs)
    (name,) = layer.active_adapters
    if name not in layer.lora_A:
        return layer.base_layer(x)
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    return AddLora.apply(layer.base_layer(x), layer.lora_dropout[name](x), a, b, layer.scaling[name])
