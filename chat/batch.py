"""One decoding step for several conversations: their caches are joined, padded on the left, and split again.

Joining copies every key and value, so it is done only when the set of conversations changes.
"""

from contextlib import nullcontext
from typing import Any

from chat.cache import Cache


def _new_kv(network):
    """Return an empty cache for keys and values of `network`."""
    from transformers import DynamicCache

    return DynamicCache(config=network.config)


def read_prompt(network, cache: Cache, ids: list[int]):
    """Run `ids` through `network` behind what `cache` holds; return the logits of the last one, (vocabulary,)."""
    return read_logits(network, cache, ids, 1)[-1]


def read_logits(network, cache: Cache, ids: list[int], last: int = 0):
    """Run `ids` as `read_prompt` does; return the logits of the `last` ones, 0: of all, (tokens, vocabulary)."""
    import torch

    if cache.kv is None:
        cache.kv = _new_kv(network)
    inputs = torch.tensor([ids], device=network.device)
    logits = network(input_ids=inputs, past_key_values=cache.kv, use_cache=True, logits_to_keep=last).logits
    cache.ids = cache.ids + ids
    return logits[0]


class JoinedCaches:
    """The caches of several conversations with one model, as one padded cache while the set stays the same."""

    def __init__(self, network) -> None:
        from chat.patches.step import step_of

        self.network = network
        self.caches: list[Cache | None] = []  # row by row; None where one has left
        self._kv: Any = None
        self._short = step_of(network)

    def step(self, caches: list[Cache], tokens: list[int]):
        """Run one token for each cache; return the logits, (conversations, vocabulary)."""
        import torch

        from models.patches.few_rows import FewRows

        if len(caches) == 1 and not self._short:
            self.split()
            return read_prompt(self.network, caches[0], tokens)[None]
        if [id(cache) for cache in caches] != [id(cache) for cache in self.caches]:
            self._join(caches)
        width = self._kv.get_seq_length() + 1
        lengths = [len(cache.ids) + 1 for cache in caches]
        device = self.network.device
        ids = torch.tensor([[token] for token in tokens], device=device)
        positions = torch.tensor([[n - 1] for n in lengths], device=device)
        mask = torch.arange(width, device=device)[None] >= torch.tensor([[width - n] for n in lengths], device=device)
        is_plain = device.type == "cpu" and self.network.dtype == torch.float32 and len(caches) > 1
        with FewRows() if is_plain else nullcontext():
            if self._short:
                logits = self._short(self._kv, ids, positions, mask if len(caches) > 1 else None)
            else:
                inputs = {"input_ids": ids, "position_ids": positions, "attention_mask": mask.long()}
                logits = self.network(**inputs, past_key_values=self._kv, use_cache=True).logits[:, -1]
        for cache, token in zip(caches, tokens, strict=True):
            cache.ids.append(token)
        return logits

    def _join(self, caches: list[Cache]) -> None:
        """Copy the caches into one, each aligned to the right; rows that are not among `caches` leave."""
        from chat.patches.room import RoomyLayer

        rows = {id(cache): row for row, cache in enumerate(self.caches)}
        for cache in self.caches:
            if not any(cache is other for other in caches):
                self.leave(cache)
        parts = [(self._kv, rows[id(one)], -len(one.ids)) if id(one) in rows else (one.kv, 0, 0) for one in caches]
        joined = _new_kv(self.network)
        for number in range(len(joined.layers)):
            layers = [(kv.layers[number], row, start) for kv, row, start in parts]
            keys = [layer.keys[row, :, start:] for layer, row, start in layers]
            joined.layers[number] = RoomyLayer(keys, [layer.values[row, :, start:] for layer, row, start in layers])
        self.caches, self._kv = list[Cache | None](caches), joined

    def leave(self, cache: Cache | None) -> None:
        """Copy the row of `cache`, if it has one, back into it; the others stay where they are until the next step."""
        row = next((row for row, joined in enumerate(self.caches) if joined is cache), None)
        if cache is None or row is None:
            return
        for own, common in zip(cache.kv.layers, self._kv.layers, strict=True):
            own.keys = common.keys[row : row + 1, :, -len(cache.ids) :].clone()
            own.values = common.values[row : row + 1, :, -len(cache.ids) :].clone()
        self.caches[row] = None
        if not any(self.caches):
            self.caches, self._kv = [], None  # the last one's memory is not kept beside its copy

    def split(self) -> None:
        """Copy the joined keys and values back into each conversation's own cache."""
        for cache in self.caches:
            self.leave(cache)
        self.caches, self._kv = [], None
