"""A conversation as plain data: the messages with one model or with several side by side.

Every pane holds the same user messages, each followed by the answer of its model. The functions change a conversation in place.
"""

import copy
import secrets
import time
from typing import TypedDict

from common.errors import UserError
from common.language import _
from models.messages import Message

MAX_PANES = 4
MAX_TITLE_CHARACTERS = 60
MAX_ROOM_CHARACTERS = 400_000  # what a conversation may have for another answer to be asked
LENGTH, STOPPED, REPEATED = ENDS = ("length", "stopped", "repeated")  # why an answer is not whole


class Took(TypedDict):
    """How an answer was made; `seed` is None where it decided nothing."""

    tokens: int
    tokens_per_second: float
    seconds_to_first: float
    seed: int | None
    temperature: float


class Said(Message, total=False):
    """A message of a pane.

    Of an answer, `by` is the name of the model that gave it, whatever became of it since, `tries` counts retries, `end` says why
    it is not whole, and `doing` is there while it comes, with what it waits for.
    """

    tries: int
    took: Took
    end: str
    is_edited: bool
    rated: str | None  # "Like" or "Dislike"
    by: str
    doing: str


class Pane(TypedDict):
    """The conversation with one model. `left_out` are the turns beyond its window.

    Of its last answer: `used` tokens of the `window`, the name of `who` answered, and the template that it was `read_as`.
    """

    model: str
    template: str
    left_out: int
    messages: list[Said]
    used: int
    window: int
    who: str
    read_as: str


class Conversation(TypedDict):
    """`summary` covers the first `summarised` turns; `changed` is in seconds since 1970."""

    id: str
    title: str
    system: str
    summary: str
    summarised: int
    changed: float
    panes: list[Pane]


def new_conversation(models: list[str], system: str = "") -> Conversation:
    """Return an empty conversation with one pane for each of `models`."""
    return Conversation(
        id=secrets.token_hex(8),
        title="",
        system=system,
        summary="",
        summarised=0,
        changed=time.time(),
        panes=[_new_pane(model, []) for model in models[:MAX_PANES]],
    )


def _new_pane(model: str, messages: list[Said], template: str = "", left_out: int = 0) -> Pane:
    """Return a pane with these `messages`, without the state of an answer."""
    kept = [message.copy() for message in messages]
    return Pane(model=model, template=template, left_out=left_out, messages=kept, used=0, window=0, who="", read_as="")


def set_models(conversation: Conversation, models: list[str]) -> None:
    """Give the conversation a pane for each of `models`; a new pane starts with the messages of the first."""
    known = {pane["model"]: pane for pane in conversation["panes"]}
    first = conversation["panes"][0]
    conversation["panes"] = [
        copy.deepcopy(known[model])
        if model in known
        else _new_pane(model, first["messages"], first["template"], first["left_out"])
        for model in models[:MAX_PANES]
    ]


def check_room(conversation: Conversation) -> None:
    """Raise UserError for a conversation that is too long for another message."""
    if characters(conversation) > MAX_ROOM_CHARACTERS:
        words = _("This conversation has more than {most:,} characters.", most=MAX_ROOM_CHARACTERS)
        raise UserError(words, _("Start a new chat; this one is kept."))


def characters(conversation: Conversation) -> int:
    """Return the characters of all messages in all panes."""
    return sum(len(message["content"]) for pane in conversation["panes"] for message in pane["messages"])


def ask(conversation: Conversation, text: str) -> None:
    """Add the user's message and an empty answer to every pane; the first message becomes the title.

    Raises UserError when the conversation is too long.
    """
    check_room(conversation)
    for pane in conversation["panes"]:
        pane["messages"] += [{"role": "user", "content": text}, {"role": "assistant", "content": ""}]
    words = " ".join(text.split())
    if len(words) > MAX_TITLE_CHARACTERS:
        words = f"{words[: MAX_TITLE_CHARACTERS - 1].rsplit(' ', 1)[0]}…"
    conversation["title"] = conversation["title"] or words
    conversation["changed"] = time.time()


def undo(conversation: Conversation) -> str:
    """Remove the last turn from every pane; return its user message. Raises UserError when there is none."""
    if not said(conversation):
        raise UserError(_("There is nothing to undo."))
    text = conversation["panes"][0]["messages"][-2]["content"]
    cut(conversation, len(said(conversation)) - 2)
    return text


def cut(conversation: Conversation, place: int) -> None:
    """Keep the messages before `place` in every pane; drop a summary that covers more than those."""
    for pane in conversation["panes"]:
        left_out = min(pane["left_out"], place // 2)
        pane.update(_new_pane(pane["model"], pane["messages"][:place], pane["template"], left_out))
    if conversation["summarised"] > place // 2:
        conversation["summary"], conversation["summarised"] = "", 0
    conversation["changed"] = time.time()


def said(conversation: Conversation) -> list[Said]:
    """Return the messages of the first pane."""
    return conversation["panes"][0]["messages"]


def prompt_messages(conversation: Conversation, pane: int, end: int | None = None) -> list[Message]:
    """Return the prompt of a pane's model: system prompt, summary if there is one, and the messages before `end`.

    Turns without an answer are left out.
    """
    messages = conversation["panes"][pane]["messages"][:end]
    kept = []
    for place, message in enumerate(messages):
        answer = messages[place + 1] if place + 1 < len(messages) else None
        is_unanswered = message["role"] == "user" and answer is not None and not answer["content"].strip()
        if not is_unanswered and (message["role"] == "user" or message["content"].strip()):
            kept.append(Message(role=message["role"], content=message["content"]))
    system = conversation["system"].strip()
    if conversation["summary"].strip():
        system = f"{system}\n\nWhat was said earlier, in short:\n{conversation['summary'].strip()}".strip()
    return ([Message(role="system", content=system)] if system else []) + kept
