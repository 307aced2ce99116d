"""Replaces `forward` of the Llama, Qwen2 and Qwen3 models of transformers==5.23.0 on a CPU: one token for each row, in few calls.

Why: half of an int8 token's time is Python's way through the modules and the small operations between the products.
Gain, on 2 CPU cores, int8, embedded base: a step 21.4 to 15.0 ms; asked of the engine 1.33 times the tokens a second, with an
adapter 1.16 times (benchmarks/README.md).
Refuses: other models, other devices, and more than one token a row: `step_of` returns None, prompts never come here.
To drop it: let chat/batch.py call the network.
"""

import torch
from torch.nn.functional import scaled_dot_product_attention

from chat.patches.int8 import join
from chat.patches.lora import Branches


def step_of(network) -> "Step | None":
    """Return the short step of a model of transformers or PEFT; None where it has to be the network's own."""
    causal = network.get_base_model() if hasattr(network, "get_base_model") else network
    is_known = type(causal).__name__ in ("LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
    return Step(causal) if is_known and causal.device.type == "cpu" else None


class Step:
    """The layers of a network as they are now: attaching an adapter needs a new one, switching does not."""

    def __init__(self, causal) -> None:
        self.causal = causal
        self._layers = []
        for layer in causal.model.layers:
            attention, mlp = layer.self_attn, layer.mlp
            norms = _norm(layer.input_layernorm), _norm(layer.post_attention_layernorm)
            of_heads = (_norm(attention.q_norm), _norm(attention.k_norm)) if hasattr(attention, "q_norm") else None
            inputs = _linear(attention.q_proj, attention.k_proj, attention.v_proj)
            linear = inputs, _linear(attention.o_proj), _linear(mlp.gate_proj, mlp.up_proj), _linear(mlp.down_proj)
            self._layers.append((*norms, *linear, mlp.act_fn, of_heads))
        self._norm = _norm(causal.model.norm)
        self._width, self._scale = attention.head_dim, attention.scaling
        self._heads, self._groups = causal.config.num_attention_heads, causal.config.num_key_value_heads

    def __call__(self, kv, ids, positions, mask=None):
        """Run `ids` (rows, 1) at `positions` (rows, 1) behind what the cache `kv` holds; return the logits (rows, vocabulary).

        `mask` (rows, length) is False where a row's cache holds nothing; None: everywhere is something.
        """
        model, rows, width = self.causal.model, len(ids), self._width
        heads, groups = self._heads, self._groups
        hidden = model.embed_tokens(ids)[:, 0]
        cos, sin = model.rotary_emb(hidden, positions)
        sin = torch.cat([-sin[..., : width // 2], sin[..., width // 2 :]], -1)
        mask = mask if mask is None else mask[:, None, None]
        for store, parts in zip(kv.layers, self._layers, strict=True):
            before, between, inputs, output, paired, down, act, of_heads = parts
            states = inputs(before(hidden)).view(rows, heads + 2 * groups, width)
            turned = states[:, : heads + groups]
            if of_heads:
                turned = torch.cat([of_heads[0](turned[:, :heads]), of_heads[1](turned[:, heads:])], 1)
            turned = turned * cos + turned.roll(width // 2, -1) * sin
            keys, values = store.update(turned[:, heads:, None], states[:, heads + groups :, None])
            query = turned[:, :heads].reshape(rows, groups, heads // groups, width)
            seen = scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=self._scale)
            hidden = hidden + output(seen.reshape(rows, heads * width))
            gate, up = paired(between(hidden)).chunk(2, -1)
            hidden = hidden + down(act(gate) * up)
        return self.causal.lm_head(self._norm(hidden)[:, None])[:, -1]


def _linear(*modules):
    """Return one function for linear layers with the same input: in int8 one product, to which the adapters' branches are added.

    It maps (rows, size) to what the layers make of it, side by side.
    """
    bases = [getattr(module, "base_layer", module) for module in modules]
    pairs = list(zip(bases, modules, strict=True))
    if not all(type(base).__name__ == "Int8Linear" for base in bases):
        return lambda inputs: torch.cat([module.forward(inputs) for module in modules], -1)
    weight, scales, bias = join(bases)
    sizes = [base.weight.shape[0] for base in bases]

    def product(inputs):
        result = torch._weight_int8pack_mm(inputs, weight, scales)
        return result if bias is None else result + bias

    def with_branches(inputs):
        forwards = [module.forward for module in modules]
        if not all(base is module or "forward" in vars(module) for base, module in pairs):
            return torch.cat([forward(inputs) for forward in forwards], -1)  # no plain LoRA: PEFT's own sums
        result = product(inputs)
        for forward, part in zip(forwards, result.split(sizes, -1), strict=True):
            if isinstance(forward, Branches):
                forward.add(inputs, part)
        return result

    return product if bases == list(modules) else with_branches


def _norm(module):
    """Return the function of an RMSNorm by torch's own; any other module is called as it is."""
    if not type(module).__name__.endswith("RMSNorm"):
        return module
    weight, size, eps = module.weight, module.weight.shape, module.variance_epsilon
    return lambda hidden: torch.rms_norm(hidden, size, weight, eps)
