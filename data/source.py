"""A data set that can be opened again, and its rows as a stream with their numbers: all of them, or a sample by the seed."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from common.errors import UserError
from common.language import Sentence, _, n_
from data.conversations import Row, RowNumber
from data.decoding import TooLarge
from data.sampling import Numbered, draw
from data.tables import Table

MAX_HEAD_ROWS = 1000  # rows that tell what the columns are
MAX_HEAD_CHARACTERS = 8 * 2**20
STREAMED_ROWS = 10_000  # that are looked at beyond those wanted, where rows are streamed


@dataclass
class Source:
    """Rows with their numbers (from 1), to be read once; the first of them; and what is known of where they come from.

    `size` is the number of rows that these are drawn from, None where all are read; `is_part` says that there are more behind
    those. `splits` counts the rows of each part of a file or Hub data set that has several, as far as they are known;
    `tables` has what is told about a table while it is read.
    """

    numbered: Iterator[Numbered]
    head: list[Row]
    notes: list[str] = field(default_factory=list)
    numbers: Sequence[int] = ()  # of the head
    name: str = ""
    size: int | None = None
    is_part: bool = False
    splits: dict[str, int] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    revision: str = ""  # of a Hub data set

    @classmethod
    def of(cls, numbered: Iterator[Numbered], notes: list[str]) -> "Source":
        """Return a source of these rows; its head is read at once."""
        first, characters = [], 0
        for number, row in islice(numbered, MAX_HEAD_ROWS):
            first.append((number, row))
            characters += len(str(row))
            if characters > MAX_HEAD_CHARACTERS:
                break
        return cls(chain(first, numbered), [row for _, row in first], notes, [number for number, _ in first])

    @property
    def rows(self) -> Iterator[Row]:
        """Return the rows without their numbers."""
        return (row for _, row in self.numbered)

    def in_mix(self, place: int, name: str) -> "Source":
        """Return the same rows as those of data set `place` (from 1) of several."""
        numbered = ((RowNumber(number, place, name), row) for number, row in self.numbered)
        numbers = [RowNumber(number, place, name) for number in self.numbers]
        return replace(self, numbered=numbered, numbers=numbers, name=name)

    def counts(self, rows: int) -> Sentence:
        """Return of how many `rows` are: '700 of 1,200 rows of a.jsonl'."""
        size = rows if self.size is None else self.size
        if self.is_part:
            return _("{rows:,} of the first {size:,} rows of {name}", rows=rows, size=size, name=self.name)
        return n_(
            "{rows:,} of {count:,} row of {name}",
            "{rows:,} of {count:,} rows of {name}",
            size,
            rows=rows,
            name=self.name,
        )


@dataclass
class Opened:
    """A data set whose rows can be read as often as needed; each reading fills `notes`, `splits` and `tables` anew."""

    name: str
    read: Callable[[], Iterable[Row]]
    notes: list[str] = field(default_factory=list)
    splits: dict[str, int] = field(default_factory=dict)
    size: int | None = None  # where it is known
    is_streamed: bool = False
    is_part: bool = False  # `size` rows are not all
    tables: list[Table] = field(default_factory=list)
    revision: str = ""  # of a Hub data set

    def count(self, most: int) -> int:
        """Return the number of rows, which are read for it once; of streamed ones at most `most` and `STREAMED_ROWS`.

        Where there is more than is ever read, those up to the limit are counted. Raises UserError when there is none.
        """
        if self.size is None:
            window, count = most + STREAMED_ROWS if self.is_streamed else None, 0
            try:
                for _ in islice(self.read(), window):
                    count += 1
                self.is_part = count == window
            except TooLarge:
                if not count:
                    raise
                self.is_part = True
            self.size = count
        self._check(self.size)
        return self.size

    def source(self, count: int | None = None, seed: str = "") -> Source:
        """Return all rows as a source, or of those that were counted `count` drawn by the seed. Raises UserError for none."""
        rows = self.read()
        if count is None:
            source = Source.of(enumerate(rows, 1), self.notes)
            self._check(len(source.head))
        else:
            source = Source.of(draw(rows, self.size or 0, count, seed), self.notes)
        return replace(
            source,
            name=self.name,
            size=None if count is None else self.size,
            is_part=self.is_part,
            splits=self.splits,
            tables=self.tables,
            revision=self.revision,
        )

    def _check(self, rows: int) -> None:
        if not rows:
            raise UserError(_("'{name}' has no rows.", name=self.name), _("Add at least one row."))
