"""The same chat where a GPU is lent for one call: a Space on ZeroGPU.

The page's process has no GPU. It holds the base on a card that the package `spaces` emulates; a call forks that process, and in
the fork the base is on a real card. What changes there is lost: each call attaches the adapter and reads the whole prompt. The
fork answers with an `Engine` of its own, so that a model says the same as anywhere else.

`spaces` is unknown here: who makes the engine gives the function that it decorated (ui/zero_gpu.py).
"""

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from contextvars import copy_context

from chat.engine import CALLS, Engine, Reply
from chat.from_thread import items_from
from chat.line import LOCAL, Caller, Places
from chat.resident import Model
from chat.sampling import Sampling
from common.errors import UserError
from models.messages import Message, check_messages

# for the weights to the card, an adapter and the prompt; another base than the one that is held may take longer
START_SECONDS = 15
TOKENS_PER_SECOND = 20  # rather too few: a call that takes longer than it asked for may be ended

# what answers on the GPU: (model, messages, sampling, continuing) to replies, and a UserError in the place of raising it
Call = Callable[[Model, list[Message], Sampling, bool], Generator[Reply | UserError]]


def answer_seconds(model: Model, messages: list[Message], sampling: Sampling, continuing: bool) -> int:
    """Return for how many seconds an answer asks for the GPU; the visitor's quota must have as many left."""
    return START_SECONDS + sampling.max_new_tokens // TOKENS_PER_SECOND


def answer(
    engine: Engine, model: Model, messages: list[Message], sampling: Sampling, continuing: bool
) -> Generator[Reply | UserError]:
    """Answer in the fork. A UserError is yielded: of what is raised there only the name of its class arrives."""
    try:
        yield from engine.reply(model, messages, sampling, continuing=continuing)
    except UserError as error:
        yield error


class ZeroEngine:
    """Streams replies of calls that are lent a GPU. Same calls as chat.engine.Engine."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._places = Places(CALLS)

    def reply(
        self,
        model: Model,
        messages: Sequence[Message],
        sampling: Sampling,
        conversation: str | None = None,
        continuing: bool = False,
        caller: Caller = LOCAL,
    ) -> Generator[Reply]:
        """Stream the reply, like `chat.engine.Engine.reply`; no cache is kept for the `conversation`.

        The GPU is asked for in the context of who calls: `spaces` finds there the request of the visitor, whose quota it takes.
        """
        sampling.check()
        messages, reply = check_messages(messages, continuing), Reply()
        asked = (model, messages, sampling, continuing)
        with self._places.taken_by(caller), closing(_in_thread(lambda: self._call(*asked))) as stream:
            for came in stream:
                if isinstance(came, UserError):
                    raise came
                reply = came or reply
                yield reply


def _in_thread(make: Callable[[], Generator]) -> Generator:
    """Yield the newest that a generator yields in a thread, or None after HEARTBEAT_SECONDS without anything.

    Asking for a GPU may block for a minute: the other panes go on meanwhile. Closing this closes it with its next item.
    """
    came: queue.SimpleQueue = queue.SimpleQueue()
    is_left = threading.Event()

    def work() -> None:
        try:
            with closing(make()) as stream:
                for one in stream:
                    came.put((one, None))
                    if is_left.is_set():
                        return
            came.put((None, StopIteration()))
        except BaseException as error:  # handed to the thread that waits; nobody sees it otherwise
            came.put((None, error))

    threading.Thread(target=copy_context().run, args=(work,), daemon=True, name="ZeroGPU call").start()
    try:
        for one in items_from(came):
            if one is None or isinstance(one, UserError) or came.qsize() < 2:  # each reply holds those before it
                yield one
    finally:
        is_left.set()
