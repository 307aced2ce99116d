"""The app's main jobs for notebooks and scripts.

    import studio

    training = studio.train(data="rows.jsonl", name="my-adapter")  # settings of the page, or one TrainConfig
    adapter = training.watch()                                     # shows how it learns; `wait()` shows nothing
    for state in training:                                         # or: what is new, until the run ends
        print(state.step, state.total_steps, state.losses[-1:])

    with studio.chat(adapter) as chat:                             # an adapter or its name; without one the base answers
        print(chat.say("Why is the sky blue?"))
        print(chat.say("And at night?"))                           # the conversation goes on

    for line in studio.evaluate(adapter).watch():                  # beside its base: held-out rows, questions, general text
        print(line.test_set, line.score, line.candidate, line.estimate, line.difference)

    print(studio.push(adapter, progress=print).url)                # private, unless private=False

    grid = studio.experiment(vary={"method": ["none", "lora", "full"]}, seeds=[1, 2, 3], settings={"max_steps": 20})
    for entry in grid.wait():                                      # arms x seeds on one split; files in its results_folder
        print(entry.arm, entry.test_set, entry.score, entry.mean, entry.low, entry.high, entry.is_best)

    rows = studio.make(["guide.pdf"], model="NAME", rows=200)      # by the server in CHAT_SERVER_URL; each row with its origin
    print(rows.wait()[0].findings, rows.keep("guide"))             # the file that `train` takes as its data

    studio.home()                                                  # on Colab and Kaggle: keeps all where it outlives the session
    training = studio.resume() or studio.train(data="rows.jsonl")  # goes on from the last checkpoint after one that ended
    studio.page()                                                  # the app's page, shown in the notebook

They all run in processes of their own and go on when the notebook is closed: `studio.resume()` follows again. What is returned
draws itself in a notebook, and prints as text. What a person can fix is raised as a `UserError`, which says what to do.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from adapters.library import Adapter, find_adapter
from adapters.package import PushOptions
from adapters.push import plan_push
from chat.__main__ import open_model
from chat.engine import Sampling
from common.command_line import say
from common.errors import UserError
from common.language import _, joined
from evaluation.config import EvaluationConfig
from evaluation.experiments.config import ExperimentConfig
from evaluation.experiments.start import start as start_experiment
from evaluation.start import default_config, keep_file, start
from making.config import MakingConfig
from making.plan import plan
from making.start import start as start_making
from models.hardware import find_gpus
from models.hub.client import account_of, token_of
from models.hub.push import Pushed
from runs.config import TrainConfig
from runs.labels import labels_of
from runs.machines.parallel import on_all_cards
from runs.queue import enqueue, launch
from runs.run import find_run, list_runs, read_state
from studio import drawing
from studio.followed import Evaluating, Experimenting, Making, Training
from studio.places import home, is_hosted, page
from studio.talking import Chat

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
    "home",
    "make",
    "page",
    "push",
    "resume",
    "train",
]


def train(config: TrainConfig | None = None, **settings: object) -> Training:
    """Queue a training, by a config or by settings under their names in `runs/config.py`; it starts when none runs.

    On Colab and Kaggle, whose machine is the notebook's alone, settings that name no number of processes get all cards, with as
    many rows a step. Raises UserError for settings that cannot be used.
    """
    if config is not None and settings:
        raise TypeError("train() takes a config or settings, not both")
    if config is None:
        config = TrainConfig.from_dict(settings)
        if is_hosted() and "num_processes" not in settings:
            config = on_all_cards(config, find_gpus())
    return Training(launch(config))


def resume(name: str = "") -> Training | None:
    """Go on with a run from its last checkpoint: the one of this name, else the newest if it was cut off; and say so.

    One that still waits or trains is only followed. Without a name None means that nothing was cut off, so that
    `studio.resume() or studio.train(...)` is right before the first start and after a session that ended. Raises UserError for a
    run that is not there or cannot be resumed.
    """
    if name:
        run = find_run(name)
    else:
        started = (run for run in list_runs() if not labels_of(run).experiment and not run.job_file.exists())
        run = next(started, None)
    if run is None:
        return None
    state = read_state(run, with_curves=False)
    if state.is_running:
        say(_("Following '{name}', which still runs.", name=run.id))
        return Training(run)
    if not name and state.status != "interrupted":
        return None
    say(joined([_("Continuing '{name}'.", name=run.id), run.kept_words()]))
    enqueue(run)
    return Training(run)


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
    progress: Callable[[str, float | None], None] | None = None,
) -> Pushed:
    """Push an adapter to the Hub by the token of `hf auth login` or HF_TOKEN; return where it is.

    `repo` is a name or owner/name, by default the adapter's name. `progress` is called with what is done and the fraction
    of all that; without it a notebook draws a bar. A repository that is there is changed; one that others may see gets nothing
    unless `private` is False.
    """
    found = adapter if isinstance(adapter, Adapter) else find_adapter(adapter)
    shown = progress or (drawing.Bar() if drawing.in_notebook() else lambda what, fraction: None)
    return plan_push(found, account_of(token_of(None)), PushOptions(repo, private)).push(shown)
