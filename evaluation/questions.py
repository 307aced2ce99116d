"""Items as a model reads them: few-shot examples as earlier turns, in the model's template, within its window."""

from collections.abc import Sequence

from chat.history import Fitted
from data.test_sets import Item
from models.messages import Message
from models.prompt import PromptFormat


def chat_prompt(item: Item, shots: Sequence[Item] = ()) -> list[Message]:
    """Return the messages of `item` with `shots`, questions and their answers, as earlier turns behind its system prompt."""
    raise NotImplementedError


def fit_prompt(format: PromptFormat, messages: list[Message], room: int) -> Fitted | None:
    """Return the end of `messages` that fits into `room` tokens as in a chat; None where the last one alone does not."""
    raise NotImplementedError
