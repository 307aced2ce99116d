"""Find duplicates, find rows that are in another file too, and choose the held-out rows, all by their hashes.

Each function returns a mask over the places of `Conversations`, one byte a row; nothing else grows with the rows. Every process
computes the same masks.
"""

import random

import numpy

from data.conversations import Conversations

PIECE_HASHES = 250_000  # hashes that are sorted at once
MAX_COUNTED = 100_000  # distinct rows


def duplicates_of(conversations: Conversations) -> numpy.ndarray:
    """Mark the rows that say the same as an earlier one."""
    double = numpy.zeros(len(conversations), dtype=bool)
    pieces = -(-len(conversations) // PIECE_HASHES)
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
    """Mark the rows that are among `others` too."""
    known = numpy.unique(numpy.concatenate([hashes for _, hashes in others.hashes()] or [numpy.empty(0, numpy.uint64)]))
    mask = numpy.zeros(len(conversations), dtype=bool)
    for part, hashes in conversations.hashes():
        mask[part] = numpy.isin(hashes, known)
    return mask


def held_out_of(conversations: Conversations, usable: numpy.ndarray, fraction: float, seed: int) -> numpy.ndarray:
    """Mark the `usable` rows that are held out: those whose hash under `seed` lies below a limit.

    Equal rows have equal hashes and stay on one side, whatever the order of the rows. The limit is set so that `fraction` of the
    distinct rows are held out, at least one and never all. With more than `MAX_COUNTED` distinct rows it is `fraction * 2**64`,
    which hits the fraction by the law of large numbers. Of fewer than two distinct rows nothing is held out.
    """
    factor = numpy.uint64(random.Random(seed).getrandbits(64) | 1)  # odd: different hashes stay different
    lowest = numpy.empty(0, numpy.uint64)
    for part, hashes in conversations.hashes():
        lowest = numpy.unique(numpy.concatenate([lowest, (hashes * factor)[usable[part]]]))[: MAX_COUNTED + 1]
    held_out = numpy.zeros(len(conversations), dtype=bool)
    if fraction <= 0 or len(lowest) < 2:
        return held_out
    if len(lowest) > MAX_COUNTED:
        limit = max(lowest[1], numpy.uint64(fraction * 2**64))
    else:
        limit = lowest[min(max(1, round(len(lowest) * fraction)), len(lowest) - 1)]
    for part, hashes in conversations.hashes():
        held_out[part] = usable[part] & (hashes * factor < limit)
    return held_out
