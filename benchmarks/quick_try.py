"""What a newcomer sees: a Quick try on the example, with the embedded base and the page's defaults.

    python -m benchmarks.quick_try [--full]

The parts of the time from Start to Done that are training and evaluations, the peak memory beside the estimate of the Train tab,
the part of the held-out answers that have the example's manner afterwards, and the part that does not repeat itself, with the
chat's default sampling. --full asks with three seeds, and tries the same again, when what the first run found at step 0 is known.
"""

from collections.abc import Iterator
from dataclasses import replace

from adapters.library import find_adapter
from benchmarks.inputs import home_of_its_own
from benchmarks.memory import row_of
from benchmarks.rows import Row, main, within
from benchmarks.train_speed import wait
from chat.engine import Engine, Model, Reply
from chat.sampling import BALANCED
from data.reading import EXAMPLE_HELD_OUT, read_rows
from examples.demo import MAX_ANSWER_TOKENS, has_manner
from models.base import EMBEDDED, choose_base, fetch_base
from models.family import EMBEDDED_SHAPE
from runs.config import TrainConfig
from runs.events import read_events
from runs.forecast.estimate import EXAMPLE_FACTS
from runs.presets import PRESETS, QUICK
from runs.queue import launch
from runs.run import Run, RunState

TRAINING_AIM, MANNER_AIM = 0.7, 0.8
MAX_EVALUATIONS = 0.15  # of the time from Start to Done
NOTE = "Quick try, embedded base, example data"
CONFIG = TrainConfig(name="quick-try", base=EMBEDDED, **PRESETS[QUICK])


def quick_try(of_which: str = "") -> tuple[RunState, list[Row]]:
    """Train once; return how it ended, and the parts of its time as rows."""
    run = launch(CONFIG)
    state = wait(run)
    if not (state.started_at and state.ended_at):
        raise RuntimeError("the run does not say when it began and ended")
    seconds = state.ended_at - state.started_at
    training, evaluations = state.metrics["train_seconds"] / seconds, evaluation_seconds(run) / seconds
    name, note = f"part of Start to Done{of_which} that", f"{NOTE}, {seconds:.1f} s"
    return state, [
        Row(f"{name} is training", training, None, "", training / TRAINING_AIM, 1.0, note),
        within(f"{name} evaluations take", evaluations, MAX_EVALUATIONS, "", note),
    ]


def evaluation_seconds(run: Run) -> float:
    """Return the seconds of all evaluations of a run: held-out loss, sample answers, test sets."""
    seconds, began = 0.0, None
    for event in read_events(run.events_file):
        if event["event"] == "evaluating":
            began = event["time"]
        elif event["event"] == "training" and began is not None:
            seconds, began = seconds + event["time"] - began, None
    return seconds


def rows(quick: bool = True) -> Iterator[Row]:
    """Train, once or twice, then ask the held-out questions."""
    with home_of_its_own():
        state, parts = quick_try()
        yield from parts
        yield row_of(NOTE, CONFIG, EMBEDDED_SHAPE, EXAMPLE_FACTS, state.metrics["peak_memory_bytes"])
        if not quick:
            yield from quick_try(", repeated,")[1]
        adapter = find_adapter(state.adapter)
        model = Model(fetch_base(choose_base(EMBEDDED)), "fp32", adapter.folder)
        replies: list[Reply] = []
        conversations = [row["messages"][:-1] for row in read_rows(str(EXAMPLE_HELD_OUT))]
        for seed in range(1 if quick else 3):
            sampling = replace(BALANCED, max_new_tokens=MAX_ANSWER_TOKENS, seed=seed)
            replies += Engine().answers(model, conversations, sampling)
    manner = sum(has_manner(reply.text) for reply in replies) / len(replies)
    calm = sum(not reply.is_repeating for reply in replies) / len(replies)
    note = f"{NOTE}, {len(replies)} answers"
    yield Row("held-out answers in the manner", manner, None, "", manner / MANNER_AIM, 1.0, note)
    yield Row("answers that do not repeat themselves", calm, None, "", calm, 1.0, note)


if __name__ == "__main__":
    main(rows, __doc__)
