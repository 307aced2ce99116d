"""One request for an answer, as it goes from the engine through the line to the scheduler and back."""

import queue
import threading
from dataclasses import dataclass, field

from chat.cache import Cache
from chat.line import LOCAL, Caller
from chat.resident import Model
from chat.sampling import Chooser, Sampling
from models.prompt import PromptFormat


@dataclass(frozen=True)
class Score:
    """How likely a token was where it stands: its log probability in nats, None for the first one, which nothing predicts.

    `top` are the likeliest tokens there, (token, log probability), the likeliest first.
    """

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


@dataclass(eq=False)
class Request:
    """A request for one answer.

    `out` gets a token for each step, then True (ended by itself), False (stopped, at the most tokens, or `is_repeating`), or an
    exception.
    """

    model: Model
    sampling: Sampling
    stop: threading.Event
    conversation: str | None = None
    caller: Caller = LOCAL
    out: queue.SimpleQueue = field(default_factory=queue.SimpleQueue)
    is_prepared: bool = False
    format: PromptFormat | None = None
    key: tuple = ()
    cache: Cache = field(default_factory=lambda: Cache(()))
    todo: list[int] = field(default_factory=list)  # tokens that are not in the cache yet
    ids: list[int] = field(default_factory=list)  # prompt and answer
    prompt_tokens: int = 0  # so many of `ids` are the prompt
    is_repeating: bool = False  # the answer was ended because it repeated itself
    room: int = 0  # tokens that may still be written
    chooser: Chooser | None = None
    stop_ids: set[int] = field(default_factory=set)
    like: "Request | None" = None  # another one that may begin with the same tokens
    # so many of the likeliest tokens are told with each token that is scored; None: none is scored
    top: int | None = None
    has_scored_prompt: bool = False  # the tokens of the prompt are scored, too
    # of the prompt if so, then of what was written, also a last stop token
    scores: list[Score] = field(default_factory=list)

    def base(self) -> tuple:
        """Return (folder, precision) of the base: requests with the same one can share a batch."""
        return self.model.base_folder, self.model.precision


def closed() -> Exception:
    """Return the error for requests to a scheduler that was closed."""
    return RuntimeError("The chat has ended.")
