"""Responses as OpenAI's clients read them: whole ones, and the chunks of a stream."""

import secrets
import time
from typing import Any

from chat.answer import Reply

MIN_LOGPROB = -9999.0  # JSON has no infinity


class Shape:
    """The shape of one response: of a chat or of a completion."""

    def __init__(self, is_chat: bool, model: str) -> None:
        self.is_chat, self.model = is_chat, model
        self.id = f"{'chatcmpl' if is_chat else 'cmpl'}-{secrets.token_hex(12)}"
        self.created = int(time.time())
        self._piece_kind = "chat.completion.chunk" if is_chat else "text_completion"

    def whole(self, choices: list[dict[str, Any]], usage: dict[str, int]) -> dict[str, Any]:
        """Return a whole response."""
        kind = "chat.completion" if self.is_chat else "text_completion"
        return self._around(kind, choices) | {"usage": usage}

    def choice(self, index: int, reply: Reply, has_echo: bool) -> dict[str, Any]:
        """Return one choice of a whole response, with what follows a prompt behind the prompt `has_echo`."""
        if self.is_chat:
            said = {"message": {"role": "assistant", "content": reply.text, "refusal": None}}
        else:
            said = {"text": (reply.prompt if has_echo else "") + reply.text}
        logprobs = None if self.is_chat or not reply.scored else _logprobs(reply)
        return {"index": index, **said, "logprobs": logprobs, "finish_reason": finish_reason(reply)}

    def first_chunk(self, index: int, reply: Reply, has_echo: bool) -> dict[str, Any]:
        """Return the first piece of a stream: who speaks, or the prompt `has_echo`."""
        if self.is_chat:
            return self._piece(index, {"delta": {"role": "assistant", "content": ""}}, None)
        return self.chunk(index, reply.prompt if has_echo else "")

    def chunk(self, index: int, text: str, finish: str | None = None) -> dict[str, Any]:
        """Return a piece of a stream: more text of the choice `index`, or why it ended."""
        said = {"delta": {"content": text} if text else {}} if self.is_chat else {"text": text}
        return self._piece(index, said, finish)

    def last_chunk(self, usage: dict[str, int]) -> dict[str, Any]:
        """Return the piece behind all others, which tells the usage."""
        return self._around(self._piece_kind, []) | {"usage": usage}

    def _piece(self, index: int, said: dict[str, Any], finish: str | None) -> dict[str, Any]:
        return self._around(self._piece_kind, [{"index": index, **said, "logprobs": None, "finish_reason": finish}])

    def _around(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def finish_reason(reply: Reply) -> str:
    """Return 'stop' where the model or a stop text ended it, else 'length'."""
    return "stop" if reply.ended or reply.is_repeating else "length"


def usage_of(replies: list[Reply]) -> dict[str, int]:
    """Return the tokens of all choices together."""
    prompt, new = sum(reply.tokens_used for reply in replies), sum(reply.new_tokens for reply in replies)
    return {"prompt_tokens": prompt, "completion_tokens": new, "total_tokens": prompt + new}


def _logprobs(reply: Reply) -> dict[str, list]:
    """Return the scores of a completion's tokens. The first token of a prompt has none, because nothing predicts it."""
    return {
        "tokens": [one.text for one in reply.scored],
        "token_logprobs": [None if one.logprob is None else max(one.logprob, MIN_LOGPROB) for one in reply.scored],
        "top_logprobs": [
            None if one.logprob is None else {text: max(value, MIN_LOGPROB) for text, value in one.top.items()}
            for one in reply.scored
        ],
        "text_offset": [one.start for one in reply.scored],
    }
