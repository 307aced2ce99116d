"""What a program asks for, out of the JSON of its request. What is not known or not done here is refused, never ignored.

Names, limits and defaults are OpenAI's, but for `max_tokens` (256 in a chat). The chat's own settings `top_k`,
`repetition_penalty` and `stop_repetition` may stand beside them.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any

from chat.sampling import Sampling
from common.errors import UserError
from common.language import _
from models.messages import MAX_MESSAGE_CHARACTERS, Message, check_messages

MAX_STOPS, MAX_STOP_CHARACTERS = 16, 200
MAX_PROMPTS = 64
MAX_PROMPT_TOKENS = 100_000  # of one, before it is known how many the model reads
MAX_LOGPROBS = 5
CHAT_TOKENS, COMPLETION_TOKENS = Sampling().max_new_tokens, 16
OWN = ("top_k", "repetition_penalty", "stop_repetition")
# what changes nothing may be sent: clients fill it in
NEUTRAL = {
    "n": (1,),
    "best_of": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "echo": (False,),
    "suffix": ("",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "store": (False,),
    "metadata": ({},),
    "service_tier": ("auto", "default"),
}
NAMES_OF_PEOPLE = ("user", "safety_identifier")  # whom the program asks for: nothing here depends on it


class ApiError(Exception):
    """A request that is refused, as OpenAI's clients read it: HTTP status, sentence, parameter, code."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None, retry_seconds: int = 0
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.retry_seconds = status, param, code, retry_seconds

    @property
    def json(self) -> dict[str, Any]:
        """Return the body of the response."""
        kinds = {429: "rate_limit_error", 401: "authentication_error"}
        kind = "server_error" if self.status >= 500 else kinds.get(self.status, "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class Asked:
    """One request. A chat has `messages`, a completion `prompts`: each a text or token ids.

    `room` is the most tokens of a completion, which may be none; `top` is how many of the likeliest tokens are told with each.
    """

    model: str
    sampling: Sampling
    stops: tuple[str, ...]
    is_streamed: bool
    has_usage: bool  # at the end of a stream
    messages: list[Message] = field(default_factory=list)
    prompts: list[str | list[int]] = field(default_factory=list)
    room: int = 0
    top: int | None = None
    has_echo: bool = False


class _Body:
    """The values of a request, each taken out once, so that what is left was not read."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.left = {name: value for name, value in body.items() if value is not None}

    def take(self, name: str, default: Any, *kinds: type) -> Any:
        """Take the value of `name`, `default` where there is none. Raises ApiError unless it is of one of `kinds`."""
        value = self.left.pop(name, default)
        if value is default or type(value) in kinds:
            return value
        raise ApiError(400, _("{name} cannot be {value}.", name=name, value=str(value)[:40]), name, "invalid_type")

    def finish(self) -> None:
        """Raise ApiError for a parameter that was not read, unless it changes nothing."""
        for name, value in self.left.items():
            if name in NAMES_OF_PEOPLE or value in NEUTRAL.get(name, ()):
                continue
            if name in NEUTRAL:
                words = _("{name} can only be {value} here.", name=name, value=str(NEUTRAL[name][0]))
                raise ApiError(400, words, name, "unsupported_value")
            raise ApiError(
                400, _("The parameter {name} is not known here.", name=name[:80]), name[:80], "unsupported_parameter"
            )


def read_chat(found: dict[str, Any]) -> Asked:
    """Return what a call of /v1/chat/completions asks for. Raises ApiError."""
    body = _Body(found)
    messages = [_message(number, one) for number, one in enumerate(body.take("messages", [], list))]
    older, newer = (body.take(name, None, int) for name in ("max_tokens", "max_completion_tokens"))
    most = next((given for given in (newer, older) if given is not None), CHAT_TOKENS)
    common = _common(body, most)
    body.finish()
    return Asked(**common, messages=_checked("messages", check_messages, messages))


def read_completion(found: dict[str, Any]) -> Asked:
    """Return what a call of /v1/completions asks for. Raises ApiError."""
    body = _Body(found)
    prompts = _prompts(body.take("prompt", "", str, list))
    room = body.take("max_tokens", COMPLETION_TOKENS, int)
    has_echo = body.take("echo", False, bool)
    top = body.take("logprobs", None, int) if body.left.get("logprobs") is not False else None
    if top is not None and not 0 <= top <= MAX_LOGPROBS:
        raise ApiError(400, _("logprobs must be between 0 and {most}.", most=MAX_LOGPROBS), "logprobs", "invalid_value")
    if room == 0 and not has_echo:
        raise ApiError(400, _("max_tokens can be 0 only with echo."), "max_tokens", "invalid_value")
    common = _common(body, max(1, room) if room == 0 else room)
    if common["is_streamed"] and top is not None:
        raise ApiError(400, _("logprobs cannot be streamed here."), "logprobs", "unsupported_value")
    body.finish()
    return Asked(**common, prompts=prompts, room=room, top=top, has_echo=has_echo)


def _common(body: _Body, most: int) -> dict[str, Any]:
    """Take what chats and completions share; `most` are the tokens of an answer. Raises ApiError."""
    model = body.take("model", "", str)
    if not model:
        raise ApiError(400, _("No model is named."), "model", "missing_required_parameter")
    own = {name: body.left.pop(name) for name in OWN if name in body.left}
    sampling = Sampling(
        max_new_tokens=most,
        temperature=body.take("temperature", 1, int, float),
        top_p=body.take("top_p", 1, int, float),
        seed=body.take("seed", secrets.randbelow(2**31), int),
        **{"stop_repetition": False, **own},
    )
    try:
        sampling.check()
    except UserError as error:
        name = str(error.message).partition(" ")[0].replace("max_new_tokens", "max_tokens")
        words = str(error).replace("max_new_tokens", "max_tokens")
        raise ApiError(400, words, name, "invalid_value") from error
    stops = body.take("stop", [], str, list)
    stops = [stops] if isinstance(stops, str) else stops
    if len(stops) > MAX_STOPS or not all(isinstance(one, str) and 0 < len(one) <= MAX_STOP_CHARACTERS for one in stops):
        words = _(
            "stop is a text or up to {most} of them, each of 1 to {length} characters.",
            most=MAX_STOPS,
            length=MAX_STOP_CHARACTERS,
        )
        raise ApiError(400, words, "stop", "invalid_value")
    options = body.take("stream_options", {}, dict)
    if set(options) - {"include_usage", "include_obfuscation"} or options.get("include_obfuscation"):
        raise ApiError(
            400, _("Of stream_options only include_usage is known here."), "stream_options", "unsupported_value"
        )
    return {
        "model": model,
        "sampling": sampling,
        "stops": tuple(stops),
        "is_streamed": body.take("stream", False, bool),
        "has_usage": options.get("include_usage") is True,
    }


def _message(number: int, found: object) -> dict[str, Any]:
    """Return a message with its text as one string; `check_messages` looks at the rest. Raises ApiError for what is not text."""
    if not isinstance(found, dict):
        return {"role": None, "content": found}
    extra = [name for name, value in found.items() if name not in ("role", "content") and value not in (None, [], "")]
    if extra:
        words = _("Message {number} has {name}, which is not known here.", number=number + 1, name=str(extra[0])[:40])
        raise ApiError(400, words, f"messages[{number}]", "unsupported_parameter")
    content, role = found.get("content"), found.get("role")
    if isinstance(content, list):
        if not all(
            isinstance(one, dict) and one.get("type") == "text" and isinstance(one.get("text"), str) for one in content
        ):
            words = _("Message {number} has a part that is not text.", number=number + 1)
            raise ApiError(400, words, f"messages[{number}].content", "unsupported_value")
        content = "".join(one["text"] for one in content)
    return {"role": "system" if role == "developer" else role, "content": content}


def _prompts(found: str | list) -> list[str | list[int]]:
    """Return each prompt of a text, of token ids, or of a list of either. Raises ApiError."""
    is_ids = isinstance(found, list) and bool(found) and all(type(one) is int for one in found)
    prompts = [found] if isinstance(found, str) or is_ids else found
    if not 0 < len(prompts) <= MAX_PROMPTS:
        raise ApiError(
            400, _("Between 1 and {most} prompts can be sent at a time.", most=MAX_PROMPTS), "prompt", "invalid_value"
        )
    for one in prompts:
        if isinstance(one, str) and len(one) > MAX_MESSAGE_CHARACTERS:
            words = _("A prompt has at most {most:,} characters.", most=MAX_MESSAGE_CHARACTERS)
            raise ApiError(400, words, "prompt", "context_length_exceeded")
        if isinstance(one, list) and len(one) > MAX_PROMPT_TOKENS:
            words = _("A prompt has at most {most:,} tokens.", most=MAX_PROMPT_TOKENS)
            raise ApiError(400, words, "prompt", "context_length_exceeded")
        if not (isinstance(one, str) or (isinstance(one, list) and all(type(token) is int for token in one))):
            raise ApiError(400, _("A prompt is a text or a list of token ids."), "prompt", "invalid_type")
    return prompts


def _checked(param: str, check, value: Any) -> Any:
    """Return what `check` makes of a value. Raises ApiError with its sentence."""
    try:
        return check(value)
    except UserError as error:
        raise ApiError(400, str(error), param, "invalid_value") from error
