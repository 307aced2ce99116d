"""Word documents (.docx): headings by their styles, paragraphs, items of lists, rows of tables."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError
from common.language import Sentence, _
from common.zips import open_zip
from data.documents.chunks import Block

if TYPE_CHECKING:
    from docx.oxml.xmlchemy import BaseOxmlElement
    from docx.styles.styles import Styles

MAX_MEMBERS = 5000  # pictures, mostly
MAX_UNPACKED_BYTES = 200 * 2**20
SAVE_AGAIN = _("Save it as .docx again.")
W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
PARAGRAPH, RUN, TEXT, ROW, CELL, VALUE = (f"{W}{name}" for name in ("p", "r", "t", "tr", "tc", "val"))
STYLE, ITEM, HIDDEN = f"{W}pPr/{W}pStyle", f"{W}pPr/{W}numPr", f"{W}rPr/{W}vanish"
WHITE = {f"{W}tab": "\t", f"{W}br": "\n", f"{W}cr": "\n", f"{W}noBreakHyphen": "-"}
FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"  # the text of a drawing once more


def word_blocks(path: Path, notes: list[Sentence]) -> Iterator[Block]:
    """Yield the headings, paragraphs, items and rows of tables of a document. Raises UserError, and what zips and XML raise."""
    with open_zip(path, MAX_MEMBERS, SAVE_AGAIN) as source:
        if sum(member.file_size for member in source.infolist()) > MAX_UNPACKED_BYTES:
            raise UserError(_("It unpacks to more than {size:,} MB.", size=MAX_UNPACKED_BYTES // 2**20))
    from docx import Document

    document = Document(str(path))
    levels = _heading_levels(document.styles)
    lists = {style.style_id for style in document.styles if style.element.find(ITEM) is not None}
    body = document.element.body
    for fallback in list(body.iter(FALLBACK)):
        fallback.getparent().remove(fallback)
    last = ""  # what the block before was: an item, a row, or neither
    for one in body.iter(PARAGRAPH, ROW):
        if next(one.iterancestors(PARAGRAPH, ROW), None) is not None:  # its text is said with that one's
            continue
        level = 0
        if one.tag == ROW:
            cells = [cell for cell in one.iter(CELL) if next(cell.iterancestors(ROW)) is one]
            text, kind = " | ".join(" ".join(_text_of(cell).split()) for cell in cells), "row"
        else:
            style = "" if one.find(STYLE) is None else one.find(STYLE).get(VALUE)
            text, level = _text_of(one).strip(), levels.get(style, 0)
            kind = "item" if not level and (one.find(ITEM) is not None or style in lists) else ""
        gap = "\n" if kind and kind == last else "\n\n"
        yield Block(f"- {text}" if kind == "item" and text else text, text, level, gap=gap)
        last = kind


def _heading_levels(styles: "Styles") -> dict[str, int]:
    """Return the level of each style of headings by its id; that of the title is 1."""
    levels = {}
    for style in styles:
        name = str(style.name)
        if match := re.fullmatch(r"Heading ([1-9])", name):
            levels[style.style_id] = int(match[1]) + 1
        elif name == "Title":
            levels[style.style_id] = 1
    return levels


def _text_of(element: "BaseOxmlElement") -> str:
    """Return the text in an element: what was put in, not what was struck out or is hidden."""
    parts = []
    for part in element.iter(PARAGRAPH, TEXT, *WHITE):
        run = part.getparent()
        if part.tag == PARAGRAPH:
            parts.append("\n")
        elif run.tag == RUN and run.find(HIDDEN) is None:
            parts.append(WHITE.get(part.tag) or part.text or "")
    return "".join(parts)
