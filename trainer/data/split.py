"""Which conversations are there twice, which are in another file too, and which are held out: by their hashes, in little memory.

Everything is a mask over the places of `Conversations`, one byte a conversation. Every process finds the same.
"""

from collections.abc import Iterator
from functools import partial

import numpy

from trainer.data.conversations import Conversations

PIECE = 250_000  # hashes that are sorted at once
BINS, BIN = 2**16, numpy.uint64(48)  # of luck, by its upper 16 bits
STEP = numpy.uint64(0x9E3779B97F4A7C15)  # of splitmix64, whose mixing is below


def duplicates_of(conversations: Conversations) -> numpy.ndarray:
    """True at the places of those that say the same as an earlier one."""
    double = numpy.zeros(len(conversations), dtype=bool)
    pieces = -(-len(conversations) // PIECE)
    for piece in range(pieces):  # equal ones have the same remainder
        places, found = [], []
        for part, hashes in conversations.hashes():
            mine = numpy.flatnonzero(hashes % numpy.uint64(pieces) == piece)
            places.append(mine + part.start)
            found.append(hashes[mine])
        places, found = numpy.concatenate(places), numpy.concatenate(found)
        again = numpy.ones(len(found), dtype=bool)
        again[numpy.unique(found, return_index=True)[1]] = False
        double[places[again]] = True
    return double


def found_in(conversations: Conversations, others: Conversations) -> numpy.ndarray:
    """True at the places of those that are among `others`."""
    known = numpy.unique(numpy.concatenate([hashes for _, hashes in others.hashes()] or [numpy.empty(0, numpy.uint64)]))
    mask = numpy.zeros(len(conversations), dtype=bool)
    for part, hashes in conversations.hashes():
        mask[part] = numpy.isin(hashes, known)
    return mask


def held_out_of(conversations: Conversations, usable: numpy.ndarray, fraction: float, seed: int) -> numpy.ndarray:
    """True at the places that are held out of the `usable` ones, chosen by `seed`. Equal ones stay on one side, or the
    held-out loss would tell nothing. At least one stays on each side when there are two different ones.
    """
    held_out = numpy.zeros(len(conversations), dtype=bool)
    total = int(usable.sum())
    if fraction <= 0 or total < 2:
        return held_out
    count = min(max(1, round(total * fraction)), total - 1)
    few = count / total * 1.1 + 1000 / total  # nearly always enough to choose from
    for share in (min(few, 1.0), 1.0):
        most = numpy.uint64(min(int(share * 2**64), 2**64 - 1))
        lucky = partial(_lucky, conversations, usable, most, seed)
        bins, left = _whole_bins(lucky(), count)
        lucks = numpy.concatenate([luck[luck >> BIN >= bins] for _, luck in lucky()])
        chosen = _groups(lucks, left, is_all=share == 1.0 and left == count)
        if len(chosen) or left < count:
            for places, luck in lucky():
                held_out[places[(luck >> BIN < bins) | numpy.isin(luck, chosen)]] = True
            break
    return held_out


def _lucky(
    conversations: Conversations, usable: numpy.ndarray, most: numpy.uint64, seed: int
) -> Iterator[tuple[numpy.ndarray, numpy.ndarray]]:
    """(places, luck) of the usable ones with a luck of at most `most`, piece by piece: a number that hash and seed decide."""
    for part, hashes in conversations.hashes():
        luck = mixed(hashes, seed)
        mine = numpy.flatnonzero(usable[part] & (luck <= most))
        yield mine + part.start, luck[mine]


def _whole_bins(lucky: Iterator[tuple[numpy.ndarray, numpy.ndarray]], count: int) -> tuple[int, int]:
    """(how many of the lowest bins of luck hold at most `count` together, how many are left to choose from those behind)."""
    sizes = numpy.zeros(BINS, dtype=int)
    for _, luck in lucky:
        sizes += numpy.bincount((luck >> BIN).astype(int), minlength=BINS)
    ends = numpy.cumsum(sizes)
    bins = int(numpy.searchsorted(ends, count, side="right"))
    return bins, count - int(ends[bins - 1]) if bins else count


def _groups(luck: numpy.ndarray, count: int, is_all: bool) -> numpy.ndarray:
    """The lowest groups of equal ones that make at most `count` together; of all, at least the smallest."""
    values, sizes = numpy.unique(luck, return_counts=True)
    if is_all and len(values) < 2:
        return values[:0]
    chosen, left = [], count
    for place in numpy.flatnonzero(sizes <= left):
        if sizes[place] <= left:
            chosen.append(place)
            left -= sizes[place]
        if not left:
            break
    if is_all and not chosen:
        chosen = [int(sizes.argmin())]
    return values[chosen]


def mixed(hashes: numpy.ndarray, seed: int) -> numpy.ndarray:
    """Other hashes for each seed (splitmix64, Steele et al. 2014): equal ones stay equal."""
    with numpy.errstate(over="ignore"):
        value = hashes + STEP * numpy.uint64((seed + 1) % 2**63)
        value = (value ^ (value >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        return value ^ (value >> numpy.uint64(31))
