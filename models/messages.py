"""A message of a conversation, and the check of messages from outside."""

from typing import NotRequired, TypedDict

from common.errors import UserError
from common.language import _

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
        raise UserError(
            _("The history is not a list of messages."),
            _('A history looks like this: [{"role": "user", "content": "Hi"}]'),
        )
    if len(messages) > MAX_MESSAGES:
        words = _("The history has {count:,} messages.", count=len(messages))
        raise UserError(words, _("At most {most:,} are allowed.", most=MAX_MESSAGES))
    checked = [_check_message(number, message) for number, message in enumerate(messages)]
    if sum(len(message["content"]) for message in checked) > MAX_HISTORY_CHARACTERS:
        words = _("The conversation has more than {most:,} characters.", most=MAX_HISTORY_CHARACTERS)
        raise UserError(words, _("Start a new one."))
    last = checked[-1] if checked else Message(role="", content="")
    if continuing and last["role"] != "assistant":
        raise UserError(_("There is no answer to continue."), _("Send a message first."))
    if not continuing and (last["role"] != "user" or not last["content"].strip()):
        raise UserError(_("There is no message to answer."), _("Write one."))
    return checked


def _check_message(number: int, message: object) -> Message:
    """Return one message with nothing but its role and its text. Raises UserError."""
    if not isinstance(message, dict):
        words = _("Message {number} is not a message.", number=number + 1)
        raise UserError(words, _('A message looks like this: {"role": "user", "content": "Hi"}'))
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant") and not (role == "system" and number == 0):
        words = _("Message {number} has the role '{role}'.", number=number + 1, role=str(role)[:40])
        raise UserError(words, _("A chat has user and assistant messages."))
    if not isinstance(content, str):
        raise UserError(_("Message {number} is not text.", number=number + 1))
    if len(content) > MAX_MESSAGE_CHARACTERS:
        values = {"count": len(content), "most": MAX_MESSAGE_CHARACTERS}
        raise UserError(
            _("The system prompt (with the summary) has {count:,} characters; at most {most:,} are allowed.", **values)
            if role == "system"
            else _(
                "Message {number} has {count:,} characters; at most {most:,} are allowed.", number=number + 1, **values
            ),
            _("Shorten it."),
        )
    return Message(role=str(role), content=content)
