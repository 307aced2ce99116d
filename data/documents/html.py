"""HTML: what a person sees of a page. It is parsed as it comes, without a tree; nothing is fetched."""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from common.language import Sentence
from data.documents.chunks import Block
from data.documents.text import read_text

PIECE_CHARACTERS = 2**16
HEADINGS = {f"h{level}": level for level in range(1, 7)}
BLOCKS = {
    *("address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "div", "dl", "dt", "fieldset"),
    *("figcaption", "figure", "form", "header", "hr", "legend", "li", "main", "ol", "p", "pre", "section", "summary"),
    *("table", "tbody", "tfoot", "thead", "tr", "ul", *HEADINGS),
}
# what is not shown, is no sentence, or leads to other pages
SKIPPED = {
    *("audio", "button", "canvas", "datalist", "footer", "head", "iframe", "math", "nav", "noscript", "object"),
    *("script", "select", "style", "svg", "template", "textarea", "video"),
}
_WHITE = re.compile(r"\s+")
HIDING = re.compile(r"display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden", re.IGNORECASE)


def html_blocks(path: Path, notes: list[Sentence]) -> Iterator[Block]:
    """Yield the headings, paragraphs, items and rows of tables of a page, without scripts, styles and menus. Raises UserError."""
    yield from blocks_of_html(read_text(path, notes))


def blocks_of_html(text: str) -> Iterator[Block]:
    """Yield the same of a page or a part of one."""
    from lxml import etree

    page = _Page()
    parser = etree.HTMLParser(target=page, remove_comments=True, remove_pis=True)
    for start in range(0, len(text), PIECE_CHARACTERS):
        parser.feed(text[start : start + PIECE_CHARACTERS])
        yield from page.taken()
    with suppress(etree.XMLSyntaxError):  # there is no element in it
        parser.close()
    yield from page.taken()


class _Page:
    """The target of lxml's parser: it is told of each element and text, and gathers blocks. Each start has its end."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []
        self._parts: list[str] = []  # of the block that is read
        self._skipped = self._cells = self._pre = 0  # how many elements of a kind are open; all below a skipped one are
        self._mark = ""  # of an item of a list
        self._is_row = False
        self._last = ""  # what the block before was: an item, a row, or neither

    def taken(self) -> list[Block]:
        """Return the blocks that are complete, once."""
        blocks, self._blocks = self._blocks, []
        return blocks

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Begin an element."""
        if self._skipped or tag in SKIPPED or _is_hidden(attributes):
            self._skipped += 1
        elif tag == "br":
            self._parts.append("\n")
        elif tag in ("td", "th"):
            self._parts.append(" | " if self._parts else "")
            self._cells += 1
        elif self._cells and tag in ("p", "div"):
            self._parts.append(" ")
        elif tag in BLOCKS:
            self._flush()
            self._pre += tag == "pre"
            self._is_row = tag == "tr"
            self._mark = "- " if tag == "li" else self._mark

    def end(self, tag: str) -> None:
        """End an element."""
        if self._skipped:
            self._skipped -= 1
        elif tag in ("td", "th"):
            self._cells -= 1
        elif tag in BLOCKS and not (self._cells and tag in ("p", "div")):
            self._flush(HEADINGS.get(tag, 0))
            self._pre -= tag == "pre"
            self._mark = "" if tag == "li" else self._mark

    def data(self, text: str) -> None:
        """Take a text."""
        if not self._skipped and (self._parts or self._pre or text.strip()):
            self._parts.append(text if self._pre else _WHITE.sub(" ", text))

    def close(self) -> None:
        """End the page."""
        self._flush()

    def _flush(self, level: int = 0) -> None:
        """Make a block of the texts so far."""
        text = "".join(self._parts)
        self._parts = []
        if not self._pre:
            text = "\n".join(" ".join(line.split()) for line in text.split("\n")).strip()
        if not text.strip():
            return
        kind = "item" if self._mark else "row" if self._is_row else ""
        self._blocks.append(Block(self._mark + text, text, level, gap="\n" if kind and kind == self._last else "\n\n"))
        self._mark, self._last = "", kind


def _is_hidden(attributes: Mapping[str, str]) -> bool:
    """Return whether an element is not shown."""
    is_hidden = "hidden" in attributes or attributes.get("aria-hidden") == "true"
    return is_hidden or HIDING.search(attributes.get("style", "")) is not None
