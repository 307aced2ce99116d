"""Answers of a model to the questions of a test set: greedy, in the chat engine's batches, one by one as they come."""

import threading
from collections.abc import Iterable, Iterator, Sequence

from chat.engine import Engine
from chat.resident import Model
from data.test_sets import Item
from evaluation.results import Result


def answers(
    engine: Engine,
    model: Model,
    items: Iterable[Item],
    max_new_tokens: int,
    stop: threading.Event,
    shots: Sequence[Item] = (),
) -> Iterator[Result]:
    """Yield `answer`, `new_tokens`, `ended` and `is_repeating` of each item, in their order, as soon as they are there.

    Setting `stop` ends it within a few answers. An item whose last message does not fit has `is_cut` and no answer.
    """
    raise NotImplementedError
