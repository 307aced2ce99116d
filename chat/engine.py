"""The chat engine: a conversation in, its answer out as growing text, for several people at once.

The base pane is the base: without an adapter the reply is generated with every adapter switched off. Torch is imported when
the first model is loaded, so that the app starts without it.

    engine = Engine()
    for reply in engine.reply(Model(base_folder, "fp32", adapter_folder), messages, Sampling(), conversation="mine"): ...
"""

import hashlib
import itertools
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from chat.cache import Caches
from chat.decoding import TextStream
from chat.history import fit_history
from chat.line import LOCAL, Caller, Limit, Line
from chat.preparation import HEARTBEAT_SECONDS, Preparations
from chat.request import Request
from chat.resident import MAX_ADAPTERS, Model, Resident
from chat.sampling import Sampling
from chat.scheduler import Scheduler
from common.language import _
from models.messages import Message, check_messages
from models.prompt import PromptFormat

MAX_CACHES = 64
MAX_CACHE_BYTES = 2 * 2**30
MAX_RUNNING = 16
MAX_WAITING = 64
AHEAD = 2  # times the answers of one batch that `answers` has asked for
RUNNING = Limit(MAX_RUNNING, owner=4, address=6)  # a comparison has four panes
WAITING = Limit(MAX_WAITING, owner=8, address=16)
CALLS = Limit(RUNNING.total + WAITING.total, RUNNING.owner + WAITING.owner, RUNNING.address + WAITING.address)

__all__ = ["HEARTBEAT_SECONDS", "Caller", "Engine", "Model", "Reply", "Sampling", "Seen"]


@dataclass(frozen=True)
class Seen:
    """One message of the prompt as the model got it: `pieces` are (text, True for a special token)."""

    role: str
    tokens: int
    pieces: tuple[tuple[str, bool], ...]


@dataclass
class Reply:
    """A reply so far. `tokens_used` of `window` are the prompt.

    `ended` is True when the model stopped by itself, `is_repeating` when it was ended because it repeated itself.
    """

    text: str = ""
    tokens_used: int = 0
    window: int = 0
    left_out: int = 0
    new_tokens: int = 0
    ended: bool = False
    is_repeating: bool = False
    seconds_to_first: float = 0.0
    tokens_per_second: float = 0.0
    template: str = ""  # the chat template that the prompt was written in
    seen: list[Seen] = field(default_factory=list)

    def add_token(self, began: float, first: float, now: float) -> None:
        """Count a token that came at `now`, the first one at `first`, of an answer that was asked for at `began`."""
        self.new_tokens += 1
        self.seconds_to_first = first - began
        self.tokens_per_second = (self.new_tokens - 1) / (now - first) if now > first else 0.0


class Engine:
    """Holds one base model and answers several conversations at once."""

    def __init__(
        self,
        most_conversations: int = MAX_CACHES,
        most_cache_bytes: int = MAX_CACHE_BYTES,
        most_adapters: int = MAX_ADAPTERS,
        most_at_once: int = MAX_RUNNING,
    ) -> None:
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
    ) -> Generator[Reply]:
        """Stream the reply to `messages`. Closing the generator ends the generation within a token.

        `conversation` names the cache that is kept for the next turn. With `continuing` the last message is an answer that
        goes on; the text holds it from its beginning. Raises UserError for messages or settings that cannot be used, for an
        adapter that cannot be loaded, and when too many requests wait: in all, of the `caller`, or of guests.
        """
        sampling.check()
        messages = check_messages(messages, continuing)
        request = Request(model, sampling, threading.Event(), conversation, caller)
        self._scheduler.submit(request)
        try:
            answer = _Answer(messages, sampling, continuing)
            yield from self._prepare(request, answer)
            yield from answer.stream(request)
        finally:
            self._scheduler.withdraw(request)

    def answers(self, model: Model, conversations: Iterable[list[Message]], sampling: Sampling) -> Generator[Reply]:
        """Answer many conversations in batches, greedily or sampled; for comparing models, not for talking.

        Yields each whole reply as soon as those before it are whole. Only as many conversations are taken as keep the batch
        full. What a prompt has in common with the first one is not read again. Closing the generator ends the generation.
        """
        sampling.check()
        asked: deque[tuple[_Answer, Request]] = deque()
        first: Request | None = None
        left, most = iter(conversations), AHEAD * self._scheduler.most_at_once
        try:
            while True:
                for messages in itertools.islice(left, most - len(asked)):
                    answer = _Answer(check_messages(messages), sampling, False)
                    request = Request(model, sampling, threading.Event(), like=first)
                    first = first or request
                    self._scheduler.submit(request, is_limited=False)
                    asked.append((answer, request))
                    list(self._prepare(request, answer))
                if not asked:
                    return
                answer, request = asked[0]
                reply = list(answer.stream(request))[-1]
                asked.popleft()
                yield reply
        finally:
            for _answer, request in asked:
                self._scheduler.withdraw(request)

    def _prepare(self, request: Request, answer: "_Answer") -> Iterator[Reply]:
        """Prepare `request` in a thread of its own and hand it to the scheduler; yield an empty reply now and then meanwhile."""
        person, work = request.caller.person, lambda: answer.prepare(self.resident, request.model)
        prepared = yield from self._preparations.run(person, work, request.stop, answer.reply)
        if prepared is None:
            request.out.put(False)
        else:
            self._scheduler.prepared(request, *prepared)


class _Answer:
    """One answer in progress: fits the history, and turns tokens into text."""

    def __init__(self, messages: list[Message], sampling: Sampling, continuing: bool) -> None:
        self.messages, self.sampling, self.continuing = messages, sampling, continuing
        self.reply = Reply()
        self.format: PromptFormat | None = None

    def prepare(self, resident: Resident, model: Model) -> tuple[PromptFormat, list[int], int]:
        """Return (format, prompt ids, most new tokens) without loading the model. Raises UserError."""
        format, window = resident.format_of(model), resident.window(model)
        sizes, overhead = format.measure(self.messages, self.continuing)
        fitted = fit_history(self.messages, sizes, window - self.sampling.max_new_tokens, overhead)
        prompt = format.encode(fitted.messages, self.continuing)
        cuts = [0, *prompt.ends, len(prompt.ids)]
        parts = [prompt.ids[start:end] for start, end in itertools.pairwise(cuts)]
        roles = [message["role"] for message in fitted.messages] + [_("start of the answer")]
        seen = [Seen(role, len(ids), tuple(format.shown(ids))) for role, ids in zip(roles, parts, strict=True) if ids]
        self.reply = Reply(
            tokens_used=len(prompt.ids),
            window=window,
            left_out=fitted.left_out,
            template=fingerprint(format.template.text),
            seen=seen,
        )
        self.format = format
        return format, prompt.ids, min(self.sampling.max_new_tokens, window - len(prompt.ids))

    def stream(self, request: Request) -> Iterator[Reply]:
        """Yield the reply as it grows; while no token comes, the same reply at times, so that the generator can be closed."""
        began, first, stream = time.perf_counter(), None, None
        kept = self.messages[-1]["content"].rstrip() if self.continuing else ""
        while True:
            items = _all_that_came(request.out)
            if stream is None and self.format:
                stream = TextStream(self.format.tokenizer, self.format.tags)
            reply, now = self.reply, time.perf_counter()
            for item in items:
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, bool):
                    reply.text = kept + (stream.finish() if stream else "")
                    reply.ended = item or bool(stream and stream.ended_by_tag)
                    reply.is_repeating = request.is_repeating and not reply.ended
                    yield reply
                    return
                assert stream  # tokens come after the format
                if not stream.ended_by_tag:  # those behind it came before the scheduler knew
                    reply.text = kept + stream.add(item)
                    first = first or now
                    reply.add_token(began, first, now)
            if stream and stream.ended_by_tag:
                request.stop.set()
            yield reply


def _all_that_came(out: queue.SimpleQueue) -> list:
    """Return all items in the queue, [] when none comes within HEARTBEAT_SECONDS."""
    items = []
    try:
        items.append(out.get(timeout=HEARTBEAT_SECONDS))
        while True:
            items.append(out.get_nowait())
    except queue.Empty:
        return items


def fingerprint(template: str) -> str:
    """Return a short name for a chat template: the same text, the same name."""
    return hashlib.sha256(template.encode()).hexdigest()[:8]
