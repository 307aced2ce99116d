"""Fingerprints of files, by which somebody else can tell whether theirs are the same: SHA-256, size and lines."""

import hashlib
from pathlib import Path
from typing import TypedDict

TEXT_ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".txt", ".md")


class FileFingerprint(TypedDict):
    """The name, size, SHA-256 and, of a text file only, `lines` of a file with rows or weights."""

    file: str
    bytes: int
    sha256: str
    lines: int | None


def file_fingerprint(file: Path, name: str) -> FileFingerprint:
    """Return the fingerprint of a file, which is called `name` in it."""
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
