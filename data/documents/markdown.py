"""Markdown (CommonMark with tables): its source, block by block."""

import re
from collections.abc import Iterator
from pathlib import Path

from common.language import Sentence
from data.documents.chunks import Block
from data.documents.html import blocks_of_html
from data.documents.text import read_text

FRONT_MATTER = re.compile(r"\A---\n(?:(?!---\n).*\n){0,200}---\n")
LEAVES = ("heading_open", "paragraph_open", "fence", "code_block", "table_open")  # what has lines of its own


def markdown_blocks(path: Path, notes: list[Sentence]) -> Iterator[Block]:
    """Yield the headings, paragraphs, items, tables and code of a Markdown file as they are written. Raises UserError."""
    from markdown_it import MarkdownIt

    source = FRONT_MATTER.sub("", read_text(path, notes))
    lines = source.split("\n")
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])  # what is inside of a paragraph stays as it is written
    tokens = parser.parse(source)
    end = 0
    for place, token in enumerate(tokens):
        if token.map is None or token.map[0] < end:  # inside of a table
            continue
        gap = "\n" if token.map[0] == end else "\n\n"
        if token.type == "html_block":
            yield from blocks_of_html(token.content)
        elif token.type in LEAVES:
            level = int(token.tag[1]) if token.type == "heading_open" else 0
            title = tokens[place + 1].content if level else ""
            yield Block("\n".join(lines[slice(*token.map)]), title, level, gap=gap)
        else:
            continue
        end = token.map[1]
