"""The chat for programs: `chat` and `compare`, whose names and arguments are stable.

    client = gradio_client.Client(url)
    answer = client.predict("Hi", api_name="/chat")
    answer = client.predict("And you?", answer["history"], api_name="/chat")

Only the engine's cache is kept between calls: the history comes with each call and is checked like any input.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, TypedDict

import gradio as gr

from chat.engine import CALLS
from common.errors import UserError
from common.language import _
from models.messages import check_messages
from ui.chat.answer import Engines
from ui.chat.checks import check_text
from ui.chat.models import BASE_AUTO, pick
from ui.chat.settings import sampling_of
from ui.messages import shown
from ui.owner import Visitor, program_of

MAX_COMPARED_MODELS = 4


class ApiAnswer(TypedDict):
    """One answer: `history` is that of the next call, `tokens_used` of `window` are the prompt, `left_out` counts turns.

    `ended` is True when the model stopped by itself, `is_repeating` when it was ended because it repeated itself.
    """

    model: str
    text: str
    history: list[dict[str, Any]]
    tokens_used: int
    window: int
    left_out: int
    ended: bool
    is_repeating: bool


@dataclass
class ChatApi:
    """The two endpoints."""

    engines: Engines

    def chat(
        self,
        message: str,
        history: list[dict[str, Any]] | None = None,
        model: str = BASE_AUTO,
        system: str = "",
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 0.95,
        top_k: int = 0,
        repetition_penalty: float = 1.0,
        seed: int = 0,
        stop_repetition: bool = True,
        token: gr.OAuthToken | None = None,
        request: gr.Request | None = None,
    ) -> ApiAnswer:
        """Answer `message` after `history` with one model.

        `model` is 'adapter:NAME', 'base:auto', 'base:embedded' or another choice of the page. Temperature 0 takes the likeliest
        token each time; `stop_repetition` ends an answer that only repeats itself. Raises UserError.
        """
        visitor = program_of(token, request)
        values = {
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "top_k": top_k,
            "repetition_penalty": repetition_penalty,
            "seed": seed,
            "stop_repetition": stop_repetition,
        }
        said = [*_history(history), {"role": "user", "content": check_text(message)}]
        return self._answer(visitor, model, model, said, _system(system), values)

    def compare(
        self,
        message: str,
        models: list[str],
        history: list[dict[str, Any]] | None = None,
        system: str = "",
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        seed: int = 0,
        stop_repetition: bool = True,
        token: gr.OAuthToken | None = None,
        request: gr.Request | None = None,
    ) -> list[ApiAnswer]:
        """Answer `message` with each of `models`, with the same seed. Raises UserError.

        A model is 'adapter:NAME', 'base:NAME', or 'bare:' for the base of the first one.
        """
        visitor = program_of(token, request)
        if not isinstance(models, list) or not 1 <= len(models) <= MAX_COMPARED_MODELS:
            raise UserError(_("Between 1 and {most} models can be compared.", most=MAX_COMPARED_MODELS))
        values = {
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "seed": seed,
            "stop_repetition": stop_repetition,
        }
        said = [*_history(history), {"role": "user", "content": check_text(message)}]
        return [self._answer(visitor, model, models[0], said, _system(system), values) for model in models]

    def _answer(
        self, visitor: Visitor, model: str, first: str, said: list[dict[str, Any]], system: str, values: dict[str, Any]
    ) -> ApiAnswer:
        """Return the answer of one model to `said`, in the form of both endpoints. Raises UserError."""
        sampling = sampling_of(values)
        messages = check_messages(([{"role": "system", "content": system}] if system.strip() else []) + said)
        conversation = f"{visitor.owner}/api/{hashlib.sha256(repr((model, said[0])).encode()).hexdigest()[:16]}"
        caller = visitor.as_caller()
        with self.engines.calls.taken_by(caller):
            picked = pick(model, first, visitor, self.engines.remote)
            engine = self.engines.of(picked)
            *_, reply = engine.reply(picked.model, messages, sampling, conversation=conversation, caller=caller)
        return ApiAnswer(
            model=picked.name,
            text=reply.text,
            history=[*said, {"role": "assistant", "content": reply.text}],
            tokens_used=reply.tokens_used,
            window=reply.window,
            left_out=reply.left_out,
            ended=reply.ended,
            is_repeating=reply.is_repeating,
        )

    def wire(self) -> None:
        """Register both endpoints."""
        # the lowest limit of an id holds for all
        answering: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": CALLS.total}
        gr.api(shown(self.chat), api_name="chat", **answering)
        gr.api(shown(self.compare), api_name="compare", **answering)


def _history(history: object) -> list[dict[str, Any]]:
    """Return the history of a call: text as plain strings, or in the blocks that Gradio's own chat makes of it.

    Raises UserError for anything but a list; the messages themselves are checked later.
    """
    if not isinstance(history, list | None):
        example = [{"role": "user", "content": "Hi"}]
        raise UserError(
            _("The history is not a list of messages."), _("It looks like {example}.", example=json.dumps(example))
        )
    messages = []
    for message in history or []:
        blocks = message.get("content") if isinstance(message, dict) else None
        if isinstance(blocks, list) and all(
            isinstance(one, dict) and isinstance(one.get("text"), str) for one in blocks
        ):
            message = {**message, "content": "".join(one["text"] for one in blocks)}
        messages.append(message)
    return messages


def _system(system: object) -> str:
    """Return the system prompt of a call. Raises UserError unless it is text."""
    if not isinstance(system, str | None):
        raise UserError(_("The system prompt is not text."))
    return system or ""
