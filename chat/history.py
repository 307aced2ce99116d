"""Fits a conversation into the context window: the system prompt stays, the oldest whole turns are left out first.

Standard library only: the tokens of each message are given. When turns must be left out, a quarter of the budget is freed: each
time the beginning changes, all that follows is computed anew, so it changes once in many turns and not at every one. Which turns
are left out depends on the conversation alone, so that the result is reproducible.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import UserError
from common.language import _
from models.messages import Message

ROOM_AFTER_LEAVING_OUT = 0.25  # share of the budget that is free again after turns were left out


class MessageTooLong(UserError):
    """The last message alone takes `tokens` tokens, more than the `room` for it."""

    def __init__(self, tokens: int, room: int) -> None:
        words = _(
            "Your message has {tokens:,} tokens; beside the system prompt and the answer there is room for {room:,}.",
            tokens=tokens,
            room=room,
        )
        super().__init__(words, _("Shorten it, or lower the longest answer in the settings."))
        self.tokens, self.room = tokens, room


@dataclass(frozen=True)
class Fitted:
    """The messages for the model, their number of tokens, and how many earlier turns were left out."""

    messages: list[Message]
    tokens: int
    left_out: int


def fit_history(messages: list[Message], sizes: list[int], budget: int, overhead: int = 0) -> Fitted:
    """Return the end of `messages` that fits into `budget` tokens: whole turns, behind the system prompt.

    `sizes` are the tokens of each message, `overhead` what the template adds to any prompt. A turn is a user's message and
    the answer to it. Raises MessageTooLong when the last message alone does not fit.
    """
    has_system = messages[0]["role"] == "system"
    fixed = overhead + (sizes[0] if has_system else 0)
    turns = _turns(messages, start=int(has_system))
    spent = [sum(sizes[place] for place in turn) for turn in turns]
    # what a turn took when its answer was about to be written
    asked = [sum(sizes[place] for place in turn if messages[place]["role"] == "user") for turn in turns[:-1]]
    asked.append(spent[-1])
    first = 0
    for last in range(len(turns)):
        if fixed + sum(spent[first:last]) + asked[last] > budget:
            room = budget * (1 - ROOM_AFTER_LEAVING_OUT)
            while first < last and fixed + sum(spent[first:last]) + asked[last] > room:
                first += 1
    tokens = fixed + sum(spent[first:])
    if tokens > budget:
        raise MessageTooLong(spent[-1], max(0, budget - fixed))
    kept = [place for turn in turns[first:] for place in turn]
    return Fitted(messages[: int(has_system)] + [messages[place] for place in kept], tokens, first)


def _turns(messages: Sequence[Message], start: int = 0) -> list[list[int]]:
    """Return the places of the messages, grouped by the user's message that opens each turn."""
    turns: list[list[int]] = []
    for place in range(start, len(messages)):
        if messages[place]["role"] == "user" or not turns:
            turns.append([])
        turns[-1].append(place)
    return turns


def turns_left_out(messages: Sequence[Message], left_out: int) -> list[Message]:
    """Return the messages of the `left_out` earliest turns."""
    has_system = bool(messages) and messages[0]["role"] == "system"
    turns = _turns(messages, start=int(has_system))
    return [messages[place] for turn in turns[:left_out] for place in turn]
