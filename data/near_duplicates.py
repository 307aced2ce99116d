"""Texts that say nearly the same: MinHash and LSH over shingles of characters, then their exact similarity.

    overlap(items, rows)            which items of a test set stand among the rows of a training
    near_duplicates(texts)          which texts of one set say nearly the same as an earlier one

Two texts are near when the Jaccard similarity of their sets of shingles is at least `MIN_SIMILARITY`. Shingles are runs of 5
letters of the text in Unicode NFC without case and white space: Korean that is spaced otherwise is near, too. LSH finds 99.8 % of
the pairs that are just similar enough, and more of others; a pair that is less similar is never found. One core takes 4 seconds
for 10,000 rows of 400 letters that are looked up, and 6 where they are put into the index. Memory grows with the texts in the
index (of `overlap` the items: 7 kB each), not with those that are looked up.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import cast

import numpy

from data.conversations import Conversation
from data.test_sets import Item

MIN_SIMILARITY = 0.8  # as in the deduplication of large corpora: Lee et al., arXiv 2107.06499
MIN_ESTIMATE = 0.68  # of MinHash for a pair to be compared: more than three standard deviations below
SHINGLE = 5  # letters
BANDS, BAND_VALUES = 21, 6  # a pair of similarity s is found with 1 - (1 - s**6)**21
MAX_CHARACTERS = 10_000  # of a text that are compared


@dataclass
class Overlap:
    """The numbers of the items that stand among other rows letter for letter, and of those that stand there nearly."""

    exact: set[int] = field(default_factory=set)
    near: set[int] = field(default_factory=set)


def overlap(items: Iterable[Item], rows: Iterable[Conversation]) -> Overlap:
    """Return which items are among these rows, by `text_of` each; the rows are read once."""
    found, index = Overlap(), NearTexts()
    exact: dict[bytes, list[int]] = {}
    for item in items:
        text = text_of(item)
        exact.setdefault(_hash(text), []).append(item["number"])
        index.add(item["number"], text)
    for text in map(text_of, rows):
        found.exact.update(exact.get(_hash(text), ()))
        found.near.update(index.find(text))
    found.near -= found.exact
    return found


def near_duplicates(texts: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Yield (place, the earlier place that it repeats) for each text that nearly repeats one that repeats none, from 0."""
    index = NearTexts()
    for place, text in enumerate(texts):
        if found := index.find(text):
            yield place, min(found)
        else:
            index.add(place, text)


def text_of(row: Conversation | Item) -> str:
    """Return all that is said in a row but for the system prompt, which many rows share: of an item with its answer."""
    if "text" in row:
        return row["text"]
    said = [message["content"] for message in row["messages"] if message["role"] != "system"]
    return "\n".join([*said, str(row["answer"])] if "answer" in row else said)


class NearTexts:
    """An index of texts by keys, which is asked for those that are near another text."""

    def __init__(self) -> None:
        from datasketch import MinHash, MinHashLSH

        self._empty = MinHash(BANDS * BAND_VALUES, hashfunc=int)
        self._index = MinHashLSH(num_perm=BANDS * BAND_VALUES, params=(BANDS, BAND_VALUES))
        self._known: dict[int, tuple[numpy.ndarray, numpy.ndarray]] = {}  # a text's shingles, and its MinHash

    def add(self, key: int, text: str) -> None:
        """Put a text into the index; the key is new."""
        parts = shingles(text)
        signature = self._signature(parts)
        self._index.insert(key, signature, check_duplication=False)
        self._known[key] = parts, signature.hashvalues

    def find(self, text: str) -> list[int]:
        """Return the keys of the texts in the index that are near this one."""
        parts = shingles(text)
        signature = self._signature(parts)
        keys = cast("list[int]", self._index.query(signature))
        if not keys:
            return []
        known = numpy.stack([self._known[key][1] for key in keys])
        estimates = (known == signature.hashvalues).mean(axis=1)
        close = [key for key, estimate in zip(keys, estimates, strict=True) if estimate >= MIN_ESTIMATE]
        return [key for key in close if _similarity(parts, self._known[key][0]) >= MIN_SIMILARITY]

    def _signature(self, parts: numpy.ndarray):
        signature = self._empty.copy()
        signature.update_batch(parts.tolist())
        return signature


def shingles(text: str) -> numpy.ndarray:
    """Return the set of a text's shingles as sorted hashes (count,), uint32; of a shorter text the one of all of it."""
    plain = "".join(unicodedata.normalize("NFC", text[:MAX_CHARACTERS]).casefold().split())
    letters = numpy.frombuffer(plain.encode("utf-32-le", "replace"), dtype=numpy.uint32).astype(numpy.uint64)
    length = min(SHINGLE, len(letters))
    hashes = numpy.zeros(len(letters) - length + 1, dtype=numpy.uint64)
    for place in range(length):
        hashes = hashes * numpy.uint64(0x9E3779B97F4A7C15) + letters[place : len(letters) - length + 1 + place]
    hashes = (hashes ^ (hashes >> numpy.uint64(31))) * numpy.uint64(0xBF58476D1CE4E5B9)  # the mixing step of SplitMix64
    return numpy.unique((hashes >> numpy.uint64(32)).astype(numpy.uint32))


def _similarity(some: numpy.ndarray, others: numpy.ndarray) -> float:
    """Return the Jaccard similarity of two sets, given as sorted arrays without repeats."""
    shared = len(numpy.intersect1d(some, others, assume_unique=True))
    return shared / (len(some) + len(others) - shared)


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
