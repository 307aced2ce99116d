"""Checks of what the page, or a program in its place, sends, before it is used. Raises UserError."""

from chat.conversation import Conversation, said
from common.errors import UserError
from common.language import _
from models.messages import MAX_MESSAGE_CHARACTERS
from ui.chat import view as chat_view


def are_different(conversation: Conversation) -> bool:
    """Return whether the last answers differ, so that one of them can be better."""
    last = [pane["messages"][-1]["content"] for pane in conversation["panes"] if pane["messages"]]
    return len(set(last)) > 1


def place_of(conversation: Conversation, pane: int, index: object) -> int:
    """Return the place of a message that the page names by `index`. Raises UserError when there is none."""
    if pane >= len(conversation["panes"]):
        raise UserError(_("This pane is gone."))
    try:
        place = chat_view.place_of(conversation["panes"][pane], index)
    except (TypeError, ValueError, IndexError, OverflowError):
        place = -1
    if not 0 <= place < len(said(conversation)):
        raise UserError(_("This message is not in the conversation."))
    return place


def check_text(text: object) -> str:
    """Return `text`. Raises UserError when it is empty, no text, or too long."""
    if not (isinstance(text, str) and text.strip()):
        raise UserError(_("There is no message."), _("Write one."))
    if len(text) > MAX_MESSAGE_CHARACTERS:
        words = _(
            "The message has {count:,} characters; at most {most:,} are allowed.",
            count=len(text),
            most=MAX_MESSAGE_CHARACTERS,
        )
        raise UserError(words)
    return text
