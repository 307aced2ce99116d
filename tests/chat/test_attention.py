"""Attention behind what was read has the values of transformers' own, alone and beside others under a mask."""

from types import SimpleNamespace

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from chat.engine import Model
from chat.patches.attention import NAME, grouped_attention
from chat.resident import Resident


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (3, 1), (1, 5), (3, 5), (1, 40)])
@pytest.mark.parametrize("is_first", [False, True])
def test_it_has_the_values_of_transformers_own(dtype, batch, tokens, is_first):
    """The first piece of a prompt has no mask: what it sees is told by its order alone."""
    torch.manual_seed(0)
    query = torch.randn(batch, 8, tokens, 16).to(dtype)
    key, value = (torch.randn(batch, 2, 40, 16).to(dtype) for _ in range(2))
    seen = torch.arange(40)[None] >= torch.tensor([[0], [7], [30]])[:batch]
    order = torch.ones(tokens, 40, dtype=torch.bool).tril(40 - tokens)  # a token sees what stands before it
    mask = seen[:, None, None] & order[None, None] if not is_first and (batch > 1 or tokens > 1) else None
    module = SimpleNamespace(num_key_value_groups=4, is_causal=True, training=False)
    own, _ = grouped_attention(module, query, key, value, mask, scaling=0.25)
    wanted, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=0.25)
    assert own.shape == wanted.shape == (batch, tokens, 8, 16)
    assert torch.allclose(own.float(), wanted.float(), atol=1e-6 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("precision", ["fp32", "8bit"])
def test_a_base_in_memory_attends_so(tiny_base, precision):
    resident = Resident()
    resident.load(Model(tiny_base, precision))
    assert resident.network.config._attn_implementation == NAME
