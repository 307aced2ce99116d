"""The lines of a run's `events.jsonl` that a reader parses: all of a few, and of a million steps only some.

Steps are nearly all lines of a long run, and a curve of a million points looks like one of a few thousand. Knows how
`common.files.append_json_line` writes an event, not what events mean.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from common.files import MAX_LINE_BYTES

CHUNK = 2**17  # stays in the processor's cache
EACH, ONLY_THE_LAST = 1, 2**40  # of how many steps one is picked
STEP = rb'\{(?:"time":[0-9.e+-]+,)?"event":"step"'
IS_STEP = re.compile(STEP)
BEFORE_ANOTHER = re.compile(rb"\n(?!" + STEP + rb")")  # the end of a line after which no step comes


def whole_lines(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """The bytes from `start` to `end` in pieces of whole lines; what a crash cut off is no line yet.

    A line that is too long for an event comes in pieces, none of which is one.
    """
    size = CHUNK
    while start < end:
        file.seek(start)
        piece = file.read(min(size, end - start))
        length = piece.rfind(b"\n") + 1
        if length:
            yield piece[:length]
            start += length
        elif len(piece) < size:
            return
        elif size >= MAX_LINE_BYTES:
            yield piece
            start += len(piece)
        else:  # a line longer than that
            size *= 2


class Picked:
    """Picks from pieces of one file, in order: every line that is no step, the steps before and after it (which may begin anew),
    and every `every`-th step.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.held = b""  # the last step, while nothing came after it
        self._next = 0  # the byte from which the next step is picked

    def of(self, piece: bytes, at: int) -> Iterator[bytes]:
        """The lines to parse of a piece that begins at byte `at` of the file. What is held at the very end is one too."""
        if self.every == EACH:
            yield from piece.split(b"\n")
            return
        place = 0
        for start in _others(piece):
            yield from self._steps(piece, place, start, at)
            if self.held:
                yield self.held
                self.held = b""
            place = piece.find(b"\n", start) + 1
            yield piece[start:place]
            self._next = 0
        yield from self._steps(piece, place, len(piece), at)

    def _steps(self, piece: bytes, place: int, end: int, at: int) -> Iterator[bytes]:
        """Some of the steps from `place` to `end`; the last one is held when it is not among them."""
        if place == end:
            return
        last = max(place, piece.rfind(b"\n", place, end - 1) + 1)
        self.held = piece[last:end]
        if self._next - at > place:
            place = piece.find(b"\n", self._next - at - 1, end) + 1 or end
        while place < end:
            stop = piece.find(b"\n", place) + 1
            yield piece[place:stop]
            if stop == end:
                self.held = b""
            self._next = at + place + self.every * (stop - place)
            place = piece.find(b"\n", self._next - at - 1, end) + 1 or end


def _others(piece: bytes) -> list[int]:
    """Where the lines begin that are no steps."""
    first = [] if IS_STEP.match(piece) else [0]
    return first + [found.end() for found in BEFORE_ANOTHER.finditer(piece, 0, len(piece) - 1)]
