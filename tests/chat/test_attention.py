"""Attention of one token has the values of transformers' own, alone and beside others under a mask."""

from types import SimpleNamespace

import pytest
import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from chat.attention import NAME, one_token_attention
from chat.engine import Model
from chat.resident import Resident


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (3, 1), (1, 5)])
def test_it_has_the_values_of_transformers_own(dtype, batch, tokens):
    torch.manual_seed(0)
    query = torch.randn(batch, 8, tokens, 16).to(dtype)
    key, value = (torch.randn(batch, 2, 40, 16).to(dtype) for _ in range(2))
    seen = torch.arange(40)[None] >= torch.tensor([[0], [7], [30]])[:batch]
    mask = seen[:, None, None].expand(batch, 1, tokens, 40) if batch > 1 else None
    module = SimpleNamespace(num_key_value_groups=4, is_causal=True, training=False)
    own, _ = one_token_attention(module, query, key, value, mask, scaling=0.25)
    wanted, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=0.25)
    assert own.shape == wanted.shape == (batch, tokens, 8, 16)
    assert torch.allclose(own.float(), wanted.float(), atol=1e-6 if dtype == torch.float32 else 1e-2)


@pytest.mark.parametrize("precision", ["fp32", "8bit"])
def test_a_base_in_memory_attends_so(tiny_base, precision):
    resident = Resident()
    resident.load(Model(tiny_base, precision))
    assert resident.network.config._attn_implementation == NAME
