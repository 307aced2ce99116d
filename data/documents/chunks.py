"""From the blocks of a document (headings, paragraphs, items of lists) to its text and chunks of it.

A chunk is some whole blocks of one section, MIN_CHUNK_CHARACTERS to MAX_CHUNK_CHARACTERS long. A smaller section is joined with
the next one, and a block that does not fit is divided between two sentences: inside of one only where that alone is too long.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from io import StringIO
from itertools import takewhile

MAX_CHUNK_CHARACTERS = 1500
MIN_CHUNK_CHARACTERS = 200
MAX_HEADING_CHARACTERS = 200
# where a sentence may end: behind a mark and what closes quotes and brackets, before a space; East Asian marks need none
_END = re.compile(r"""(?<=[.!?…])["'”’»」』)\]]{0,3}(?=\s)|(?<=[。！？])["'”’」』）]{0,3}""")
# what such a mark ends that is no sentence: J. Smith, e.g. this, the number of an item
_ABBREVIATION = re.compile(
    r"(?m)(?:^|[\s(\[])(?:[A-Z]|e\.g|i\.e|cf|vs|etc|approx|[Ff]igs?|[Nn]os?|[Vv]ols?|pp?|Dr|Mr|Mrs|Ms|Prof|St|al)\.$|^\s*\d{1,3}\.$"
)
_SPACE = re.compile(r"\s*")
MAX_ABBREVIATION = 12  # characters before a mark that are looked at
# what turns writing round, and tags: nobody sees these, but a teacher reads and obeys them
_UNSEEN = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xE0000, 0xE0080), 0xFEFF, 0xAD])
_NOT_TEXT = {code: " " for code in range(32) if chr(code) not in "\t\n"} | {0x7F: " "} | _UNSEEN
SECTION, BLOCK, SENTENCE, INSIDE = 3, 2, 1, 0  # what a chunk may begin with, the best first


@dataclass(frozen=True)
class Block:
    """A paragraph, item of a list, table or heading of a document.

    `level` is that of a heading, from 1, and `title` its words, which need not stand in the text. `gap` stands between the block
    and the one before; `continues`: it goes on with that one's last sentence, on the next page.
    """

    text: str
    title: str = ""
    level: int = 0
    page: int = 0
    gap: str = "\n\n"
    continues: bool = False


@dataclass(frozen=True)
class Span:
    """A part of a document's text, text[start:end], with the headings above all of it, from the top, and its first page."""

    start: int
    end: int
    headings: tuple[str, ...]
    page: int


@dataclass(frozen=True)
class _Piece(Span):
    """A sentence, or a part of one that is too long: `rank` says how well a chunk begins with it."""

    rank: int
    is_heading: bool


def clean(text: str) -> str:
    """Return a text in Unicode NFC, with "\n" as the only end of a line, without other control characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_NOT_TEXT)
    return unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())


def text_and_chunks(blocks: Iterable[Block], max_characters: int) -> tuple[str, list[Span], bool]:
    """Return the text of a document, its chunks, and whether the text was cut after `max_characters`."""
    text, pieces, headings = StringIO(), list[_Piece](), list[tuple[int, str]]()
    size, is_below_heading = 0, False
    for block in blocks:
        if block.level:
            headings = [(level, title) for level, title in headings if level < block.level]
            headings.append((block.level, " ".join(clean(block.title).split())[:MAX_HEADING_CHARACTERS]))
        said = clean(block.text).strip("\n").rstrip()
        if not said.strip():
            continue
        gap = block.gap if size else ""
        room = max_characters - size - len(gap)
        size += text.write(gap)
        path = tuple(title for _level, title in headings)
        rank = INSIDE if is_below_heading or block.continues else SECTION if block.level else BLOCK
        for start, end, rest in sentences(said[: max(room, 0)]):
            begins = INSIDE if rest else rank
            pieces.append(_Piece(size + start, size + end, path, block.page, begins, block.level > 0))
            rank = SENTENCE
        size += text.write(said[: max(room, 0)])
        is_below_heading = block.level > 0
        if len(said) > room:
            return text.getvalue(), _joined(pieces), True
    return text.getvalue(), _joined(pieces), False


def sentences(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield (start, end, is it the rest of one) of each sentence; too long a one is divided, best at a line's end."""
    start = 0
    for end in [*_ends(text), len(text)]:
        is_rest = False
        while start < end:
            cut = end
            if end - start > MAX_CHUNK_CHARACTERS:
                latest = start + MAX_CHUNK_CHARACTERS
                earliest = latest - MAX_CHUNK_CHARACTERS // 2
                cut = max(text.rfind("\n", earliest, latest), 0) or max(text.rfind(" ", earliest, latest), 0) or latest
            part = text[start:cut]
            if part.strip():
                yield start + len(part) - len(part.lstrip()), start + len(part.rstrip()), is_rest
                is_rest = True
            start = cut


def _ends(text: str) -> Iterator[int]:
    """Yield where the sentences of a text end, but for the last one."""
    for mark in _END.finditer(text):
        follows = _SPACE.match(text, mark.end())
        if follows and text[follows.end() : follows.end() + 1].islower():
            continue
        if not _ABBREVIATION.search(text, max(0, mark.start() - MAX_ABBREVIATION), mark.start()):
            yield mark.end()


def _joined(pieces: list[_Piece]) -> list[Span]:
    """Return the chunks of a document's sentences."""
    chunks: list[Span] = []
    first = 0
    while first < len(pieces):
        start = pieces[first].start
        best, after = (False, False, INSIDE, first + 1), first + 1
        while after < len(pieces):
            rank, is_long = pieces[after].rank, pieces[after - 1].end - start >= MIN_CHUNK_CHARACTERS
            best = max(best, (rank > INSIDE, is_long, rank, after))
            if (rank == SECTION and is_long) or pieces[after].end - start > MAX_CHUNK_CHARACTERS:
                break
            after += 1
        else:
            best = (True, True, SECTION, len(pieces))
        inside = pieces[first : best[-1]]
        paths = [piece.headings for piece in inside if not piece.is_heading] or [inside[-1].headings]
        chunks.append(Span(start, inside[-1].end, _common(paths), inside[0].page))
        first = best[-1]
    is_short = len(chunks) > 1 and chunks[-1].end - chunks[-1].start < MIN_CHUNK_CHARACTERS
    if is_short and chunks[-1].end - chunks[-2].start <= MAX_CHUNK_CHARACTERS:
        path = _common([chunks[-2].headings, chunks[-1].headings])
        chunks[-2:] = [replace(chunks[-2], end=chunks[-1].end, headings=path)]
    return chunks


def _common(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Return what all paths of headings begin with."""
    shared = takewhile(lambda titles: len(set(titles)) == 1, zip(*paths, strict=False))
    return tuple(titles[0] for titles in shared)
