"""One answer on its way: the prompt that is made for it, and the text that its tokens become."""

import hashlib
import itertools
import queue
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chat.decoding import TextStream
from chat.history import fit_history
from chat.logprobs import Scored, with_texts
from chat.preparation import HEARTBEAT_SECONDS
from chat.request import Request
from chat.resident import Model, Resident, base_sizes
from chat.sampling import Sampling
from common.errors import UserError
from common.language import _
from models.messages import Message
from models.prompt import PromptFormat, encode_text


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
    prompt: str = ""  # of a raw prompt: its text
    scored: list[Scored] = field(default_factory=list)  # at the end of an answer whose tokens are scored

    def add_token(self, began: float, first: float, now: float) -> None:
        """Count a token that came at `now`, the first one at `first`, of an answer that was asked for at `began`."""
        self.new_tokens += 1
        self.seconds_to_first = first - began
        self.tokens_per_second = (self.new_tokens - 1) / (now - first) if now > first else 0.0


class ChatAnswer:
    """An answer to a conversation: the earliest turns are left out where it does not fit into the window."""

    def __init__(
        self, messages: list[Message], sampling: Sampling, continuing: bool = False, stops: Sequence[str] = ()
    ) -> None:
        self.messages, self.sampling, self.continuing, self.stops = messages, sampling, continuing, stops
        self.kept = messages[-1]["content"].rstrip() if continuing else ""  # the beginning of its text
        self.reply = Reply()
        self.text: TextStream | None = None

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
        self.text = TextStream(format.tokenizer, format.tags, self.stops)
        return format, prompt.ids, min(self.sampling.max_new_tokens, window - len(prompt.ids))


class RawAnswer:
    """What follows a raw prompt: a text, or tokens as they are. Control tokens in a text are text, as everywhere."""

    kept = ""

    def __init__(self, prompt: str | list[int], room: int, stops: Sequence[str]) -> None:
        self.prompt, self.room, self.stops = prompt, room, stops
        self.reply = Reply()
        self.text: TextStream | None = None

    def prepare(self, resident: Resident, model: Model) -> tuple[PromptFormat, list[int], int]:
        """Return (format, prompt ids, most new tokens). Raises PromptTooLong, UserError for no prompt or an unknown id."""
        format, (window, vocabulary) = resident.format_of(model), base_sizes(model.base_folder)
        is_text = isinstance(self.prompt, str)
        ids = encode_text(self.prompt, format.tokenizer) if is_text else self.prompt
        if not ids:
            raise UserError(_("The prompt is empty."), _("Write one."))
        if not all(0 <= token < vocabulary for token in ids):
            raise UserError(_("The model's tokens have the numbers 0 to {last:,}.", last=vocabulary - 1))
        if len(ids) + self.room > window:
            raise PromptTooLong(len(ids), self.room, window)
        text = self.prompt if is_text else format.tokenizer.backend_tokenizer.decode(ids, skip_special_tokens=True)
        self.reply = Reply(tokens_used=len(ids), window=window, prompt=text)
        self.text = TextStream(format.tokenizer, (), self.stops, behind=ids[-1:])
        return format, ids, self.room


class PromptTooLong(UserError):
    """A prompt and the tokens that are to follow it do not fit into the window together."""

    def __init__(self, tokens: int, room: int, window: int) -> None:
        words = _(
            "The prompt has {tokens:,} tokens and {room:,} more are to follow; the model reads {window:,}.",
            tokens=tokens,
            room=room,
            window=window,
        )
        super().__init__(words, _("Shorten it, or ask for fewer tokens."))


Answer = ChatAnswer | RawAnswer


def stream(answer: Answer, request: Request) -> Iterator[Reply]:
    """Yield the reply as it grows; while no token comes, the same reply at times, so that the generator can be closed."""
    began, first = time.perf_counter(), None
    while True:
        items = _all_that_came(request.out)
        text, reply, now = answer.text, answer.reply, time.perf_counter()
        for item in items:
            if isinstance(item, Exception):
                raise item
            if isinstance(item, bool):
                reply.text = answer.kept + (text.finish() if text else "")
                reply.ended = item or bool(text and text.ended_by_tag)
                reply.is_repeating = request.is_repeating and not reply.ended
                if request.top is not None and request.format:
                    is_whole = request.has_scored_prompt
                    most = request.prompt_tokens * is_whole + reply.new_tokens + item  # not what came behind a stop
                    behind = None if is_whole else request.ids[request.prompt_tokens - 1]
                    reply.scored = with_texts(request.scores[:most], request.format.tokenizer, behind)
                yield reply
                return
            assert text  # tokens come after the format
            if not text.ended_by_tag:  # those behind it came before the scheduler knew
                reply.text = answer.kept + text.add(item)
                first = first or now
                reply.add_token(began, first, now)
        if text and text.ended_by_tag:
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
