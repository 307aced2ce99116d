"""Reads once, while the app starts, what its lists and searches look through: the first search of ten thousand runs waits for it
no more than the second. Keeps nothing itself: `trainer.glance` and `adapters.library` remember.
"""

import logging
import threading

from adapters.library import adapter_names
from common.paths import home, is_name
from trainer import history
from trainer.run import list_runs

MOST_ENTRIES = 20_000  # of everybody together: more is not remembered
EVERYTHING = "done"  # a word that no text but the state of a run holds, so that both are read


def start_reading_ahead() -> threading.Thread:
    """Start the thread; it ends by itself."""
    thread = threading.Thread(target=_read_all, name="read-ahead", daemon=True)
    thread.start()
    return thread


def _read_all() -> None:
    try:
        left = MOST_ENTRIES
        for owner in _owners():
            runs = list_runs(owner)
            left -= max(len(runs), len(adapter_names(owner)))
            if left < 0:
                return
            history.found_in(runs, EVERYTHING)
            adapter_names(owner, EVERYTHING)
    except OSError as error:  # what was to be read is gone: whoever asks for it reads for themselves
        logging.getLogger(__name__).warning("Not everything was read ahead: %s", error)


def _owners() -> list[str]:
    """Everybody who has runs or adapters here."""
    folders = {path.name for kind in ("runs", "adapters") for path in (home() / kind).glob("*") if path.is_dir()}
    return sorted(name for name in folders if is_name(name))
