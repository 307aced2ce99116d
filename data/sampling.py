"""How many rows come from each of several data sets, and which: by their shares and the seed."""

import random
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from typing import TypeVar

from data.conversations import Row

Numbered = tuple[int, Row]  # a row with its number in its file, from 1
T = TypeVar("T")


def counts_of(sizes: Sequence[int], shares: Sequence[float] | None, most: int = 0) -> list[int]:
    """Return how many rows to take from data sets of these sizes.

    They are as many as the shares (relative to their sum) allow when no row is taken twice, and `most` in all (0: no limit);
    each count is less than one row off its share. Without shares all rows are taken, or of each the same part.
    """
    weights = [Fraction(str(share)) for share in shares] if shares else [Fraction(size) for size in sizes]
    whole = sum(weights)
    if not whole:
        return [0] * len(sizes)
    total = min(size * whole / weight for size, weight in zip(sizes, weights, strict=True) if weight)
    total = min(total, Fraction(most)) if most else total
    exact = [total * weight / whole for weight in weights]
    counts = [int(count) for count in exact]
    by_rest = sorted(range(len(counts)), key=lambda place: counts[place] - exact[place])  # the largest remainder first
    for place in by_rest[: int(total) - sum(counts)]:
        counts[place] += 1
    return counts


def draw(rows: Iterable[T], size: int, count: int, seed: str) -> Iterator[tuple[int, T]]:
    """Yield `count` of the first `size` rows in their order: each choice of rows is equally likely, and the seed's.

    Selection sampling (Knuth, The Art of Computer Programming, 3.4.2, algorithm S): one pass, nothing is held.
    """
    chance, left = random.Random(seed), count
    for number, row in enumerate(islice(rows, size), 1):
        if not left:
            return
        if chance.random() * (size - number + 1) < left:
            left -= 1
            yield number, row
