"""LoRA branches while answering: the few sums that they are, without PEFT's way to them.

PEFT's layer looks at its adapters, dropout, dtypes and options at every call; for one token that takes longer than the sums.
Here a layer's `forward` is set when adapters are switched: the base layer alone, or the base and one branch. What is no plain
LoRA of a linear layer (DoRA, a bias, layers of bitsandbytes) stays PEFT's.
"""


def set_branches(network, name: str | None) -> None:
    """Let the LoRA layers of a PEFT model compute with the adapter `name`, or as the base alone."""
    from peft.tuners import lora

    for layer in network.modules():
        if type(layer) is lora.Linear:
            layer.__dict__.pop("forward", None)
            if name is None or name not in layer.lora_A:
                layer.forward = layer.base_layer.forward
            elif name not in layer.lora_variant and not layer.lora_bias[name]:
                layer.forward = _with_branch(layer, name)


def _with_branch(layer, name: str):
    """The forward of one layer: base(x) + scaling * B(A(x)), each in the dtype that PEFT computes it in."""
    from torch.nn.functional import linear

    base = layer.base_layer.forward
    down, up = layer.lora_A[name].weight, layer.lora_B[name].weight * layer.scaling[name]

    def forward(inputs):
        result = base(inputs)
        branch = linear(linear(inputs.to(down.dtype), down), up)
        return (result + branch).to(result.dtype)

    return forward
