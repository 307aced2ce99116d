"""Replaces the attention function of a model by `AttentionInterface` of transformers==5.23.0: rows end to end attend row by row.

Why: for packed rows, and for batches without padding on a CPU, transformers' SDPA computes the batch as one long row under a
block mask: every pair of tokens of all rows, most of them masked out, quadratic in the length of the batch. Here each row is its
own causal attention; on a GPU in bf16 or fp16 `torch.nn.attention.varlen` (torch==2.13.0) takes all rows in one call. A training
batch needs no mask either: padding is on the right, where no real token looks. `without_masks`, which writes
`config._attn_implementation`, keeps transformers from making one and from asking the GPU whether it is needed.
Gain: a step of 2.06 to 2.45 s became 1.60 to 1.82 s (-21 to -28 %) on 2 CPU cores; predicted for an H100 1.02 to 1.05 times
without masks, not measured (benchmarks/README.md). Values are those of SDPA (tests/trainer/test_speed.py).
Refuses: batches that are not rows end to end go to transformers' SDPA; trainer/recipe.py refuses other families before.
To drop it: remove `install` in trainer/recipe.py and `without_masks` in trainer/studio_trainer.py.
"""

from collections.abc import Generator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch

NAME = "studio_rows"
# the same function; transformers makes no mask for a name that has no mask function
WITHOUT_MASKS = "studio_rows_without_masks"


def install(model) -> None:
    """Let `model` attend row by row. Batches with padding, and `generate`, go through SDPA."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, row_attention)
    AttentionInterface.register(WITHOUT_MASKS, row_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


@contextmanager
def without_masks(model) -> Generator[None]:
    """Compute no mask in the forward passes of `model`, which `install` has seen: they are causal and nothing else."""
    config = model.config
    config._attn_implementation = WITHOUT_MASKS
    try:
        yield
    finally:
        config._attn_implementation = NAME


def row_attention(module, query, key, value, attention_mask, cu_seq_lens_q=None, max_length_q=0, **kwargs):
    """Attend within each row, causally; rows end at `cu_seq_lens_q`.

    `query` is (1, heads, tokens, width), `key` and `value` have a divisor of its heads; returns ((1, tokens, heads, width),
    None). Anything else than rows end to end goes to transformers' SDPA.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if cu_seq_lens_q is None or query.shape[0] != 1 or len(cu_seq_lens_q) < 3:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    is_half = query.dtype in (torch.float16, torch.bfloat16)
    if query.is_cuda and is_half and torch.cuda.get_device_capability(query.device)[0] >= 8:
        from torch.nn.attention.varlen import varlen_attn

        parts = [part[0].transpose(0, 1).contiguous() for part in (query, key, value)]  # (tokens, heads, width)
        bounds = (cu_seq_lens_q, cu_seq_lens_q, max_length_q, max_length_q)
        scale = kwargs.get("scaling")
        output: Any = varlen_attn(*parts, *bounds, scale=scale, window_size=(-1, 0), enable_gqa=True)
        return output.unsqueeze(0), None
    rows = [slice(start, end) for start, end in pairwise(cu_seq_lens_q.tolist())]
    kwargs["is_causal"] = True
    parts = [
        sdpa_attention_forward(module, query[:, :, row], key[:, :, row], value[:, :, row], None, **kwargs)[0]
        for row in rows
    ]
    return torch.cat(parts, dim=1), None
