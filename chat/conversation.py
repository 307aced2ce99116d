"""A conversation as plain data (it is kept as JSON in the browser): what was said to one model or to several side by side.

    {"id", "title", "system", "summary", "summarised", "changed", "panes": [{"model", "template", "messages": [...]}]}

Every pane holds the same user messages, each followed by the answer of its model. The functions change a conversation in place.
"""

import json
import math
import secrets
import time
from typing import Any

from chat.history import LONGEST_MESSAGE, MOST_MESSAGES, check_messages
from common.errors import UserError

MOST_PANES = 4
LONGEST_TITLE = 60
LONGEST_NAME = 200
MOST_CONVERSATIONS = 50
MOST_CHARACTERS = 1_500_000  # of all conversations together: a browser keeps about 5 MB for a page
MAX_CONVERSATION_CHARACTERS = 600_000  # of one, all panes together: the server holds it while its page is open
MAX_ROOM_CHARACTERS = 400_000  # what a conversation may have for another answer to be asked
ALMOST_FULL = 0.9  # of that room: then a person is told which one goes next
MESSAGE_KEYS = ("role", "content", "tries", "note", "rated", "by")
# What a pane knows of its last answer: tokens used, the window, who answered, the template it was read in.
NOT_YET: dict[str, Any] = {"used": 0, "window": 0, "who": "", "read_as": ""}


def new_conversation(models: list[str], system: str = "") -> dict:
    """An empty conversation with one pane for each of `models`."""
    panes = [
        {"model": model, "template": "", "left_out": 0, "messages": [], **NOT_YET} for model in models[:MOST_PANES]
    ]
    made = {"id": secrets.token_hex(8), "title": "", "system": system, "summary": "", "summarised": 0}
    return {**made, "changed": time.time(), "panes": panes}


def set_models(conversation: dict, models: list[str]) -> None:
    """Give the conversation these panes; one that is new begins with what was said in the first."""
    known: dict[str, dict] = {pane["model"]: pane for pane in conversation["panes"]}
    first = conversation["panes"][0]
    if models[0] not in known:  # another model goes on with the first pane
        known[models[0]] = {**first, "model": models[0], **NOT_YET}
    panes = []
    for model in models[:MOST_PANES]:
        pane = known.get(model) or {**first, "model": model, **NOT_YET}
        panes.append({**pane, "messages": [dict(message) for message in pane["messages"]]})
    conversation["panes"] = panes


def check_room(conversation: dict) -> None:
    """Raise UserError for a conversation that is too long to be gone on with."""
    if _characters(conversation) > MAX_ROOM_CHARACTERS:
        words = f"This conversation has more than {MAX_ROOM_CHARACTERS:,} characters."
        raise UserError(words, "Press “New chat”; this one is kept.")


def _characters(conversation: dict) -> int:
    return sum(len(message["content"]) for pane in conversation["panes"] for message in pane["messages"])


def ask(conversation: dict, text: str) -> None:
    """Add the user's message and an empty answer to every pane. Raises UserError when it is too long to go on with."""
    check_room(conversation)
    for pane in conversation["panes"]:
        pane["messages"] += [{"role": "user", "content": text}, {"role": "assistant", "content": ""}]
    conversation["title"] = conversation["title"] or make_title(text)
    conversation["changed"] = time.time()


def undo(conversation: dict) -> str:
    """Take the last turn out of every pane; returns what the user had said. Raises UserError when there is none."""
    if not said(conversation):
        raise UserError("There is nothing to undo.")
    text = conversation["panes"][0]["messages"][-2]["content"]
    cut(conversation, len(said(conversation)) - 2)
    return text


def cut(conversation: dict, place: int) -> None:
    """Keep the messages before `place` in every pane; a summary of more than them is dropped."""
    for pane in conversation["panes"]:
        pane["messages"] = pane["messages"][:place]
        pane["left_out"] = min(pane["left_out"], place // 2)
        pane |= NOT_YET
    if conversation["summarised"] > place // 2:
        conversation["summary"], conversation["summarised"] = "", 0
    conversation["changed"] = time.time()


def said(conversation: dict) -> list[dict]:
    """The messages of the first pane."""
    return conversation["panes"][0]["messages"]


def prompt_messages(conversation: dict, pane: int, end: int | None = None) -> list[dict]:
    """What the model of a pane gets: the system prompt, the summary if there is one, and the messages before `end`.

    Turns that were never answered are left out.
    """
    messages = conversation["panes"][pane]["messages"][:end]
    kept = []
    for place, message in enumerate(messages):
        answer = messages[place + 1] if place + 1 < len(messages) else None
        is_unanswered = message["role"] == "user" and answer is not None and not answer["content"].strip()
        if not is_unanswered and (message["role"] == "user" or message["content"].strip()):
            kept.append({"role": message["role"], "content": message["content"]})
    system = conversation["system"].strip()
    if conversation["summary"].strip():
        system = f"{system}\n\nWhat was said earlier, in short:\n{conversation['summary'].strip()}".strip()
    return ([{"role": "system", "content": system}] if system else []) + kept


def make_title(text: str) -> str:
    """A title from the first words."""
    words = " ".join(text.split())
    return words if len(words) <= LONGEST_TITLE else f"{words[: LONGEST_TITLE - 1].rsplit(' ', 1)[0]}…"


def keep(records: list[dict], conversation: dict) -> list[dict]:
    """The browser's list with this conversation in it, unless a later state of it is there; the last changed first.

    What a browser has no room for is marked as deleted, the longest unchanged first; so is one in which nothing is said any more.
    """
    known = {one["id"]: one for one in records}
    before = known.get(conversation["id"])
    if not said(conversation) and before is None:
        return records
    if before is None or before["changed"] <= conversation["changed"]:
        known[conversation["id"]] = conversation if said(conversation) else deleted(conversation)
    newest_first = sorted(known.values(), key=lambda one: one["changed"], reverse=True)
    kept, rest = _that_fit(newest_first)
    return sorted([*kept, *rest], key=lambda one: one["changed"], reverse=True)


def deleted(conversation: dict) -> dict:
    """What stays in the list of one that is deleted: another tab that still holds it must not bring it back."""
    return {"id": conversation["id"], "changed": time.time(), "deleted": True}


def _that_fit(newest_first: list[dict]) -> tuple[list[dict], list[dict]]:
    """(those that a browser has room for, the deleted and those without room, marked as deleted)."""
    kept, rest, size = [], [], 0
    for one in newest_first:
        size += 0 if one.get("deleted") else len(json.dumps(one))
        has_room = len(kept) < MOST_CONVERSATIONS and (size <= MOST_CHARACTERS or not kept)
        if one.get("deleted") or not has_room:
            rest.append({**deleted(one), "changed": one["changed"]})
        else:
            kept.append(one)
    return kept, rest


def next_to_go(records: list[dict]) -> dict | None:
    """The conversation that the next new one pushes out of the browser, None while there is room."""
    kept = [one for one in records if not one.get("deleted")]
    size = sum(len(json.dumps(one)) for one in kept)
    is_full = len(kept) >= MOST_CONVERSATIONS or size > ALMOST_FULL * MOST_CHARACTERS
    return kept[-1] if is_full and len(kept) > 1 else None


def records_of(found: object) -> list[dict]:
    """What a browser sent as its list: conversations and deleted ones; whatever is neither is left out."""
    records = []
    for one in found if isinstance(found, list) else []:
        try:
            is_deleted = bool(one.get("deleted"))
            records.append(
                {**deleted(one), "id": str(one["id"])[:16], "changed": _time(one)} if is_deleted else checked(one)
            )
        except (UserError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
            continue
    return records


def find(conversations: list[dict], words: str) -> list[dict]:
    """Those that hold all of `words` in their title or in what was said."""
    wanted = words.lower().split()

    def text(conversation: dict) -> str:
        parts = [message["content"] for pane in conversation["panes"] for message in pane["messages"]]
        return "\n".join([conversation["title"], conversation["system"], *parts]).lower()

    return [one for one in conversations if all(word in text(one) for word in wanted)]


def to_markdown(conversation: dict) -> str:
    """The conversation to read: every turn, with the answer of each model under its name."""
    lines = [f"# {conversation['title'] or 'Conversation'}"]
    if conversation["system"].strip():
        lines.append(f"**System prompt:** {conversation['system'].strip()}")
    for place in range(0, len(said(conversation)), 2):
        lines.append(f"**You:** {said(conversation)[place]['content']}")
        for pane in conversation["panes"]:
            answer = pane["messages"][place + 1]
            name = (answer.get("by") or pane["model"]).partition(":")[2] or "Base, without the adapter"
            lines.append(f"**{name}:** {answer['content']}")
    return "\n\n".join(lines) + "\n"


def from_json(text: str) -> list[dict]:
    """The conversations of an export, one or all, checked like anything from outside; each gets an id of its own.

    Raises UserError.
    """
    try:
        found = json.loads(text)
        given = found if isinstance(found, list) and found else [found]
        return [checked({**one, "id": secrets.token_hex(8), "changed": time.time()}) for one in given]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(
            "This is not a conversation that was exported here.", "Choose a .json file of an export."
        ) from error


def checked(found: dict) -> dict:
    """A conversation from outside with nothing in it but what belongs there. Raises UserError, TypeError, KeyError."""
    panes = found["panes"]
    if not isinstance(panes, list) or not 1 <= len(panes) <= MOST_PANES:
        raise UserError(f"A conversation has between 1 and {MOST_PANES} panes.")
    if any(len(pane["messages"]) > MOST_MESSAGES for pane in panes):
        raise UserError(f"A conversation has at most {MOST_MESSAGES:,} messages.")
    if any(len(str(found.get(key, ""))) > LONGEST_MESSAGE for key in ("system", "summary")):
        raise UserError(f"A system prompt and a summary have at most {LONGEST_MESSAGE:,} characters.")
    made = new_conversation([str(pane["model"])[:LONGEST_NAME] for pane in panes], str(found.get("system", "")))
    made |= {"title": str(found.get("title", ""))[:LONGEST_TITLE], "id": str(found.get("id"))[:16]}
    made |= {"summary": str(found.get("summary", "")), "summarised": max(0, int(found.get("summarised", 0)))}
    made["changed"] = _time(found)
    for pane, given in zip(made["panes"], panes, strict=True):
        pane["template"] = str(given.get("template", ""))[:16]
        pane |= {key: type(value)(given.get(key, value)) for key, value in NOT_YET.items()}
        pane |= {"who": pane["who"][:LONGEST_NAME], "read_as": pane["read_as"][:16]}
        pane["messages"] = [_checked_message(message) for message in given["messages"]]
        pane["left_out"] = max(0, min(int(given.get("left_out", 0)), len(pane["messages"]) // 2))
        roles = [message["role"] for message in pane["messages"]]
        if roles != ["user", "assistant"] * (len(roles) // 2) or len(roles) != len(panes[0]["messages"]):
            raise UserError("The messages of a conversation alternate between user and assistant.")
        if roles:
            check_messages(pane["messages"], continuing=True)
    if _characters(made) + len(made["system"]) + len(made["summary"]) > MAX_CONVERSATION_CHARACTERS:
        raise UserError(f"A conversation has {MAX_CONVERSATION_CHARACTERS:,} characters at most.")
    return made


def _time(found: dict) -> float:
    """When it was changed, in seconds since 1970, never in the future."""
    changed = float(found.get("changed", 0))
    if not math.isfinite(changed):
        raise ValueError("no time")
    return min(changed, time.time())


def _checked_message(message: dict) -> dict:
    kept = {key: message[key] for key in MESSAGE_KEYS if key in message}
    kept |= {"note": str(kept.get("note", ""))[:300], "tries": int(kept.get("tries", 0))}
    kept |= {"rated": rated if (rated := kept.get("rated")) in ("Like", "Dislike") else None}
    return kept | {"by": str(kept["by"])[:LONGEST_NAME]} if "by" in kept else kept
