"""Attention inside each row, where rows lie end to end (packing, and batches without padding on a CPU).

transformers' SDPA path computes such a batch as one long row under a block mask: every pair of tokens of all rows, most of
them masked out, quadratic in the length of the batch. Here each row is its own causal attention: same values (tested).
On a GPU with bf16 or fp16 torch's variable-length flash kernel takes all rows in one call.

A training batch needs no mask at all: rows end to end are told apart by their bounds, and padding is on the right, where no
real token looks. `without_masks` keeps transformers from making one, and from asking the GPU whether it is needed.
"""

from collections.abc import Generator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch

NAME = "studio_rows"
WITHOUT_MASKS = (
    "studio_rows_without_masks"  # the same function; transformers makes no mask for a name that has no mask function
)


def install(model) -> None:
    """Let `model` attend row by row. Batches with padding, and `generate`, go through SDPA as before."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, row_attention)
    AttentionInterface.register(WITHOUT_MASKS, row_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


@contextmanager
def without_masks(model) -> Generator[None]:
    """Inside it the forward passes of `model` (installed before) are causal and nothing else."""
    config = model.config
    config._attn_implementation = WITHOUT_MASKS
    try:
        yield
    finally:
        config._attn_implementation = NAME


def row_attention(module, query, key, value, attention_mask, cu_seq_lens_q=None, max_length_q=0, **kwargs):
    """(output [1, tokens, heads, width], None) of query [1, heads, tokens, width]; rows end at `cu_seq_lens_q`."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if cu_seq_lens_q is None or query.shape[0] != 1 or len(cu_seq_lens_q) < 3:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    if _has_flash(query):
        return _all_rows_at_once(query, key, value, cu_seq_lens_q, max_length_q, kwargs.get("scaling")), None
    rows = [slice(start, end) for start, end in pairwise(cu_seq_lens_q.tolist())]
    kwargs["is_causal"] = True
    parts = [
        sdpa_attention_forward(module, query[:, :, row], key[:, :, row], value[:, :, row], None, **kwargs)[0]
        for row in rows
    ]
    return torch.cat(parts, dim=1), None


def _has_flash(query) -> bool:
    is_half = query.dtype in (torch.float16, torch.bfloat16)
    return query.is_cuda and is_half and torch.cuda.get_device_capability(query.device)[0] >= 8


def _all_rows_at_once(query, key, value, cu_seq_lens, longest: int, scale: float | None):
    """torch's variable-length flash attention, causal. Needs a GPU of compute capability 8 or more."""
    from torch.nn.attention.varlen import varlen_attn

    parts = [part[0].transpose(0, 1).contiguous() for part in (query, key, value)]  # [tokens, heads, width]
    bounds = (cu_seq_lens, cu_seq_lens, longest, longest)
    output: Any = varlen_attn(*parts, *bounds, scale=scale, window_size=(-1, 0), enable_gqa=True)
    return output.unsqueeze(0)
