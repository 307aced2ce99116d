"""Items as a model reads them: few-shot examples as earlier turns, in the model's template, within its window."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chat.cache import shared_length
from chat.history import Fitted, MessageTooLong, fit_history
from data.test_sets import Item
from models.messages import Message
from models.prompt import PromptFormat, encode_text

MAX_ROW_TOKENS = 2048  # of a text's window, and of a prompt with its choices unless one choice alone is longer


class Row(NamedTuple):
    """A prompt, and what may follow it: each of `branches` directly behind the prompt, as if there were no other."""

    prompt: list[int]
    branches: list[list[int]]

    def length(self) -> int:
        """Return the tokens that a model has to read."""
        return len(self.prompt) + sum(len(branch) - 1 for branch in self.branches if branch)


@dataclass(frozen=True)
class Question:
    """An item as rows of token ids, [] where it does not fit; `is_cut` where earlier turns were left out or it does not fit."""

    item: int
    rows: list[Row] = field(default_factory=list)
    is_cut: bool = False

    @property
    def tokens(self) -> int:
        """Count the tokens that are predicted."""
        return sum(len(branch) for row in self.rows for branch in row.branches)


def chat_prompt(item: Item, shots: Sequence[Item] = ()) -> list[Message]:
    """Return the messages of `item` with `shots`, questions and their answers, as earlier turns behind its system prompt."""
    messages = item["messages"]
    system = [message for message in messages[:1] if message["role"] == "system"]
    turns: list[Message] = []
    for shot in shots:
        turns += [message for message in shot["messages"] if message["role"] != "system"]
        turns.append(Message(role="assistant", content=shot["answer"]))
    return [*system, *turns, *messages[len(system) :]]


def fit_prompt(format: PromptFormat, messages: list[Message], room: int) -> Fitted | None:
    """Return the end of `messages` that fits into `room` tokens as in a chat; None where the last one alone does not."""
    sizes, overhead = format.measure(messages)
    try:
        return fit_history(messages, sizes, room, overhead)
    except MessageTooLong:
        return None


def text_question(format: PromptFormat, item: Item, window: int) -> Question:
    """Return a text in windows of at most `window` tokens, each of which begins with the last token of the one before."""
    ids, most = encode_text(item["text"], format.tokenizer), min(window, MAX_ROW_TOKENS) - 1
    starts = range(0, len(ids) - 1, most)
    return Question(item["number"], [Row([ids[start]], [ids[start + 1 : start + 1 + most]]) for start in starts])


def chat_question(
    format: PromptFormat, number: int, messages: list[Message], answers: Sequence[str], window: int, with_stop: bool
) -> Question:
    """Return a prompt with possible answers, the earliest turns left out where they do not fit into `window` tokens.

    `with_stop` adds the stop token that the template puts behind an answer.
    """
    prompt, branches = _encode(format, messages, answers, with_stop)
    longest, is_cut = max(map(len, branches)), False
    if len(prompt) + longest > window:
        fitted = fit_prompt(format, messages, window - longest)
        if fitted is None:
            return Question(number, is_cut=True)
        prompt, branches = _encode(format, fitted.messages, answers, with_stop)
        is_cut = fitted.left_out > 0
    rows = [Row(prompt, [])]
    for branch in branches:
        if rows[-1].branches and rows[-1].length() + len(branch) > MAX_ROW_TOKENS:
            rows.append(Row(prompt, []))
        rows[-1].branches.append(branch)
    return Question(number, rows, is_cut)


def _encode(
    format: PromptFormat, messages: list[Message], answers: Sequence[str], with_stop: bool
) -> tuple[list[int], list[list[int]]]:
    """Return (the tokens that all have in common with the opened prompt, each answer's tokens behind them)."""
    opened, whole = format.encode(messages).ids, []
    for answer in answers:
        prompt = format.encode([*messages, Message(role="assistant", content=answer)], continuing=not with_stop)
        whole.append(prompt.ids[: prompt.ends[-1]])
    start = min(shared_length(opened, ids) for ids in whole)
    return opened[:start], [ids[start:] for ids in whole]
