"""What a newcomer sees: a Quick try on the example, with the embedded base and the page's defaults.

    python -m benchmarks.quick_try [--full]

The part of the time from Start to Done that is training, the part of the held-out answers that have the example's manner
afterwards, and the part that does not repeat itself, with the chat's default sampling; --full asks with three seeds.
"""

from dataclasses import replace

from adapters.library import find_adapter
from benchmarks.inputs import home_of_its_own
from benchmarks.rows import Row, main
from benchmarks.train_speed import wait
from chat.engine import Engine, Model, Reply
from chat.sampling import BALANCED
from data.reading import EXAMPLE_HELD_OUT, read_rows
from examples.demo import MAX_ANSWER_TOKENS, has_manner
from models.base import EMBEDDED, choose_base, fetch_base
from runs.config import TrainConfig
from runs.presets import PRESETS, QUICK
from runs.queue import launch

TRAINING_AIM, MANNER_AIM = 0.7, 0.8
NOTE = "Quick try, embedded base, example data"


def rows(quick: bool = True) -> list[Row]:
    """Train once, then ask the held-out questions."""
    with home_of_its_own():
        state = wait(launch(TrainConfig(name="quick-try", base=EMBEDDED, **PRESETS[QUICK])))
        if not (state.started_at and state.ended_at):
            raise RuntimeError("the run does not say when it began and ended")
        training = state.metrics["train_seconds"] / (state.ended_at - state.started_at)
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
    return [
        Row("part of Start to Done that is training", training, None, "", training / TRAINING_AIM, 1.0, NOTE),
        Row("held-out answers in the manner", manner, None, "", manner / MANNER_AIM, 1.0, note),
        Row("answers that do not repeat themselves", calm, None, "", calm, 1.0, note),
    ]


if __name__ == "__main__":
    main(rows, __doc__)
