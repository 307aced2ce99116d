"""What a list needs of a run: its words for a search, its status, its last losses.

Each comes from the files that `read_state` and the config read, is the same as theirs, and is kept while they are unchanged.
"""

from dataclasses import dataclass

from common.errors import UserError
from common.files import plain_value, read_object
from common.remembered import Remembered, stamps
from trainer.config import MAX_CHARACTERS, TrainConfig
from trainer.run import Run, status_without_process
from trainer.state import FINISHED, RUNNING, UNREADABLE, state_of

STATUSES = (*RUNNING, *FINISHED, "interrupted", UNREADABLE)
MOST_BYTES = 2**14  # that a config or a title and notes mostly have
MOST_RUNS = 30_000  # kept in memory, a few hundred bytes each

_words, _problems, _endings = Remembered(MOST_RUNS), Remembered(MOST_RUNS), Remembered(MOST_RUNS)


@dataclass(frozen=True)
class Losses:
    """The last losses of a run, of the stage that runs or ran last; None where there is none."""

    training: float | None
    held_out: float | None


@dataclass(frozen=True)
class _Ending:
    """What the events add up to at their end."""

    status: str
    losses: Losses


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
        return text if len(text) < MOST_BYTES else text + file.read(MAX_CHARACTERS)


def status_of(run: Run) -> str:
    """`read_state(run).status`."""
    if run.is_queued():
        return "queued"
    status = _ending_of(run).status
    if status in RUNNING and not run.job_file.exists() and not run.is_alive():
        status = _ending_of(run).status  # once more: one that ended meanwhile wrote its last event first
        return status_without_process(run, status) if status in RUNNING else status
    return status


def losses_of(run: Run) -> Losses:
    """The last loss of the training, and of the held-out rows, in the events."""
    return _ending_of(run).losses


def _ending_of(run: Run) -> _Ending:
    folder = str(run.folder)
    return _endings.get(folder, stamps(folder, "events.jsonl"), lambda: _read_ending(run))


def _read_ending(run: Run) -> _Ending:
    state = state_of(run.events_file, with_curves=False)
    last = [points[-1][1] if points else None for points in (state.losses, state.eval_losses)]
    return _Ending(state.status, Losses(*last))
