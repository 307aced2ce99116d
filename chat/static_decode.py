"""Tokens of one conversation on a GPU by a compiled step over keys and values of a fixed size: a CUDA graph instead of launches.

Off unless CHAT_COMPILE=1: the first answer then waits for the compiler, and again at each new size and adapter. It writes the
same greedy tokens as the plain step (a test compares, on a CPU); how fast it is on a GPU is `benchmarks/chat_gpu.py`'s question.
"""

import os

from chat.cache import Cache

SIZES = (512, 1024, 2048, 4096, 8192)  # places for tokens: one compiled step for each size that is used


def compile_options(network) -> dict | None:
    """The options of torch.compile for this network, None where the plain step is taken."""
    if network.device.type != "cuda" or os.environ.get("CHAT_COMPILE") != "1":
        return None
    return {"mode": "reduce-overhead"}


class StaticDecode:
    """Holds the keys and values of the conversation whose turn it is; `split` gives them back to its cache."""

    def __init__(self, network, options: dict) -> None:
        import torch

        self.network, self.cache = network, None
        self._stores: dict[int, object] = {}  # size: its StaticCache, filled anew for each conversation
        self._kv, self._size = None, 0
        self._step = torch.compile(self._forward, **options)

    def step(self, cache: Cache, token: int):
        """Read one token behind what `cache` holds; returns the logits, (1, vocabulary)."""
        import torch

        if cache is not self.cache or len(cache.ids) >= self._size:
            self.split()
            self._join(cache)
        device = self.network.device
        token_ids = torch.tensor([[token]], device=device)
        positions = torch.tensor([[len(cache.ids)]], device=device)
        logits = self._step(token_ids, positions, self._kv).clone()  # a CUDA graph writes the next ones over them
        cache.ids.append(token)
        return logits

    def _forward(self, token_ids, positions, kv):
        return self.network(input_ids=token_ids, position_ids=positions, past_key_values=kv, use_cache=True).logits[
            :, -1
        ]

    def _join(self, cache: Cache) -> None:
        """Copy the conversation's keys and values into the store of the smallest size with room for one more."""
        from transformers import StaticCache

        length = len(cache.ids)
        self._size = next(size for size in SIZES if size > length)
        if self._size not in self._stores:
            self._stores[self._size] = StaticCache(self.network.config, max_cache_len=self._size)
        self._kv, self.cache = self._stores[self._size], cache
        for store, own in zip(self._kv.layers, cache.kv.layers, strict=True):
            if not store.is_initialized:
                store.lazy_initialization(own.keys, own.values)
            store.keys[:, :, :length] = own.keys
            store.values[:, :, :length] = own.values
            store.cumulative_length.fill_(length)

    def split(self) -> None:
        """Give the conversation its keys and values back."""
        if self.cache is None:
            return
        length = len(self.cache.ids)
        for store, own in zip(self._kv.layers, self.cache.kv.layers, strict=True):
            own.keys, own.values = store.keys[:, :, :length].clone(), store.values[:, :, :length].clone()
        self.cache = None
