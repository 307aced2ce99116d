"""What a list needs of a run, without reading it: its words for a search, its status, its last losses.

Each comes from the files that `read_state` and the config read, and is the same as theirs; it is remembered while they are as
they were. Of a finished run only the last line of its events is looked at.
"""

import re
from dataclasses import dataclass

from common.errors import UserError
from common.files import parse_event, plain_value, read_object
from common.remembered import Remembered, stamps
from trainer.config import MOST_CHARACTERS, TrainConfig
from trainer.run import Run, read_state, status_without_process
from trainer.state import FINISHED, RUNNING, UNREADABLE, ending_of

KINDS = (*RUNNING, *FINISHED)  # events that change the status
STATUSES = (*KINDS, "interrupted", UNREADABLE)
TAIL_BYTES = 2**12
MOST_BYTES = 2**14  # that a config or a title and notes mostly have
MOST_RUNS = 30_000  # kept in memory, a few hundred bytes each
KIND = re.compile(rb'"event":"([a-z]+)"')
KIND_WITHIN = 64  # bytes of a line

_words, _statuses, _losses = Remembered(MOST_RUNS), Remembered(MOST_RUNS), Remembered(MOST_RUNS)
_problems = Remembered(MOST_RUNS)


@dataclass(frozen=True)
class Losses:
    """The last losses of a run, of the stage that runs or ran last; None where there is none."""

    training: float | None
    held_out: float | None


def words_of(run: Run) -> str:
    """What a search for `run` looks through, besides its status: id, title, notes, base, data; folded to small letters, a space
    before and after each.
    """
    folder = str(run.folder)
    return _words.get(folder, stamps(folder, "config.yaml", "about.json"), lambda: _read_words(run))


def _read_words(run: Run) -> str:
    about = read_object(run.about_file)
    told = [text for name in ("title", "notes") if isinstance(text := about.get(name), str)]
    return f" {' '.join((run.id, *told, *_base_and_data(run)))} ".casefold()


def _base_and_data(run: Run) -> tuple[str, str]:
    try:
        text = _read(run, "config.yaml")
        base, data = plain_value(text, "base"), plain_value(text, "data")
        if base is None or data is None:
            config = TrainConfig.from_text(text.decode())
            base, data = config.base, config.data
    except (OSError, ValueError, UserError):  # deleted meanwhile, or of another version of this program
        return "", ""
    return base, data


def settings_problem(run: Run) -> str:
    """Why the settings of `run` cannot be used, and what to do; "" when they can."""
    folder = str(run.folder)
    return _problems.get(folder, stamps(folder, "config.yaml"), lambda: _read_problem(run))


def _read_problem(run: Run) -> str:
    try:
        run.config()
    except UserError as error:
        return f"{error.message} It cannot be resumed; delete it, or mend its config.yaml."
    return ""


def _read(run: Run, name: str) -> bytes:
    """A small file; of one that is too large for settings no more than shows it."""
    with open(f"{run.folder}/{name}", "rb", buffering=0) as file:
        text = file.read(MOST_BYTES)
        return text if len(text) < MOST_BYTES else text + file.read(MOST_CHARACTERS)


def status_of(run: Run) -> str:
    """`read_state(run).status`, at a glance."""
    folder = str(run.folder)
    queued, job, *events = stamps(folder, "queued.json", "job.json", "events.jsonl")
    if queued is not None:
        return read_state(run).status
    status = _statuses.get(folder, tuple(events), lambda: _last_status(run))
    if status in RUNNING and job is None and not run.is_alive():
        status = _last_status(run)  # once more: one that ended meanwhile wrote its last event first
        return status_without_process(run, status) if status in RUNNING else status
    return status


def _last_status(run: Run) -> str:
    """The status that the events add up to, from the last lines alone where they tell it."""
    try:
        with open(f"{run.folder}/events.jsonl", "rb", buffering=0) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            tail = file.read()
    except OSError:
        tail, size = b"", 0
    if not tail.endswith(b"\n"):  # no events, or a line that a crash cut off
        return ending_of(run.events_file).status
    first, *lines = tail.split(b"\n")[:-1]
    whole = lines if size > TAIL_BYTES else [first, *lines]
    found = next((status for line in reversed(whole) if (status := _status_in(line))), "")
    return found or ending_of(run.events_file).status


def _status_in(line: bytes) -> str:
    """The status that an event brings, "" for any other line."""
    kind = KIND.search(line[:KIND_WITHIN])
    if kind and kind[1].decode() not in KINDS:
        return ""
    event = parse_event(line)
    kind = event.get("event") if event else None
    return kind if kind in KINDS else ""


def losses_of(run: Run) -> Losses:
    """The last loss of the training, and of the held-out rows."""
    folder = str(run.folder)
    return _losses.get(folder, stamps(folder, "events.jsonl"), lambda: _read_losses(run))


def _read_losses(run: Run) -> Losses:
    state = ending_of(run.events_file)
    last = [series[-1][1] if series else None for series in (state.losses, state.eval_losses)]
    return Losses(*last)
