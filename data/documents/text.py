"""Plain text: its paragraphs, between blank lines."""

import re
from collections.abc import Iterator
from pathlib import Path

from common.language import Sentence, _
from data.decoding import detect_encoding, whole_bytes
from data.documents.chunks import Block, clean
from data.documents.gather import MAX_DOCUMENT_BYTES


def text_blocks(path: Path, notes: list[Sentence]) -> Iterator[Block]:
    """Yield the paragraphs of a text file, in whatever encoding it is. Raises UserError."""
    for part in re.split(r"\n[ \t]*(?=\n)", read_text(path, notes)):
        yield Block(part)


def read_text(path: Path, notes: list[Sentence]) -> str:
    """Return all of a text file; note its encoding when it is not Unicode. Raises UserError."""
    encoding = detect_encoding(path)
    if not encoding.startswith("utf"):
        notes.append(_("It is not UTF-8; it was read as {encoding}.", encoding=encoding))
    return clean(whole_bytes(path, MAX_DOCUMENT_BYTES, "").decode(encoding, "replace"))
