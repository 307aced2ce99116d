"""What tells whether somebody else's files are the same: their SHA-256, sizes and lines."""

import hashlib
from pathlib import Path
from typing import TypedDict

TEXT_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".md")


class FilePrint(TypedDict):
    """A file with rows or weights; `lines` of a text file only."""

    file: str
    bytes: int
    sha256: str
    lines: int | None


def print_of(file: Path, name: str) -> FilePrint:
    """Return the print of a file, which is told as `name`."""
    digest, lines = hashlib.sha256(), 0
    with open(file, "rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
            lines += block.count(b"\n")
    is_text = file.suffix in TEXT_ENDINGS
    return {
        "file": name,
        "bytes": file.stat().st_size,
        "sha256": digest.hexdigest(),
        "lines": lines if is_text else None,
    }
