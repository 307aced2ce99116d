"""Which column is what, and from a row to a conversation: {"messages": [...]} or, of plain text, {"text": ...}.

A mapping says what the columns are: {"prompt": "question", "completion": "answer"}; its keys are in `KEYS`. Names that are
in common use are recognised; for others `guess_mapping` proposes what a person confirms. Preview, report and training all
take `to_conversation`.
"""

import json
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache

from common.errors import UserError
from data.conversations import BadLine, Conversation, Row
from models.messages import Message

KEYS = ("messages", "text", "prompt", "completion", "system", "context")
SHAPES = "messages; prompt and completion; instruction, input and output; conversations; text"
NAMES = {
    "messages": ("messages", "conversations", "conversation", "dialog", "dialogue", "dialogs", "turns", "chat"),
    "prompt": ("prompt", "instruction", "question", "query", "input", "user", "human", "질문", "지시문", "입력"),
    "completion": ("completion", "output", "response", "answer", "assistant", "reply", "target", "답변", "답", "출력"),
    "context": ("context", "input", "passage", "맥락"),
    "system": ("system", "system_prompt", "system_message"),
    "text": ("text", "content", "document", "본문"),
}
HINTS = {
    "prompt": ("ask", "quest", "frage", "instr", "prompt", "input", "user", "human", "title", "source", "질문"),
    "completion": ("answ", "antwort", "resp", "output", "compl", "assist", "reply", "target", "bot", "gpt", "답"),
}
ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "client", "사용자"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "chatgpt", "ai", "도우미"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
}
TURN_KEYS = (("role", "content"), ("from", "value"), ("role", "value"), ("speaker", "text"), ("role", "text"))


class EmptyAnswer(UserError):
    """The error for a row whose answer holds no words."""


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Return the names of all columns of these rows, in order of appearance."""
    return list(dict.fromkeys(str(name) for row in rows for name in row))


def is_table(value: Row) -> bool:
    """Return True for an object of columns, lists of equal length. Lists of turns are none, nor are bare strings as turns."""
    columns = list(value.values())
    if not all(isinstance(column, list) and column for column in columns) or len(set(map(len, columns))) != 1:
        return False
    return not any(
        isinstance(member, dict) or (isinstance(member, str) and name.strip().lower() in NAMES["messages"])
        for name, column in value.items()
        for member in column
    )


def recognise(rows: list[Row]) -> dict[str, str] | None:
    """Return the mapping that most of these rows, a source's head, show by their columns' names; None when most show none."""
    found = Counter(_by_names(tuple(map(str, row))) for row in rows if not isinstance(row, BadLine))
    if not found or found[None] * 2 > found.total():
        return None
    best = max((names for names in found if names is not None), key=lambda names: (found[names], len(names)))
    return dict(best)


@lru_cache(maxsize=1024)
def _by_names(columns: tuple[str, ...]) -> tuple[tuple[str, str], ...] | None:
    """Return ((key, column), ...) of a row with these columns, or None."""
    lower = {column.strip().lower(): column for column in reversed(columns)}
    named = {key: next((lower[name] for name in names if name in lower), None) for key, names in NAMES.items()}
    system = [("system", named["system"])] if named["system"] else []
    if named["messages"]:
        return (("messages", named["messages"]), *system)
    if named["prompt"] and named["completion"]:
        free = [lower[name] for name in NAMES["context"] if name in lower and lower[name] != named["prompt"]]
        context = [("context", free[0])] if free else []
        return (("prompt", named["prompt"]), ("completion", named["completion"]), *context, *system)
    return (("text", named["text"]),) if named["text"] else None


def guess_mapping(rows: list[Row]) -> dict[str, str]:
    """Return the best guess from names and contents; {} when no column holds text."""
    known = recognise(rows)
    if known:
        return known
    rows = rows[:100]
    texts: dict[str, float] = {}  # column: mean length of its text
    for column in columns_of(rows):
        values = [row.get(column) for row in rows]
        if any(isinstance(value, list) and value and isinstance(value[0], (dict, str)) for value in values):
            return {"messages": column}
        words = [value for value in values if isinstance(value, str) and value.strip()]
        is_number = all(word.replace(".", "").isdigit() for word in words)
        is_category = len(words) > 20 and len(set(words)) <= 5
        if len(words) * 2 > len(values) and not is_number and not is_category:
            texts[column] = sum(map(len, words)) / len(words)
    if len(texts) < 2:
        return {"text": next(iter(texts))} if texts else {}
    prompt = _hinted("prompt", texts)
    completion = _hinted("completion", [column for column in texts if column != prompt])
    prompt = prompt or next(column for column in texts if column != completion)
    rest = [column for column in texts if column != prompt]
    return {"prompt": prompt, "completion": completion or max(rest, key=texts.__getitem__)}


def _hinted(key: str, columns: Iterable[str]) -> str | None:
    return next((column for column in columns if any(hint in column.lower() for hint in HINTS[key])), None)


def to_conversation(row: Row, mapping: dict[str, str] | None = None) -> Conversation:
    """Return the conversation in a row: by `mapping`, else by its columns' names.

    Raises UserError for unknown names, a column that is not there, and a value that does not fit.
    """
    if isinstance(row, BadLine):
        raise row.error
    if not mapping:
        known = _by_names(tuple(map(str, row)))
        if known is None:
            found = ", ".join(str(key)[:60] for key in list(row)[:20]) or "none"
            raise UserError(f"no known shape; found the keys {found}.", f"Known shapes: {SHAPES}.")
        mapping = dict(known)
    unknown = set(mapping) - set(KEYS)
    if unknown:
        raise UserError(f"columns maps '{min(unknown)}'.", f"It can map {', '.join(KEYS)}.")
    if "messages" in mapping:
        messages = _messages(_cell(row, mapping["messages"]))
    elif "prompt" in mapping and "completion" in mapping:
        messages = _pair(row, mapping)
    elif "text" in mapping:
        return {"text": _words(_cell(row, mapping["text"]), mapping["text"])}
    else:
        raise UserError("columns maps too little.", "Map messages, or prompt and completion, or text.")
    system = _optional(row, mapping, "system")
    if system and messages[0]["role"] != "system":
        messages = [Message(role="system", content=system), *messages]
    return {"messages": messages}


def _cell(row: Row, column: str) -> object:
    if column not in row:
        raise UserError(f"it has no column '{column[:60]}'.", "Map the columns that are there.")
    return row[column]


def _optional(row: Row, mapping: dict[str, str], key: str) -> str:
    """Return the text of a column that a row may lack; "" when it does."""
    value = row.get(mapping[key]) if key in mapping else None
    return value if isinstance(value, str) and value.strip() else ""


def _pair(row: Row, mapping: dict[str, str]) -> list[Message]:
    """Return a prompt and a completion, each text or (as TRL writes it) a list of messages."""
    prompt, completion = (_cell(row, mapping[key]) for key in ("prompt", "completion"))
    if isinstance(prompt, list) and isinstance(completion, list):
        turns = prompt + completion
        if not all(isinstance(turn, dict) for turn in turns):
            raise UserError(
                f"{mapping['prompt'][:60]} is a list, not text.", "Bare strings are turns in messages only."
            )
        return _messages(turns)
    context = _optional(row, mapping, "context")
    if context and isinstance(prompt, str):
        prompt = f"{prompt}\n\n{context}" if prompt.strip() else context
    question, answer = _words(prompt, mapping["prompt"]), _words(completion, mapping["completion"], EmptyAnswer)
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def _messages(value: object) -> list[Message]:
    """Return a list of turns, checked; a CSV cell carries it as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise UserError("its list of turns is not JSON.") from error
    if not isinstance(value, list) or not value:
        raise UserError("its list of turns is empty or not a list.", 'Write [{"role": "user", "content": ...}, ...].')
    messages: list[Message] = []
    for number, turn in enumerate(value, 1):
        for role, content in _turns(turn, number):
            if role == "system" and (content is None or content == ""):
                continue  # it says nothing
            if role == "system" and messages:
                raise UserError(f"turn {number} is a system message.", "Only the first turn can be one.")
            parts = content if isinstance(content, list) else []
            if parts and all(isinstance(part, dict) and "text" in part for part in parts):
                content = "".join(str(part["text"]) for part in parts)  # [{"type": "text", "text": ...}]
            empty = EmptyAnswer if role == "assistant" else UserError
            messages.append({"role": role, "content": _words(content, f"turn {number}", empty)})
    last = messages[-1]["role"] if messages else "system"
    if last != "assistant":
        raise UserError(f"it ends with the {last}'s turn.", "End it with the assistant's answer.")
    return messages


def _turns(turn, number: int) -> list[tuple[str, object]]:
    """Return (role, content) of a turn: {"role", "content"} and its like, {"user": ..., "assistant": ...}, or bare text."""
    if isinstance(turn, str):
        return [("user" if number % 2 else "assistant", turn)]
    if not isinstance(turn, dict):
        raise UserError(f"turn {number} lacks 'role' or 'content'.")
    # turns of several shapes in one Arrow file have the keys of all, null where they are not theirs
    said = {key: value for key, value in turn.items() if value is not None}
    shapes = [keys for keys in TURN_KEYS if keys[0] in said and keys[1] in turn]
    if shapes:
        role_key, text_key = max(shapes, key=lambda keys: keys[1] in said)
        role = ROLES.get(str(said[role_key]).strip().lower())
        if role is None:
            words = f"turn {number} has the unknown role '{str(said[role_key])[:60]}'."
            raise UserError(words, "Use system, user, assistant.")
        return [(role, turn[text_key])]
    pairs = [(ROLES[str(key).lower()], value) for key, value in said.items() if str(key).lower() in ROLES]
    if not pairs:
        raise UserError(f"turn {number} lacks 'role' or 'content'.")
    return pairs


def _words(value: object, where: str, empty: type[UserError] = UserError) -> str:
    if not isinstance(value, str):
        raise UserError(f"{where[:60]} is a {type(value).__name__}, not text.")
    if not value.strip():
        raise empty(f"{where[:60]} is empty.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where[:60]} holds half a character (a lone surrogate).") from error
    return value
