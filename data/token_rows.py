"""Token rows on disk: written as they are made, then mapped into memory by `datasets`, which reads what a batch needs.

rows = write_rows(({"input_ids": [...], "labels": [...]} for ...), folder)    a datasets.Dataset
"""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pyarrow

from data.dataset import TokenRow

SCHEMA = pyarrow.schema([("input_ids", pyarrow.list_(pyarrow.int32())), ("labels", pyarrow.list_(pyarrow.int32()))])
BATCH_ROWS = 1000


def write_rows(rows: Iterable[TokenRow], folder: Path):
    """Return the rows as a `datasets.Dataset`.

    Their file lies in `folder` and has no name any more once it is mapped: it is gone with the process.
    """
    from datasets import Dataset

    handle, name = tempfile.mkstemp(".arrow", "rows-", folder)
    try:
        rows = iter(rows)
        with os.fdopen(handle, "wb") as file, pyarrow.ipc.new_stream(file, SCHEMA) as writer:
            while batch := list(islice(rows, BATCH_ROWS)):
                writer.write_batch(pyarrow.RecordBatch.from_pylist(batch, SCHEMA))
        return Dataset.from_file(name)
    finally:
        with suppress(OSError):  # Windows keeps what is mapped
            os.remove(name)
