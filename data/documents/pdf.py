"""PDFs: paragraphs by page, under the headings of the outline; what repeats at the top or the bottom of the pages is left out."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError
from common.language import Sentence, _, n_
from data.documents.chunks import Block, clean
from data.documents.gather import DAMAGED

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader

MAX_PAGES = 1000
MAX_HEADINGS = 100  # on a page
MAX_NUMBER = 12  # characters before a heading's words on its page
LOOSE = re.compile(r"(?<=[가-힣]) (?=[.,!?])")  # in many Korean PDFs marks stand alone
EDGE_LINES = 3  # at the top and at the bottom of a page
MIN_REPEATS = 3  # of a line that is the head or the foot of pages
ENDS = re.compile(r"""[.!?:;…。！？]["'”’»」』)\]]{0,3}$""")
SHORT_LINE = 0.8  # of the usual length: a line that ends a sentence there ends the paragraph


def pdf_blocks(path: Path, notes: list[Sentence]) -> Iterator[Block]:
    """Yield the headings and paragraphs of a PDF. Raises UserError for one that is locked or a scan, and what pypdf raises."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    with open(path, "rb") as file:
        reader = PdfReader(file)
        try:
            is_open = not reader.is_encrypted or reader.decrypt("")
        except DependencyError:  # a cipher that needs another package
            is_open = False
        if not is_open:
            raise UserError(_("It is locked with a password."), _("Save it without one."))
        pages = [_lines_of(page) for page in islice(reader.pages, MAX_PAGES)]
        headings = _headings(reader)
        if len(reader.pages) > MAX_PAGES:
            notes.append(_("Only its first {count:,} pages are read.", count=MAX_PAGES))
    if broken := pages.count(None):
        notes.append(n_("{count:,} page cannot be read.", "{count:,} pages cannot be read.", broken))
    if broken == len(pages):
        raise UserError(DAMAGED)
    if not any(pages):
        raise UserError(_("There is no text in it."), _("Are its pages pictures? Recognise their text first (OCR)."))
    edges = _repeated([page[:EDGE_LINES] + page[-EDGE_LINES:] for page in pages if page])
    goes_on = False  # the last sentence of the page before
    for number, lines in enumerate(pages, 1):
        lines = list(lines or [])
        while lines and _form(lines[0]) in edges:
            del lines[0]
        while lines and _form(lines[-1]) in edges:
            del lines[-1]
        for block in _paragraphs(lines, headings.get(number, []), number):
            yield replace(block, gap="\n", continues=True) if goes_on and not block.level else block
            goes_on = False
        goes_on = bool(lines) and not ENDS.search(lines[-1])


def _lines_of(page: "PageObject") -> list[str] | None:
    """Return the lines of a page, "" between paragraphs where pypdf sees them; None when it cannot be read."""
    try:
        text = clean(page.extract_text())
    except MemoryError:
        raise
    except Exception:  # whatever pypdf raises for one damaged page among others
        return None
    lines = [" ".join(line.split()) for line in text.split("\n")]
    return [LOOSE.sub("", line) for line in lines] if any(lines) else []


def _headings(reader: "PdfReader") -> dict[int, list[tuple[int, str]]]:
    """Return the (level, title) of the headings on each page, from 1, as the outline has them; none when it is damaged."""
    from pypdf.generic import Destination

    found: dict[int, list[tuple[int, str]]] = {}
    try:
        left: list[tuple[int, object]] = [(1, item) for item in reversed(reader.outline)]
        while left:
            level, item = left.pop()
            if isinstance(item, list):
                left += [(level + 1, inner) for inner in reversed(item)]
            elif isinstance(item, Destination) and (page := reader.get_destination_page_number(item)) is not None:
                found.setdefault(page + 1, []).append((level, " ".join(clean(item.title or "").split())))
    except MemoryError:
        raise
    except Exception:  # whatever pypdf raises: there are no headings then, but the pages can be read
        return {}
    return found


def _repeated(pages: list[list[str]]) -> set[str]:
    """Return the lines, with "0" for numbers, that stand on half of the pages or more, and the empty one."""
    counts = Counter(form for lines in pages for form in set(map(_form, lines)))
    return {form for form, times in counts.items() if times >= max(MIN_REPEATS, len(pages) / 2)} | {""}


def _form(line: str) -> str:
    return re.sub(r"\d{1,9}", "0", line)


def _paragraphs(lines: list[str], headings: list[tuple[int, str]], page: int) -> Iterator[Block]:
    """Yield the blocks of a page: each heading where its words are a line, else where the one before it ends."""
    squeezed = ["".join(line.split()) for line in lines]
    titles: dict[int, list[Block]] = {}
    place = 0
    for level, title in headings[:MAX_HEADINGS]:
        wanted = "".join(title.split())
        # "3.1 Install" for "Install"
        said = (
            at for at, line in enumerate(squeezed) if line.endswith(wanted) and len(line) < len(wanted) + MAX_NUMBER
        )
        at = next((at for at in said if at >= place), None)
        if at is None:
            titles.setdefault(place, []).append(Block("", title, level, page))
        else:
            titles.setdefault(at, []).append(Block(lines[at], title, level, page))
            place = at + 1
    usual = sorted(map(len, lines))[len(lines) * 3 // 4] if lines else 0
    held: list[str] = []
    for at, line in enumerate([*lines, ""]):
        is_short = bool(held) and ENDS.search(held[-1]) is not None and len(held[-1]) < SHORT_LINE * usual
        if held and (not line or is_short or at in titles):
            yield Block("\n".join(held), page=page)
            held = []
        yield from titles.get(at, ())
        if line and not any(block.text for block in titles.get(at, ())):
            held.append(line)
