"""The conversations that a browser keeps as JSON, and their exports. What comes from there is checked like any input."""

import json
import math
import secrets
import time
from collections.abc import Sequence
from typing import Any, TypedDict, TypeGuard

from chat.conversation import ENDS, MAX_PANES, MAX_TITLE_CHARACTERS, Conversation, Pane, Said, Took, characters, said
from common.errors import UserError
from common.files import parse_json
from common.language import _
from models.messages import MAX_MESSAGE_CHARACTERS, MAX_MESSAGES, check_messages

MAX_NAME_CHARACTERS = 200
MAX_CONVERSATIONS = 50
MAX_STORED_CHARACTERS = 1_500_000  # of all conversations together: a browser keeps about 5 MB for a page
ALMOST_FULL = 0.9  # of that room: then a person is told which one goes next
MAX_CONVERSATION_CHARACTERS = 600_000  # of one, all panes together: the server holds it while its page is open


class Deleted(TypedDict):
    """A deleted conversation in the browser's list: it keeps another tab that still has it from storing it again."""

    id: str
    changed: float
    deleted: bool


Record = Conversation | Deleted


def keep(records: list[Record], conversation: Conversation) -> list[Record]:
    """Return the browser's list with this conversation, unless it has a later state of it; the last changed first.

    Conversations beyond the browser's room are marked as deleted, the longest unchanged first; so are those without messages.
    """
    known: dict[str, Record] = {one["id"]: one for one in records}
    before = known.get(conversation["id"])
    if not said(conversation) and before is None:
        return records
    if before is None or before["changed"] <= conversation["changed"]:
        known[conversation["id"]] = conversation if said(conversation) else deleted(conversation)
    kept, left, size = 0, [], 0
    for one in sorted(known.values(), key=lambda one: one["changed"], reverse=True):
        if "panes" in one:
            size += len(json.dumps(one))
            if kept == MAX_CONVERSATIONS or (kept and size > MAX_STORED_CHARACTERS):
                one = Deleted(id=one["id"], changed=one["changed"], deleted=True)
            else:
                kept += 1
        left.append(one)
    return left


def deleted(conversation: Record) -> Deleted:
    """Return the mark that a conversation leaves in the browser's list when it is deleted now."""
    return Deleted(id=conversation["id"], changed=time.time(), deleted=True)


def is_conversation(record: Record) -> TypeGuard[Conversation]:
    """Return whether `record` is a conversation, not the mark of a deleted one."""
    return "panes" in record


def next_to_go(records: Sequence[Record]) -> Conversation | None:
    """Return the conversation that the next new one would delete from the browser, None while there is room."""
    kept = list(filter(is_conversation, records))
    size = sum(len(json.dumps(one)) for one in kept)
    is_full = len(kept) >= MAX_CONVERSATIONS or size > ALMOST_FULL * MAX_STORED_CHARACTERS
    return kept[-1] if is_full and len(kept) > 1 else None


def records_of(found: object) -> list[Record]:
    """Return the valid records of a list that a browser sent; conversations and marks of deleted ones."""
    records: Sequence[Record] = []
    for one in found if isinstance(found, list) else []:
        try:
            if one.get("deleted"):
                records.append(Deleted(id=str(one["id"])[:16], changed=_time(one), deleted=True))
            else:
                records.append(checked(one))
        except (UserError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
            continue
    return records


def find(conversations: list[Conversation], words: str) -> list[Conversation]:
    """Return the conversations that hold all of `words` in their title, their system prompt or their messages."""
    wanted = words.lower().split()

    def text(conversation: Conversation) -> str:
        parts = [message["content"] for pane in conversation["panes"] for message in pane["messages"]]
        return "\n".join([conversation["title"], conversation["system"], *parts]).lower()

    return [one for one in conversations if all(word in text(one) for word in wanted)]


def to_markdown(conversation: Conversation) -> str:
    """Return the conversation to read: every turn, with the answer of each model under its name."""
    lines = [f"# {conversation['title'] or _('Conversation')}"]
    if conversation["system"].strip():
        lines.append(f"**{_('System prompt')}:** {conversation['system'].strip()}")
    for place in range(0, len(said(conversation)), 2):
        lines.append(f"**{_('You')}:** {said(conversation)[place]['content']}")
        for pane in conversation["panes"]:
            answer = pane["messages"][place + 1]
            name = answer.get("by") or pane["who"] or pane["model"].partition(":")[2] or _("Base model")
            lines.append(f"**{name}:** {answer['content']}")
    return "\n\n".join(lines) + "\n"


def from_json(text: str) -> list[Conversation]:
    """Return the conversations of an export, one or all, checked like anything from outside, with new ids.

    Raises UserError.
    """
    try:
        found = parse_json(text)
        given = found if isinstance(found, list) and found else [found]
        return [checked({**one, "id": secrets.token_hex(8), "changed": time.time()}) for one in given]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        words = _("This is not a conversation that was exported here.")
        raise UserError(words, _("Choose a .json file that was exported here.")) from error


def checked(found: dict[str, Any]) -> Conversation:
    """Return a conversation from outside with only its known fields.

    Raises UserError, and TypeError, KeyError, ValueError, AttributeError or OverflowError for what is no conversation.
    """
    given = found["panes"]
    if not isinstance(given, list) or not 1 <= len(given) <= MAX_PANES:
        raise UserError(_("A conversation has between 1 and {most} panes.", most=MAX_PANES))
    if any(len(pane["messages"]) > MAX_MESSAGES for pane in given):
        raise UserError(_("A conversation has at most {most:,} messages.", most=MAX_MESSAGES))
    if any(len(str(found.get(key, ""))) > MAX_MESSAGE_CHARACTERS for key in ("system", "summary")):
        words = _("A system prompt or a summary has at most {most:,} characters.", most=MAX_MESSAGE_CHARACTERS)
        raise UserError(words)
    panes = [_checked_pane(pane) for pane in given]
    if len({len(pane["messages"]) for pane in panes}) > 1:
        raise UserError(_("All panes of a conversation must have the same questions."))
    made = Conversation(
        id=str(found.get("id"))[:16],
        title=str(found.get("title", ""))[:MAX_TITLE_CHARACTERS],
        system=str(found.get("system", "")),
        summary=str(found.get("summary", "")),
        summarised=max(0, int(found.get("summarised", 0))),
        changed=_time(found),
        panes=panes,
    )
    if characters(made) + len(made["system"]) + len(made["summary"]) > MAX_CONVERSATION_CHARACTERS:
        raise UserError(_("A conversation has at most {most:,} characters.", most=MAX_CONVERSATION_CHARACTERS))
    return made


def _checked_pane(found: dict[str, Any]) -> Pane:
    """Return a pane from outside with only its known fields. Raises like `checked`."""
    messages = [_checked_message(message) for message in found["messages"]]
    roles = [message["role"] for message in messages]
    if roles != ["user", "assistant"] * (len(roles) // 2):
        raise UserError(_("The messages of a conversation alternate between user and assistant."))
    if messages:
        check_messages(messages, continuing=True)
    return Pane(
        model=str(found["model"])[:MAX_NAME_CHARACTERS],
        template=str(found.get("template", ""))[:16],
        left_out=max(0, min(int(found.get("left_out", 0)), len(messages) // 2)),
        messages=messages,
        used=int(found.get("used", 0)),
        window=int(found.get("window", 0)),
        who=str(found.get("who", ""))[:MAX_NAME_CHARACTERS],
        read_as=str(found.get("read_as", ""))[:16],
    )


def _checked_message(found: dict[str, Any]) -> Said:
    """Return a message from outside with only its known fields. Raises like `checked`."""
    rated = found.get("rated")
    kept = Said(
        role=found["role"],
        content=found["content"],
        tries=int(found.get("tries", 0)),
        rated=rated if rated in ("Like", "Dislike") else None,
    )
    if "by" in found:
        kept["by"] = str(found["by"])[:MAX_NAME_CHARACTERS]
    if found.get("is_edited") is True:
        kept["is_edited"] = True
    if found.get("end") in ENDS:
        kept["end"] = found["end"]
    if took := found.get("took"):
        kept["took"] = Took(
            tokens=int(took["tokens"]),
            tokens_per_second=_number(took, "tokens_per_second"),
            seconds_to_first=_number(took, "seconds_to_first"),
            seed=None if took["seed"] is None else int(took["seed"]),
            temperature=_number(took, "temperature"),
        )
    return kept


def _time(found: dict[str, Any]) -> float:
    """Return when it was changed, in seconds since 1970, never in the future. Raises ValueError for no time."""
    return min(_number(found, "changed"), time.time())


def _number(found: dict[str, Any], name: str) -> float:
    """Return a finite number, 0 where there is none. Raises ValueError."""
    number = float(found.get(name, 0))
    if not math.isfinite(number):
        raise ValueError(f"{name} is no number")
    return number
