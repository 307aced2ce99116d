"""The chat engine: a conversation in, its answer out as growing text, for several people at once.

The base pane is the base: without an adapter the reply is generated with every adapter switched off. Torch is imported when
the first model is loaded, so that the app starts without it.

    engine = Engine()
    for reply in engine.reply(Model(base_folder, "fp32", adapter_folder), messages, Sampling(), conversation="mine"): ...
"""

import itertools
import os
import threading
import weakref
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence

from chat.answer import Answer, ChatAnswer, RawAnswer, Reply, Seen, stream
from chat.cache import Caches
from chat.line import LOCAL, Caller, Limit, Line
from chat.preparation import HEARTBEAT_SECONDS, Preparations
from chat.request import Request
from chat.resident import MAX_ADAPTERS, Model, Resident
from chat.sampling import Sampling
from chat.scheduler import Scheduler
from models.hardware import wait_briefly
from models.messages import Message, check_messages

MAX_CACHES = 64
MAX_CACHE_BYTES = 2 * 2**30
MAX_RUNNING = 16
MAX_WAITING = 64
AHEAD = 2  # times the answers of one batch that `answers` has asked for
RUNNING = Limit(MAX_RUNNING, owner=4, address=6)  # a comparison has four panes
WAITING = Limit(MAX_WAITING, owner=8, address=16)
CALLS = Limit(RUNNING.total + WAITING.total, RUNNING.owner + WAITING.owner, RUNNING.address + WAITING.address)

__all__ = ["HEARTBEAT_SECONDS", "Caller", "Engine", "Model", "Reply", "Sampling", "Seen"]


class Engine:
    """Holds one base model and answers several conversations at once."""

    def __init__(
        self,
        most_conversations: int = MAX_CACHES,
        most_cache_bytes: int = MAX_CACHE_BYTES,
        most_adapters: int = MAX_ADAPTERS,
        most_at_once: int = MAX_RUNNING,
    ) -> None:
        wait_briefly(os.environ)  # the first model brings torch
        self.resident = Resident(most_adapters)
        self.caches = Caches(most_conversations, most_cache_bytes)
        self._preparations = Preparations()
        self._scheduler = Scheduler(self.resident, self.caches, Line(WAITING, RUNNING), most_at_once)
        # when nobody has the engine any more, and when Python ends: a thread that computes then takes the process down
        self._end = weakref.finalize(self, self._scheduler.close)

    def close(self) -> None:
        """Stop all generation and free the model's memory. The engine cannot be used after it."""
        self._end()
        self.caches.clear()
        self.resident.unload()

    def reply(
        self,
        model: Model,
        messages: Sequence[Message],
        sampling: Sampling,
        conversation: str | None = None,
        continuing: bool = False,
        caller: Caller = LOCAL,
        stops: Sequence[str] = (),
    ) -> Generator[Reply]:
        """Stream the reply to `messages`. Closing the generator ends the generation within a token.

        `conversation` names the cache that is kept for the next turn. With `continuing` the last message is an answer that
        goes on; the text holds it from its beginning. It ends before any of the `stops`. Raises UserError for messages or
        settings that cannot be used, for an adapter that cannot be loaded, and Busy when too many requests wait: in all, of the
        `caller`, or of guests.
        """
        sampling.check()
        answer = ChatAnswer(check_messages(messages, continuing), sampling, continuing, stops)
        yield from self._answer(Request(model, sampling, threading.Event(), conversation, caller), answer)

    def complete(
        self,
        model: Model,
        prompt: str | list[int],
        sampling: Sampling,
        room: int | None = None,
        stops: Sequence[str] = (),
        top: int | None = None,
        with_prompt: bool = False,
        caller: Caller = LOCAL,
    ) -> Generator[Reply]:
        """Stream what follows a raw `prompt`, a text or token ids: no template, and nothing is left out.

        At most `room` tokens are written, of None `sampling.max_new_tokens`, of 0 none. With `top`, the last reply's `scored`
        has the log probability of each token, the prompt's too `with_prompt`, and so many of the likeliest in its place. Raises
        as `reply` does, and PromptTooLong for a prompt that does not fit into the window.
        """
        sampling.check()
        answer = RawAnswer(prompt, sampling.max_new_tokens if room is None else room, stops)
        request = Request(model, sampling, threading.Event(), None, caller, top=top)
        request.has_scored_prompt = with_prompt and top is not None
        yield from self._answer(request, answer)

    def _answer(self, request: Request, answer: Answer) -> Generator[Reply]:
        """Put `request` into the line and stream its answer."""
        self._scheduler.submit(request)
        try:
            yield from self._prepare(request, answer)
            yield from stream(answer, request)
        finally:
            self._scheduler.withdraw(request)

    def answers(self, model: Model, conversations: Iterable[list[Message]], sampling: Sampling) -> Generator[Reply]:
        """Answer many conversations in batches, greedily or sampled; for comparing models, not for talking.

        Yields each whole reply as soon as those before it are whole. Only as many conversations are taken as keep the batch
        full. What a prompt has in common with the first one is not read again. Closing the generator ends the generation.
        """
        sampling.check()
        asked: deque[tuple[ChatAnswer, Request]] = deque()
        first: Request | None = None
        left, most = iter(conversations), AHEAD * self._scheduler.most_at_once
        try:
            while True:
                for messages in itertools.islice(left, most - len(asked)):
                    answer = ChatAnswer(check_messages(messages), sampling)
                    request = Request(model, sampling, threading.Event(), like=first)
                    first = first or request
                    self._scheduler.submit(request, is_limited=False)
                    asked.append((answer, request))
                    list(self._prepare(request, answer))
                if not asked:
                    return
                answer, request = asked[0]
                reply = list(stream(answer, request))[-1]
                asked.popleft()
                yield reply
        finally:
            for _answer, request in asked:
                self._scheduler.withdraw(request)

    def _prepare(self, request: Request, answer: Answer) -> Iterator[Reply]:
        """Prepare `request` in a thread of its own and hand it to the scheduler; yield an empty reply now and then meanwhile."""
        person, work = request.caller.person, lambda: answer.prepare(self.resident, request.model)
        prepared = yield from self._preparations.run(person, work, request.stop, answer.reply)
        if prepared is None:
            request.out.put(False)
        else:
            self._scheduler.prepared(request, *prepared)
