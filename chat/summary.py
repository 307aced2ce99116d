"""The running summary: when the window is full, the left-out turns are kept in short, written by the model itself.

The summary is part of the conversation, shown and editable, and stands in the system prompt. It is written when further turns
are left out, from the last summary and those turns; in several rounds when they do not fit into the window at once.
"""

from collections.abc import Iterator, Sequence

from chat.engine import Reply
from chat.history import MessageTooLong, turns_left_out
from chat.line import LOCAL, Caller
from chat.sampling import Sampling
from models.messages import Message

SAMPLING = Sampling(max_new_tokens=160)
MAX_SUMMARISED_CHARACTERS = 12_000  # of the turns that are summarised; what was said before that is in the last summary
PIECE_CHARACTERS, MIN_PIECE_CHARACTERS = 6_000, 40  # that are read in one round; fewer where their tokens do not fit
INSTRUCTION = (
    "Here is the beginning of a conversation between a user and an assistant. Write down in a few short sentences what should be "
    "remembered of it: names, facts, numbers, wishes and what was decided. Write nothing else."
)


def summarise(
    engine, model, summary: str, messages: Sequence[Message], left_out: int, summarised: int, caller: Caller = LOCAL
) -> Iterator[Reply]:
    """Stream a summary of the first `left_out` turns of `messages`, of which `summary` covers the first `summarised`."""
    new = turns_left_out(messages, left_out)
    known = turns_left_out(messages, summarised)
    text = "\n".join(f"{message['role']}: {message['content']}" for message in new[len(known) :])
    text = text[-MAX_SUMMARISED_CHARACTERS:]
    size = PIECE_CHARACTERS
    while text:
        try:
            before = f"What was noted before: {summary}\n\n" if summary.strip() else ""
            asked = Message(role="user", content=f"{INSTRUCTION}\n\n{before}{text[:size]}")
            for reply in engine.reply(model, [asked], SAMPLING, caller=caller):
                yield reply
        except MessageTooLong as error:
            share = 0.9 * error.room / error.tokens
            size = min(int(min(size, len(text)) * share), size - 1)
            if size < MIN_PIECE_CHARACTERS:
                raise
        else:
            summary, text = reply.text or summary, text[size:]
