"""What the page, or a program in its place, says: checked before anything is done with it. Raises UserError."""

from chat.conversation import Conversation, said
from common.errors import UserError
from models.messages import MAX_MESSAGE_CHARACTERS
from ui.chat import view as chat_view


def are_different(conversation: Conversation) -> bool:
    """True when one of the last answers can be better than another."""
    last = [pane["messages"][-1]["content"] for pane in conversation["panes"] if pane["messages"]]
    return len(set(last)) > 1


def place_of(conversation: Conversation, pane: int, index: object) -> int:
    """The place of a message that the page names. Raises UserError when there is none: it may come from an API."""
    if pane >= len(conversation["panes"]):
        raise UserError("This pane is gone.")
    try:
        place = chat_view.place_of(conversation["panes"][pane], index)
    except (TypeError, ValueError, IndexError, OverflowError):
        place = -1
    if not 0 <= place < len(said(conversation)):
        raise UserError("This is no message of the conversation.")
    return place


def check_text(text: object) -> str:
    """The message, or a UserError when it is empty, no text, or too long to look at."""
    if not (isinstance(text, str) and text.strip()):
        raise UserError("There is no message.", "Write one.")
    if len(text) > MAX_MESSAGE_CHARACTERS:
        raise UserError(f"The message has {len(text):,} characters.", f"{MAX_MESSAGE_CHARACTERS:,} are the most.")
    return text
