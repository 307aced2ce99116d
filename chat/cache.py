"""The keys and values of conversations (KV caches), kept between their turns, within a number and a size.

When there are too many, the longest unused cache of the person whose caches are largest is dropped, so that nobody evicts
another person's.

A cache knows the tokens that it holds. For a new prompt the common beginning is kept, and the rest is computed: an answer is
appended, an edit, an undo or a left-out turn crops. Another model (another adapter) has no beginning in common.
"""

import copy
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import Any

MIN_SHARED_TOKENS = 8  # fewer are read as fast as they are copied


@dataclass
class Cache:
    """`ids` are the tokens whose keys and values `kv` (transformers' DynamicCache) holds for `model`."""

    model: object
    ids: list[int] = field(default_factory=list)
    kv: Any = None
    person: str = ""  # whose it is

    def crop(self, length: int) -> None:
        """Keep the first `length` tokens."""
        if length < len(self.ids):
            self.kv.crop(length - len(self.ids))
            self.ids = self.ids[:length]

    def beginning(self, model: object, ids: list[int]) -> "Cache | None":
        """Return a copy of what this cache has in common with the prompt `ids` for `model`; None where it is not much.

        While the cache is joined with others, `kv` holds only what came before.
        """
        held = self.kv.get_seq_length() if self.kv and self.model == model else 0
        length = min(shared_length(self.ids[:held], ids), len(ids) - 1)
        if length < MIN_SHARED_TOKENS:
            return None
        kv = copy.deepcopy(self.kv)
        kv.crop(length - held)
        return Cache(model, ids[:length], kv, self.person)

    def memory_bytes(self) -> int:
        """Return the size of the keys and values."""
        layers = self.kv.layers if self.ids else []
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)


def shared_length(first: list[int], second: list[int]) -> int:
    """Return the number of tokens that both lists begin with."""
    length = min(len(first), len(second))
    if first[:length] == second[:length]:
        return length
    return next(place for place in range(length) if first[place] != second[place])


class Caches:
    """The caches of conversations that wait for their next turn."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self.most, self.most_bytes = most, most_bytes
        self._kept: OrderedDict[str, Cache] = OrderedDict()

    def take(self, conversation: str | None, model: object, ids: list[int]) -> Cache | None:
        """Return the cache of `conversation`, cropped to what it shares with `ids`; None without one for `model`.

        It is not kept here until it is put back. At least the last of `ids` is left to compute, because its logits are needed.
        """
        cache = self._kept.pop(conversation, None) if conversation is not None else None
        if cache is None or cache.model != model:
            return None
        length = min(shared_length(cache.ids, ids), len(ids) - 1)
        if length == 0:
            return None
        cache.crop(length)
        return cache

    def put(self, conversation: str | None, cache: Cache) -> None:
        """Keep `cache`; drop the longest unused caches of the person with the largest ones while there are too many."""
        if conversation is None or not cache.ids:
            return
        self._kept[conversation] = cache
        self._kept.move_to_end(conversation)
        while len(self._kept) > self.most or (self._kept and self.memory_bytes() > self.most_bytes):
            held: Counter[str] = Counter()
            for one in self._kept.values():
                held[one.person] += one.memory_bytes()
            person = held.most_common(1)[0][0]
            del self._kept[next(name for name, one in self._kept.items() if one.person == person)]

    def clear(self) -> None:
        """Drop all caches."""
        self._kept.clear()

    def memory_bytes(self) -> int:
        """Return the size of all keys and values in bytes."""
        return sum(cache.memory_bytes() for cache in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)
