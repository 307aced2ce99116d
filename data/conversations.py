"""Conversations on disk: written once, read as often as needed, never all in memory.

    kept = Conversations(folder)
    kept.append(17, {"messages": [...]})       17: its row in the file it came from
    for conversation in kept.part(mask): ...   {"row": 17, "messages": [...]}

They lie in a file without a name: it is gone with the process, however that ends. Of each conversation a hash of 64 bits lies
beside it, by which `split` finds what is there twice.
"""

import json
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import compress
from pathlib import Path
from typing import Any, TypedDict

import numpy

from common.errors import UserError
from common.language import Sentence, _
from common.made_by import MadeBy
from data.made import COLUMN, Origin, made_by
from models.messages import Message

MAX_BYTES = 8 * 2**30  # of all conversations of a file: short turns take ten times what they took in it
CHUNK_BYTES = 2**20
CHUNK_HASHES = 2**17
MAX_KEPT = 1000
MAX_BAD_CHARACTERS = 200  # that are kept of a row that cannot be used
MAX_FILE_ROWS = 2**32  # so that a number tells the file, too

Row = dict[str, Any]  # as it was read: {column: value}


class BadLine(Row):
    """An empty row in the place of one that could not be read: why, its `line` in a file of lines, and its `text`."""

    def __init__(self, error: UserError, text: str, line: int | None = None) -> None:
        super().__init__()
        self.error, self.text, self.line = error, beginning(text), line


def beginning(text: str) -> str:
    """Return as much of a row that cannot be used as is told of it."""
    return text if len(text) <= MAX_BAD_CHARACTERS else f"{text[:MAX_BAD_CHARACTERS]} …"


class RowNumber(int):
    """The number of a row in data set `place` (from 1) of several: in the order of these, written as '3 of b.jsonl'."""

    file: str

    def __new__(cls, number: int, place: int, file: str) -> "RowNumber":
        """Make the number of a row of `file`."""
        made = super().__new__(cls, place * MAX_FILE_ROWS + number)
        made.file = file
        return made

    def __str__(self) -> str:
        return str(row_words(self))


def row_words(number: int) -> int | Sentence:
    """Return a row's number as a person is told it, and as JSON may have it."""
    if isinstance(number, RowNumber):
        return _("{number} of {file}", number=number % MAX_FILE_ROWS, file=number.file)
    return number


class Conversation(TypedDict, total=False):
    """Either `messages` or `text`, and where it was made if it was; read back, it has its `row` in the file it came from."""

    row: int
    messages: list[Message]
    text: str
    made: Origin


@dataclass
class Tally:
    """A count of things, and the first `MAX_KEPT` of them."""

    count: int = 0
    first: list = field(default_factory=list)

    def add(self, thing: object) -> None:
        """Count `thing`, and keep it when it is among the first `MAX_KEPT`."""
        self.count += 1
        if len(self.first) < MAX_KEPT:
            self.first.append(thing)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.count + other.count, (self.first + other.first)[:MAX_KEPT])

    def __bool__(self) -> bool:
        return self.count > 0


class Conversations:
    """A file of conversations in `folder`, which must be there. All are appended before the first is read.

    `files` names the data sets that they come from, where those are several.
    """

    def __init__(self, folder: Path, files: Sequence[str] = ()) -> None:
        self._files = files
        self._file = tempfile.TemporaryFile(dir=folder, buffering=CHUNK_BYTES)  # noqa: SIM115 - as long as it lives
        self._hashes = tempfile.TemporaryFile(dir=folder, buffering=CHUNK_BYTES)  # noqa: SIM115
        self._count = self._bytes = 0
        self.has_made = False  # whether one of them says who made it

    def append(self, row: int, conversation: Conversation) -> None:
        """Append a conversation that came from `row`; what says the same has the same hash. Raises UserError when it is full."""
        key = whole = _line(conversation)
        if COLUMN in conversation:
            self.has_made = True
            key = _line({name: value for name, value in conversation.items() if name != COLUMN})
        line = b"%d %b\n" % (row, whole)
        self._bytes += len(line)
        if self._bytes > MAX_BYTES:
            raise UserError(
                _("The conversations take more than {size} GB on disk.", size=MAX_BYTES // 2**30),
                _("Set max_rows to read only some of the rows."),
            )
        self._file.write(line)
        self._hashes.write(blake2b(key, digest_size=8).digest())
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def part(self, mask: numpy.ndarray | None = None) -> "Part":
        """Return the conversations at whose places `mask` is true; all without a mask."""
        return Part(self, numpy.ones(len(self), dtype=bool) if mask is None else mask)

    def lines(self) -> Iterator[bytes]:
        """Yield b'17 {"messages": ...}' of each, in order. Several readers may take turns."""
        offset, rest = 0, b""
        while True:
            self._file.seek(offset)
            chunk = self._file.read(CHUNK_BYTES)
            if not chunk:
                return
            offset += len(chunk)
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole

    def line_at(self, offset: int) -> bytes:
        """Return the line that begins at a byte of the file."""
        self._file.seek(offset)
        return self._file.readline()

    def parsed(self, line: bytes) -> Conversation:
        """Return the conversation in a line."""
        number, _, key = line.partition(b" ")
        place, row = divmod(int(number), MAX_FILE_ROWS)
        return {"row": RowNumber(row, place, self._files[place - 1]) if place else row, **json.loads(key)}

    def hashes(self) -> Iterator[tuple[slice, numpy.ndarray]]:
        """Yield (places, their hashes as uint64), piece by piece, in order."""
        for start in range(0, len(self), CHUNK_HASHES):
            self._hashes.seek(start * 8)
            found = numpy.frombuffer(self._hashes.read(CHUNK_HASHES * 8), dtype=numpy.uint64)
            yield slice(start, start + len(found)), found


class Part:
    """The conversations of `whole` at whose places `mask` is true, in their order."""

    def __init__(self, whole: Conversations, mask: numpy.ndarray) -> None:
        self.whole, self.mask = whole, mask
        self._count = int(mask.sum())

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Conversation]:
        return map(self.whole.parsed, compress(self.whole.lines(), self.mask.view(numpy.uint8).data))

    def made(self) -> list[MadeBy]:
        """Count them by who made them."""
        return made_by(conversation.get("made") for conversation in self) if self.whole.has_made else []

    def sample(self, most: int) -> Iterator[Conversation]:
        """Yield all in order; of more than `most` a random sample of `most`, shuffled, so that any beginning is a sample too."""
        if len(self) <= most:
            yield from self
            return
        chance = random.Random(0)
        wanted, offsets, offset = numpy.zeros(len(self), dtype=bool), [], 0
        wanted[chance.sample(range(len(self)), most)] = True
        mask = numpy.zeros(len(self.whole), dtype=bool)
        mask[self.mask] = wanted
        for line, is_wanted in zip(self.whole.lines(), mask.view(numpy.uint8).data, strict=True):
            if is_wanted:
                offsets.append(offset)
            offset += len(line) + 1
        chance.shuffle(offsets)
        yield from (self.whole.parsed(self.whole.line_at(offset)) for offset in offsets)


def _line(conversation: Mapping[str, object]) -> bytes:
    return json.dumps(conversation, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")
