"""Replaces every `Linear` of a bf16 model on a CPU by `torch._weight_int8pack_mm` of torch==2.13.0: 8-bit weights.

One scale for each output row, activations in bf16.
Why: bitsandbytes' LLM.int8 needs 20 times as long on a CPU. A token is bound by the reading of weights, and these are a quarter
of fp32's bytes. torchao's int8 weight-only layers do not reach the kernel without compiling: one token through 5632 x 2048 takes
them 2.5 ms, fp32 2.2, the kernel 0.3.
Gain, on 2 CPU cores: 3.1 times the tokens a second of transformers' pipeline, 4.5 times at TinyLlama's shape
(benchmarks/README.md).
Refuses: any layer that is not exactly a `torch.nn.Linear` stays bf16.
To drop it: load the base in fp32 where chat/resident.py calls `load_int8`, or by torchao once it reaches the kernel eagerly.
"""

from pathlib import Path


def load_int8(folder: Path):
    """Return the causal language model in `folder` with int8 weights, for generation on a CPU."""
    import torch

    from models.precision import load_base_model

    network = load_base_model(folder, "bf16").eval()
    for name, layer in list(network.named_modules()):
        if type(layer) is torch.nn.Linear:
            parent = network.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], int8_linear(layer))
    return network


def int8_linear(linear):
    """Return `linear` with int8 weights, still a torch.nn.Linear, so that PEFT attaches adapters to it."""
    import torch

    class Int8Linear(torch.nn.Linear):
        scales: torch.Tensor
        weight: torch.Tensor

        def forward(self, input):
            if input.dim() == 2 and input.dtype == torch.bfloat16 and self.bias is None:
                return torch._weight_int8pack_mm(input, self.weight, self.scales)
            flat = input.reshape(-1, input.shape[-1]).to(torch.bfloat16)
            result = torch._weight_int8pack_mm(flat, self.weight, self.scales)
            if self.bias is not None:
                result = result + self.bias
            return result.view(*input.shape[:-1], -1).to(input.dtype)

        @property
        def qweight(self):
            """Return the weights in bf16: where this name is, PEFT reads it when it wants numbers."""
            return self.weight.to(torch.bfloat16) * self.scales[:, None]

        def __deepcopy__(self, memo):
            """Return a layer in bf16: PEFT copies the base's for an adapter that brings weights of its own."""
            copy = torch.nn.Linear(
                self.in_features, self.out_features, self.bias is not None, dtype=torch.bfloat16
            ).requires_grad_(False)
            copy.weight.copy_(self.qweight)
            if self.bias is not None:
                copy.bias.copy_(self.bias)
            return copy

    weight = linear.weight.detach()
    scales = weight.abs().amax(dim=1).float().clamp_min(1e-8) / 127
    layer = Int8Linear(linear.in_features, linear.out_features, bias=False, device="meta")
    rounded = weight.to(torch.float32, copy=True).div_(scales[:, None]).round_()  # in place: 3 times as fast
    rounded = rounded.clamp_(-127, 127).to(torch.int8)
    layer.weight = torch.nn.Parameter(rounded, requires_grad=False)
    layer.register_buffer("scales", scales.to(torch.bfloat16), persistent=False)
    layer.bias = linear.bias
    return layer


def join(layers: list) -> tuple:
    """Return (weight, scales, bias or None) of int8 layers with the same input, as one; theirs become parts of them."""
    import torch

    if len(layers) == 1:
        return layers[0].weight, layers[0].scales, layers[0].bias
    if not hasattr(layers[0], "joined"):
        weight, scales = (torch.cat([getattr(layer, name) for layer in layers]) for name in ("weight", "scales"))
        biases = [layer.bias for layer in layers if layer.bias is not None]
        layers[0].joined = weight, scales, torch.cat(biases) if biases else None
        for layer, part in zip(layers, weight.split([len(layer.weight) for layer in layers]), strict=True):
            layer.weight = torch.nn.Parameter(part, requires_grad=False)
    return layers[0].joined
