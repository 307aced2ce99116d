"""A message of a conversation, and the check of messages from outside."""

from typing import NotRequired, TypedDict

from common.errors import UserError

# What is looked at before anything is tokenised; the largest window, 8192 tokens, holds about 40,000 characters of English.
MAX_MESSAGES = 4_000
MAX_MESSAGE_CHARACTERS = 100_000  # characters; of the system prompt with the summary in it, too
MAX_HISTORY_CHARACTERS = 1_000_000  # as much as a browser keeps, within the time that preparing it may take


class Message(TypedDict):
    """One message; `role` is "system", "user" or "assistant". An answer with `trained` False is read, not trained."""

    role: str
    content: str
    trained: NotRequired[bool]  # only where it is False: equal messages are equal dicts


def check_messages(messages: object, continuing: bool = False) -> list[Message]:
    """Return the conversation as plain messages. Raises UserError for anything else, because it may come from an API.

    The last message is the user's or, when an answer is to be continued, the assistant's.
    """
    if not isinstance(messages, list):
        raise UserError("The history is not a list of messages.", 'It looks like [{"role": "user", "content": "Hi"}].')
    if len(messages) > MAX_MESSAGES:
        raise UserError(f"The history has {len(messages):,} messages.", f"{MAX_MESSAGES:,} are the most.")
    checked = [_check_message(number, message) for number, message in enumerate(messages)]
    if sum(len(message["content"]) for message in checked) > MAX_HISTORY_CHARACTERS:
        raise UserError(f"The conversation has more than {MAX_HISTORY_CHARACTERS:,} characters.", "Begin a new one.")
    last = checked[-1] if checked else Message(role="", content="")
    if continuing and last["role"] != "assistant":
        raise UserError("There is no answer to continue.", "Send a message first.")
    if not continuing and (last["role"] != "user" or not last["content"].strip()):
        raise UserError("There is no message to answer.", "Write one.")
    return checked


def _check_message(number: int, message: object) -> Message:
    """Return one message with nothing but its role and its text. Raises UserError."""
    if not isinstance(message, dict):
        raise UserError(f"Message {number + 1} is not a message.", 'It looks like {"role": "user", "content": "Hi"}.')
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant") and not (role == "system" and number == 0):
        raise UserError(
            f"Message {number + 1} has the role '{str(role)[:40]}'.", "A chat has user and assistant messages."
        )
    if not isinstance(content, str):
        raise UserError(f"Message {number + 1} is not text.")
    if len(content) > MAX_MESSAGE_CHARACTERS:
        what = "The system prompt (with the summary)" if role == "system" else f"Message {number + 1}"
        raise UserError(
            f"{what} has {len(content):,} characters; {MAX_MESSAGE_CHARACTERS:,} are the most.", "Shorten it."
        )
    return Message(role=str(role), content=content)
