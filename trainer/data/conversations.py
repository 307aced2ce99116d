"""Conversations on disk: written once, read as often as needed, never all in memory. Knows no files of people, no tokens.

    kept = Conversations(folder)
    kept.append(17, {"messages": [...]})       17: its row in the file it came from
    for conversation in kept.part(mask): ...   {"row": 17, "messages": [...]}

They lie in a file without a name: it is gone with the process, however that ends. Of each conversation a hash of 64 bits lies
beside it, by which `trainer.data.split` finds what is there twice.
"""

import json
import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import compress
from pathlib import Path

import numpy

CHUNK = 2**20  # bytes
CHUNK_HASHES = 2**17
MOST_KEPT = 1000


@dataclass
class Kept:
    """How many there were, and the first of them."""

    count: int = 0
    first: list = field(default_factory=list)

    def add(self, thing: object) -> None:
        self.count += 1
        if len(self.first) < MOST_KEPT:
            self.first.append(thing)

    def __bool__(self) -> bool:
        return self.count > 0


def _nameless(folder: Path):
    return tempfile.TemporaryFile(dir=folder, buffering=CHUNK)  # open as long as its owner lives


def key_of(conversation: dict) -> str:
    """What a conversation says, without its number: those with the same key are duplicates."""
    said = {name: value for name, value in conversation.items() if name != "row"}
    return json.dumps(said, sort_keys=True, ensure_ascii=False)


class Conversations:
    """A file of conversations in `folder`, which must be there. All are appended before the first is read."""

    def __init__(self, folder: Path) -> None:
        self._file = _nameless(folder)
        self._hashes = _nameless(folder)
        self._count = 0

    def append(self, row: int, conversation: dict) -> None:
        key = key_of(conversation).encode("utf-8", "replace")
        self._file.write(b"%d %b\n" % (row, key))
        self._hashes.write(blake2b(key, digest_size=8).digest())
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def part(self, mask: numpy.ndarray | None = None) -> "Part":
        """Those at whose places `mask` is true; all without one."""
        return Part(self, numpy.ones(len(self), dtype=bool) if mask is None else mask)

    def lines(self) -> Iterator[bytes]:
        """b'17 {"messages": ...}' of each, in order. Several readers may take turns."""
        offset, rest = 0, b""
        while True:
            self._file.seek(offset)
            chunk = self._file.read(CHUNK)
            if not chunk:
                return
            offset += len(chunk)
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole

    def line_at(self, offset: int) -> bytes:
        self._file.seek(offset)
        return self._file.readline()

    def hashes(self) -> Iterator[tuple[slice, numpy.ndarray]]:
        """(places, their hashes as uint64), piece by piece, in order."""
        for start in range(0, len(self), CHUNK_HASHES):
            self._hashes.seek(start * 8)
            found = numpy.frombuffer(self._hashes.read(CHUNK_HASHES * 8), dtype=numpy.uint64)
            yield slice(start, start + len(found)), found


class Part:
    """Some of the conversations, in their order."""

    def __init__(self, whole: Conversations, mask: numpy.ndarray) -> None:
        self.whole, self.mask = whole, mask
        self._count = int(mask.sum())

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict]:
        return map(_parsed, self._lines())

    def _lines(self) -> Iterator[bytes]:
        return compress(self.whole.lines(), self.mask.view(numpy.uint8).data)

    def keys(self) -> Iterator[bytes]:
        """What each says; see `key_of`."""
        return (line.partition(b" ")[2] for line in self._lines())

    def rows(self) -> Iterator[int]:
        """Their rows' numbers."""
        return (int(line.partition(b" ")[0]) for line in self._lines())

    def sample(self, most: int) -> Iterator[dict]:
        """All of them in order, or `most` of them, evenly drawn, in an order of which any beginning is a fair sample."""
        if len(self) <= most:
            yield from self
            return
        chance = random.Random(0)
        offsets = self._offsets(chance.sample(range(len(self)), most))
        chance.shuffle(offsets)
        yield from (_parsed(self.whole.line_at(offset)) for offset in offsets)

    def _offsets(self, places: list[int]) -> list[int]:
        """Where in the file the conversations at these places of the part begin."""
        wanted, found, offset = numpy.zeros(len(self), dtype=bool), [], 0
        wanted[places] = True
        mask = numpy.zeros(len(self.whole), dtype=bool)
        mask[self.mask] = wanted
        for line, is_wanted in zip(self.whole.lines(), mask.view(numpy.uint8).data, strict=True):
            if is_wanted:
                found.append(offset)
            offset += len(line) + 1
        return found


def _parsed(line: bytes) -> dict:
    row, _, key = line.partition(b" ")
    return {"row": int(row), **json.loads(key)}
