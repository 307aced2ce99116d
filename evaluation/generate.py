"""Answers of a model to the questions of a test set: greedy, in the chat engine's batches, one by one as they come."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing

from chat.engine import Engine
from chat.resident import Model
from chat.sampling import Sampling
from data.test_sets import Item
from evaluation.questions import chat_prompt, fit_prompt
from evaluation.results import Result
from models.messages import Message


def answers(
    engine: Engine,
    model: Model,
    items: Iterable[Item],
    max_new_tokens: int,
    stop: threading.Event,
    shots: Sequence[Item] = (),
) -> Iterator[Result]:
    """Yield `answer`, `new_tokens`, `ended` and `is_repeating` of each item, as soon as they are there.

    Setting `stop` ends it within a batch. An item whose last message does not fit has `is_cut` and no answer.
    """
    format, room = engine.resident.format_of(model), engine.resident.window(model) - max_new_tokens
    asked: deque[Result] = deque()  # in the order in which they are answered
    too_long: list[Result] = []

    def prompts() -> Iterator[list[Message]]:
        for item in items:
            fitted = fit_prompt(format, chat_prompt(item, shots), room)
            if fitted:
                asked.append(Result(item=item["number"], is_cut=fitted.left_out > 0))
                yield fitted.messages
            else:
                too_long.append(Result(item=item["number"], is_cut=True))

    with closing(engine.answers(model, prompts(), Sampling(max_new_tokens=max_new_tokens))) as replies:
        for reply in replies:
            result = asked.popleft()
            result["answer"], result["new_tokens"] = reply.text, reply.new_tokens
            result["ended"], result["is_repeating"] = reply.ended, reply.is_repeating
            yield result
            if stop.is_set():
                return
    yield from too_long
