"""An open text in pieces, each a row."""

import re
from collections.abc import Iterable, Iterator

SECTION_CHARACTERS = 2000  # after which a text is cut at the next blank line


def sections(text_lines: Iterable[str], is_markdown: bool) -> Iterator[str]:
    """Yield a text in pieces that end at a blank line after about `SECTION_CHARACTERS`, in Markdown also before a heading."""
    held: list[str] = []
    size, in_code = 0, False
    for line in text_lines:
        in_code ^= line.lstrip().startswith("```")
        is_heading = is_markdown and not in_code and re.match(r"#{1,6} ", line)
        if held and (is_heading or (size >= SECTION_CHARACTERS and not line.strip())):
            yield from _section(held)
            held, size = [], 0
        held.append(line)
        size += len(line)
    yield from _section(held)


def _section(held: list[str]) -> Iterator[str]:
    text = "".join(held).replace("\r\n", "\n").strip("\n\ufeff")
    if text.strip():
        yield text
