"""Replaces `torch.nn.functional.linear` of torch==2.13.0 inside a `with` block: fp32 products of a few rows on a CPU.

Why: for two to sixteen rows oneDNN's kernel takes up to four times as long as the same product the other way round, which is
`weight @ rows.T`. Several conversations are such rows, a token each, and so are the sample answers of a training.
Gain, on 2 CPU cores, 1536 x 576: 2, 3, 4, 8, 16 rows in 563, 596, 415, 378, 440 microseconds, the other way round 135, 164, 174,
247, 361; all products of SmolLM2-135M for three rows 97 to 26 ms; a chat of two people 1.5 times (benchmarks/README.md).
Refuses: other dtypes, one row, more than sixteen, and whatever is not on a CPU go to torch.
To drop it: remove the `with` in chat/batch.py, and its use in trainer/patches/lean_evaluation.py.
"""

import torch
from torch.overrides import TorchFunctionMode

FEWEST, MOST = 2, 16


class FewRows(TorchFunctionMode):
    """Within it linear layers multiply a few rows the other way round; sums may differ in their last bits."""

    def __torch_function__(self, func, types, args: tuple = (), kwargs=None):
        """Compute one call of torch."""
        if func is torch.nn.functional.linear and not kwargs and are_few(args[0], args[1]):
            return linear_of_few(*args)
        return func(*args, **(kwargs or {}))


def are_few(inputs, weight) -> bool:
    """Return whether `linear_of_few` is for these: fp32 on a CPU, and as few rows as it is quicker for."""
    is_plain = inputs.device.type == "cpu" and inputs.dtype == weight.dtype == torch.float32
    return is_plain and FEWEST <= inputs.numel() // inputs.shape[-1] <= MOST


def linear_of_few(inputs, weight, bias=None):
    """Return torch's `linear` of a few rows. Inputs that lie column by column in memory would take three times as long."""
    rows = inputs.reshape(-1, inputs.shape[-1]).contiguous()
    product = (weight @ rows.T).T.contiguous().reshape(*inputs.shape[:-1], -1)
    return product if bias is None else product + bias
