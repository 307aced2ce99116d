"""The kinds of files that rows are read from: told by a file's name, or for pasted text by what it looks like."""

import csv
import io
import json
from itertools import islice
from pathlib import Path

from data.delimited import EXCEL_LINE

WORKBOOKS = (".xlsx", ".xlsm", ".ods")
TABLES = (".csv", ".tsv", *WORKBOOKS)
KINDS = (".jsonl", ".ndjson", ".json", *TABLES, ".parquet", ".txt", ".md")


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
    if EXCEL_LINE.fullmatch(first):
        return ".csv"
    for delimiter, suffix in (("\t", ".tsv"), (",", ".csv"), (";", ".csv"), ("|", ".csv")):
        if _is_table(start, delimiter):
            return suffix
    return ".txt"


def _is_table(text: str, delimiter: str) -> bool:
    """Return True when the first record looks like two names or more, and most of the next have as many values."""
    try:
        records = [values for values in islice(csv.reader(io.StringIO(text), delimiter=delimiter), 20) if values]
    except csv.Error:
        return False
    if len(records) < 2 or len(records[0]) < 2 or not all(0 < len(name.strip()) <= 40 for name in records[0]):
        return False
    return sum(len(values) == len(records[0]) for values in records[1:]) * 2 > len(records) - 1
