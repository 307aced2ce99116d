"""What is known of the rows of an experiment before they are split: how many, and how long. Imports no torch."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from common.errors import UserError
from common.files import is_file, stamps
from common.language import _
from common.mix import data_sets
from data.check import check
from data.settings import EXAMPLE, DataSettings
from runs.forecast.estimate import EXAMPLE_FACTS
from runs.forecast.plan import DataFacts, facts_in
from runs.limits import limits

# each is a process with gigabytes, for minutes; and every key stroke plans anew
CHECKS = threading.BoundedSemaphore(2)
MAX_WAIT_SECONDS = 10.0


def checked_facts(settings: DataSettings) -> DataFacts:
    """Return the facts of all rows that these settings read; the check is made once, until a file changes. Raises UserError."""
    whole = replace(
        settings, max_rows=limits().rows, eval_data=None, eval_split=None, eval_fraction=0.0, seed=DataSettings.seed
    )
    if whole.data == EXAMPLE and not whole.text_data:
        return EXAMPLE_FACTS
    files = [one.place for one in data_sets(whole.data)] + [whole.text_data or ""]
    return _checked(whole, tuple(stamps(Path(file).parent, Path(file).name) for file in files if is_file(file)))


@lru_cache(maxsize=100)
def _checked(settings: DataSettings, stamp: tuple) -> DataFacts:
    with turn_to_read():
        return facts_in(check(settings))


@contextmanager
def turn_to_read() -> Generator[None]:
    """Wait for one of the turns in which plans read data. Raises UserError when none comes in time."""
    if not CHECKS.acquire(timeout=MAX_WAIT_SECONDS):
        raise UserError(_("Other data is being read at the moment."), _("Try again in a minute."))
    try:
        yield
    finally:
        CHECKS.release()


def all_rows(facts: DataFacts) -> int:
    """Return how many rows there are to split."""
    return facts["train_rows"] + facts.get("held_out_rows", 0)


def facts_of_some(facts: DataFacts, rows: int, held_out_rows: int, max_rows: int) -> DataFacts:
    """Return the facts of so many of the rows, at most `max_rows` (0: any number). Raises UserError where none is left."""
    rows = min(rows, max_rows) if max_rows else rows
    if rows < 1 or facts["train_rows"] < 1:
        raise UserError(_("No rows are left to train on."), _("Add more data."))
    share = rows / facts["train_rows"]
    tokens, trained = round(share * facts["tokens"]), round(share * facts["trained_tokens"])
    return {**facts, "train_rows": rows, "held_out_rows": held_out_rows, "tokens": tokens, "trained_tokens": trained}
