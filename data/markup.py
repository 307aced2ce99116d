"""Text that already carries the marks of a chat."""

import re

from models.messages import Message

SPEAKERS = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \n]?")


def dialogue_turns(text: str) -> list[Message] | None:
    """Return the turns of a text that is written as 'Human: ...' and 'Assistant: ...' (hh-rlhf); None for any other text."""
    before, *parts = SPEAKERS.split(text)
    speakers, said = parts[::2], parts[1::2]
    if before.strip() or not {"Human", "Assistant"} <= set(speakers):
        return None
    return [
        {"role": "user" if speaker == "Human" else "assistant", "content": words.strip()}
        for speaker, words in zip(speakers, said, strict=True)
    ]
