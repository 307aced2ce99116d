"""The app's main jobs for notebooks and scripts.

    import studio

    training = studio.train(data="rows.jsonl", name="my-adapter")  # settings of the page, or one TrainConfig
    for state in training:                                         # what is new, until the run ends
        print(state.step, state.total_steps, state.losses[-1:])
    adapter = training.wait()

    with studio.chat(adapter) as chat:                             # an adapter or its name; without one the base answers
        print(chat.say("Why is the sky blue?"))
        print(chat.say("And at night?"))                           # the conversation goes on

    for line in studio.evaluate(adapter).wait():                   # beside its base: held-out rows, questions, general text
        print(line.test_set, line.score, line.candidate, line.estimate, line.difference)

    print(studio.push(adapter, progress=print).url)                # private, unless private=False

    grid = studio.experiment(vary={"method": ["none", "lora", "full"]}, seeds=[1, 2, 3], settings={"max_steps": 20})
    for entry in grid.wait():                                      # arms x seeds on one split; files in its results_folder
        print(entry.arm, entry.test_set, entry.score, entry.mean, entry.low, entry.high, entry.is_best)

    rows = studio.make(["guide.pdf"], model="NAME", rows=200)      # by the server in CHAT_SERVER_URL; each row with its origin
    print(rows.wait()[0].findings, rows.keep("guide"))             # the file that `train` takes as its data

They all run in processes of their own and go on when the notebook is closed: `studio.Training(run)` follows again.
What a person can fix is raised as a `UserError`, which says what to do.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from adapters.library import Adapter, find_adapter
from adapters.package import PushOptions
from adapters.push import plan_push
from chat.__main__ import open_model
from chat.engine import Engine, Model, Reply, Sampling
from common.errors import UserError
from common.language import _, joined
from evaluation.config import EvaluationConfig
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.notes import Note
from evaluation.experiments.start import start as start_experiment
from evaluation.experiments.table import Entry, read_entries
from evaluation.experiments.verdicts import Settled, verdicts
from evaluation.results import Line
from evaluation.run import Background, Evaluation, Progress, read_progress
from evaluation.start import default_config, keep_file, request_stop, start
from evaluation.table import read_table
from making.config import MakingConfig
from making.made import MadeSet
from making.plan import plan
from making.review import ReviewRow, keep, read_review
from making.start import start as start_making
from models.hub.client import account_of, token_of
from models.hub.push import Pushed
from models.messages import Message
from runs.config import TrainConfig
from runs.queue import advance_if_possible, launch, stop
from runs.run import Run, RunState, model_words, read_state

POLL_SECONDS = 0.5

__all__ = [
    "Chat",
    "Evaluating",
    "Experimenting",
    "Making",
    "Sampling",
    "TrainConfig",
    "Training",
    "UserError",
    "chat",
    "evaluate",
    "experiment",
    "make",
    "push",
    "train",
]

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


class _Following:
    """Work in a process of its own. Iterating yields its progress each time that it has changed, until it ends."""

    def __init__(self, work: Background) -> None:
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

    def _wait(self) -> None:
        """Wait for the end. Raises UserError when it failed."""
        *_earlier, progress = self
        if progress.status not in ("done", "stopped"):
            raise UserError(progress.message, progress.hint)


class Evaluating(_Following):
    """An evaluation in the app's home. Iterating yields its progress each time that it has changed, until it ends."""

    def __init__(self, evaluation: Evaluation) -> None:
        super().__init__(evaluation)
        self.evaluation = evaluation

    def wait(self) -> list[Line]:
        """Wait for the end and return the scores, each beside the first candidate's. Raises UserError when it failed."""
        self._wait()
        return read_table(self.evaluation)


class Experimenting(_Following):
    """An experiment in the app's home. Iterating yields its progress each time that it has changed, until it ends."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        self.experiment = experiment

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

    def wait(self) -> list[ReviewRow]:
        """Wait for the end and return the rows with what was found in them. Raises UserError when it failed."""
        self._wait()
        return read_review(self.made)

    def keep(self, name: str, accept_rest: bool = True) -> str:
        """Make the data set `name` of the accepted rows and, unless told otherwise, of the rest without findings.

        Return its file, which `train` takes as `data`. Raises UserError when no row is left.
        """
        return str(keep(self.made, name, self.made.owner, accept_rest).path)


class Chat:
    """One conversation with a model. `messages` may be read, changed and cleared between two turns."""

    def __init__(self, model: Model, system: str = "", sampling: Sampling | None = None) -> None:
        self.sampling = sampling or Sampling()
        self.messages: list[Message] = [{"role": "system", "content": system}] if system else []
        self._model, self._engine = model, Engine()

    def stream(self, message: str) -> Iterator[Reply]:
        """Yield the reply to `message` as it grows. The turn is part of the conversation once it was read to its end."""
        asked: list[Message] = [*self.messages, {"role": "user", "content": message}]
        reply = Reply()
        for reply in self._engine.reply(self._model, asked, self.sampling, conversation="studio"):
            yield reply
        self.messages = [*asked, {"role": "assistant", "content": reply.text}]

    def say(self, message: str) -> str:
        """Return the whole answer to `message`."""
        *_, reply = self.stream(message)
        return reply.text

    def close(self) -> None:
        """Free the model's memory."""
        self._engine.close()

    def __enter__(self) -> "Chat":
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def train(config: TrainConfig | None = None, **settings: object) -> Training:
    """Queue a training, by a config or by settings under their names in `runs/config.py`; it starts when none runs.

    Raises UserError for settings that cannot be used.
    """
    if config is not None and settings:
        raise TypeError("train() takes a config or settings, not both")
    return Training(launch(config or TrainConfig.from_dict(settings)))


def chat(
    adapter: Adapter | str | None = None,
    base: str | None = None,
    precision: str = "auto",
    system: str = "",
    sampling: Sampling | None = None,
) -> Chat:
    """Begin a conversation with an adapter, or with a base alone. An adapter knows its own base."""
    name = adapter.name if isinstance(adapter, Adapter) else adapter
    return Chat(open_model(name, base, precision), system, sampling)


def evaluate(adapter: Adapter | str | None = None, **settings: object) -> Evaluating:
    """Start the evaluation of an adapter, the newest unless named, beside its base; settings as in `evaluation/config.py`.

    A test set may be a file. Raises UserError for settings that cannot be used.
    """
    name = adapter.name if isinstance(adapter, Adapter) else adapter or ""
    config = EvaluationConfig.from_dict({**vars(default_config(adapter=name)), **settings})
    config = replace(config, test_sets=[keep_file(test_set) for test_set in config.test_sets])
    return Evaluating(start(config, token=token_of(None)))


def experiment(config: ExperimentConfig | None = None, **settings: object) -> Experimenting:
    """Start an experiment, by a config or by settings under their names in `evaluation/experiments/config.py`.

    The ready one of a claim is `evaluation.experiments.notes.find_note("forgets-less").config({"base": "embedded"})`. Raises
    UserError for settings that cannot be used.
    """
    if config is not None and settings:
        raise TypeError("experiment() takes a config or settings, not both")
    return Experimenting(start_experiment(config or ExperimentConfig.from_dict(settings)))


def make(
    documents: Sequence[str] = (),
    key: str | None = None,
    progress: Callable[[str], None] = print,
    **settings: object,
) -> Making:
    """Let a teacher make rows of documents, `seed_rows` or `topics`; settings as in `making/config.py`.

    `progress` is called with what it takes. A `key` for a server or a provider is kept nowhere; without one a provider gets the
    token of `hf auth login` or HF_TOKEN. Raises UserError for settings that cannot be used.
    """
    config = MakingConfig.from_dict({"documents": [*documents], **settings})
    progress(plan(config).words)
    return Making(start_making(config, token=token_of(None), key=key))


def push(
    adapter: Adapter | str,
    repo: str = "",
    private: bool = True,
    progress: Callable[[str, float | None], None] = lambda what, fraction: None,
) -> Pushed:
    """Push an adapter to the Hub by the token of `hf auth login` or HF_TOKEN; return where it is.

    `repo` is a name or owner/name, by default the adapter's name. `progress` is called with what is done and the fraction
    of all that. A repository that is there is changed; one that others may see gets nothing unless `private` is False.
    """
    found = adapter if isinstance(adapter, Adapter) else find_adapter(adapter)
    return plan_push(found, account_of(token_of(None)), PushOptions(repo, private)).push(progress)
