"""The kinds of files that rows are read from: told by a file's name, or for pasted text by what it looks like."""

import csv
import io
import json
from itertools import islice
from pathlib import Path

KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".txt", ".md")


def suffix_of(path: Path | str) -> str:
    """Return the kind of a file by its name, without .gz: '.csv' of 'a.csv.gz'; '' for a kind that is not read."""
    name = Path(path).name.lower()
    return next((kind for kind in KINDS if name.endswith((kind, f"{kind}.gz"))), "")


def paste_suffix(text: str) -> str:
    """Return the kind of file that a pasted text is: '.jsonl', '.json', '.csv', '.tsv' or '.txt'."""
    start = text.strip()
    first = start.split("\n", 1)[0]
    if first.startswith(("{", "[")):
        try:
            return ".jsonl" if isinstance(json.loads(first), dict) else ".json"
        except (ValueError, RecursionError):
            return ".json"
    for delimiter, suffix in (("\t", ".tsv"), (",", ".csv"), (";", ".csv"), ("|", ".csv")):
        if _is_table(start, delimiter):
            return suffix
    return ".txt"


def _is_table(text: str, delimiter: str) -> bool:
    """Return True when the first records have two columns or more, all alike, and the first looks like names."""
    try:
        records = [values for values in islice(csv.reader(io.StringIO(text), delimiter=delimiter), 20) if values]
    except csv.Error:
        return False
    is_even = len(records) > 1 and len({len(values) for values in records}) == 1 and len(records[0]) > 1
    return is_even and all(0 < len(name.strip()) <= 40 for name in records[0])
