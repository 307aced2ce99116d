"""Work that runs in processes of its own: objects that follow it, draw themselves in a notebook, and wait for what comes out."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from adapters.library import Adapter, find_adapter
from common.errors import UserError
from common.language import _, joined
from evaluation import follow as followed_in_terminal
from evaluation.background import request_stop
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.notes import Note
from evaluation.experiments.table import Entry, read_entries
from evaluation.experiments.verdicts import Settled, verdicts
from evaluation.results import Line
from evaluation.run import Evaluation, Progress, read_progress
from evaluation.table import read_table
from making.made import MadeSet
from making.review import ReviewRow, keep, read_review
from runs import follow as run_in_terminal
from runs.queue import advance_if_possible, stop
from runs.run import Run, RunState, model_words, read_state
from studio import drawing

POLL_SECONDS = 0.5

Moment = TypeVar("Moment", RunState, Progress)


def _until_it_ends(read: Callable[[], Moment]) -> Iterator[Moment]:
    """Yield what `read` returns each time that it has changed, until nothing runs any more."""
    before = None
    while True:
        now = read()
        if now != before:
            yield now
        if not now.is_running:
            return
        before = now
        time.sleep(POLL_SECONDS)


class Training:
    """A run in the app's home. Iterating yields its state each time that it has changed, until the run ends."""

    def __init__(self, run: Run) -> None:
        self.run = run

    @property
    def state(self) -> RunState:
        """Return the state of the run as its files have it now."""
        return read_state(self.run)

    def __iter__(self) -> Iterator[RunState]:
        def read() -> RunState:
            advance_if_possible()  # it may wait in the queue behind another run
            return self.state

        return _until_it_ends(read)

    def watch(self) -> Adapter:
        """Show how it learns until it ends, live under a notebook's cell or line by line; return as `wait` does."""
        if drawing.in_notebook():
            drawing.draw(self, self)
        else:
            run_in_terminal.watch(self.run)
        return self.wait()

    def stop(self) -> None:
        """Ask the run to save what it learned and end."""
        stop(self.run)

    def wait(self) -> Adapter:
        """Wait for the end and return the adapter. Raises UserError when the run made none."""
        *_earlier, state = self
        if not state.adapter:
            ended = _("The run '{name}' ended without an adapter ({status}).", name=self.run.id, status=state.status)
            hint = state.hint or model_words(self.run, state) or _("See {file}.", file=str(self.run.log_file))
            raise UserError(joined([ended, state.message]), hint)
        return find_adapter(state.adapter, self.run.owner)

    def __repr__(self) -> str:
        return drawing.run_text(self.run)

    def _repr_html_(self) -> str:
        return drawing.run_html(self.run)


class _Following:
    """Work in a process of its own. Iterating yields its progress each time that it has changed, until it ends."""

    def __init__(self, work: drawing.Work) -> None:
        self._work = work

    @property
    def progress(self) -> Progress:
        """Return what it does, as its files have it now."""
        return read_progress(self._work)

    def __iter__(self) -> Iterator[Progress]:
        return _until_it_ends(lambda: self.progress)

    def stop(self) -> None:
        """Ask it to end and keep what is there."""
        request_stop(self._work)

    def _watch(self) -> None:
        """Show how far it is until it ends, live under a notebook's cell or line by line."""
        if drawing.in_notebook():
            drawing.draw(self, self)
        else:
            followed_in_terminal.follow(self._work)
            print(self)

    def _wait(self) -> None:
        """Wait for the end. Raises UserError when it failed."""
        *_earlier, progress = self
        if progress.status not in ("done", "stopped"):
            raise UserError(progress.message, progress.hint)

    def __repr__(self) -> str:
        return drawing.work_text(self._work)

    def _repr_html_(self) -> str:
        return drawing.work_html(self._work)


class Evaluating(_Following):
    """An evaluation in the app's home. Iterating yields its progress each time that it has changed, until it ends."""

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__(evaluation)
        self.evaluation = evaluation

    def watch(self) -> list[Line]:
        """Show how far it is, then the scores; return as `wait` does."""
        self._watch()
        return self.wait()

    def wait(self) -> list[Line]:
        """Wait for the end and return the scores, each beside the first candidate's. Raises UserError when it failed."""
        self._wait()
        return read_table(self.evaluation)


class Experimenting(_Following):
    """An experiment in the app's home. Iterating yields its progress each time that it has changed, until it ends."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        self.experiment = experiment

    def watch(self) -> list[Entry]:
        """Show how far it is, and the table as it grows; return as `wait` does."""
        self._watch()
        return self.wait()

    def wait(self) -> list[Entry]:
        """Wait for the end and return the scores of all arms. Raises UserError when it, or one of its cells, failed."""
        self._wait()
        return read_entries(self.experiment)

    def verdicts(self) -> list[tuple[Note, Settled]]:
        """Return what it says of the claims in docs/claims.md that its arms show."""
        return verdicts(self.experiment)


class Making(_Following):
    """A made set in the app's home. Iterating yields its progress each time that it has changed, until it ends."""

    def __init__(self, made: MadeSet) -> None:
        super().__init__(made)
        self.made = made

    def watch(self) -> list[ReviewRow]:
        """Show how far it is; return as `wait` does."""
        self._watch()
        return self.wait()

    def wait(self) -> list[ReviewRow]:
        """Wait for the end and return the rows with what was found in them. Raises UserError when it failed."""
        self._wait()
        return read_review(self.made)

    def keep(self, name: str, accept_rest: bool = True) -> str:
        """Make the data set `name` of the accepted rows and, unless told otherwise, of the rest without findings.

        Return its file, which `train` takes as `data`. Raises UserError when no row is left.
        """
        return str(keep(self.made, name, self.made.owner, accept_rest).path)
