"""Fits a conversation into the context window: the system prompt stays, the oldest whole turns go first.

Standard library only: counting tokens is a function that is given.
"""

from collections.abc import Callable
from dataclasses import dataclass

from common.errors import UserError


@dataclass(frozen=True)
class Fitted:
    """What the model gets: `messages`, their number of tokens, and how many earlier turns were left out."""

    messages: list[dict]
    tokens: int
    left_out: int


def fit_history(messages: list[dict], count_tokens: Callable[[list[dict]], int], budget: int) -> Fitted:
    """The longest end of `messages` that fits into `budget` tokens, starting with a user's turn.

    A turn is a user's message and the answer to it. Raises UserError when the last message alone is too long.
    """
    system = [message for message in messages[:1] if message["role"] == "system"]
    turns = _turns(messages[len(system) :])
    for left_out in range(len(turns)):
        kept = system + [message for turn in turns[left_out:] for message in turn]
        tokens = count_tokens(kept)
        if tokens <= budget:
            return Fitted(kept, tokens, left_out)
    raise UserError(
        f"Your message takes {tokens} tokens; {budget} fit beside the answer.",
        "Shorten it, or lower the length of the answer.",
    )


def _turns(messages: list[dict]) -> list[list[dict]]:
    """Messages grouped by the user's message that opens each turn."""
    turns: list[list[dict]] = []
    for message in messages:
        if message["role"] == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns


def check_messages(messages: list[dict]) -> list[dict]:
    """The conversation as plain {"role", "content"} of text. Raises UserError for anything else (it may come from an API)."""
    checked = []
    for number, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant") and not (role == "system" and number == 0):
            raise UserError(f"Message {number + 1} has the role '{role}'.", "A chat has user and assistant messages.")
        if not isinstance(content, str):
            raise UserError(f"Message {number + 1} is not text.")
        checked.append({"role": role, "content": content})
    if not checked or checked[-1]["role"] != "user" or not checked[-1]["content"].strip():
        raise UserError("There is no message to answer.", "Write one.")
    return checked
