"""Which column is what: {"prompt": "question", "completion": "answer"}, a mapping of `KEYS` to columns.

"body.messages" names what is inside of a column. Columns that are certain by their names and what they hold are recognised; for
others `guess_mapping` proposes what a person confirms, or nothing where that would be a bet.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from data.conversations import BadLine, Row
from data.markup import dialogue_turns
from data.turns import FLAGS, ROLES, WEIGHTS, WHO, as_list, is_empty, is_id, role_of

OPTIONAL = ("system", "context", "history", "label")  # what a row may lack
KEYS = ("messages", "text", "prompt", "completion", *OPTIONAL)
NAMES = {
    "messages": (
        "messages",
        "conversations",
        "conversation",
        "dialog",
        "dialogue",
        "dialogs",
        "turns",
        "chat",
        "contents",
    ),
    "prompt": (
        "prompt",
        "instruction",
        "question",
        "query",
        "input",
        "inputs",
        "user",
        "human",
        "질문",
        "지시문",
        "입력",
    ),
    "completion": (
        *("completion", "output", "response", "answer", "answers", "assistant", "reply", "target", "targets"),
        *("generation", "ideal", "답변", "답", "출력"),
    ),
    "context": ("context", "input", "passage", "맥락"),
    "system": ("system", "system_prompt", "system_message", "system_instruction", "systeminstruction"),
    "text": ("text", "content", "document", "본문"),
    "history": ("history", "chat_history", "conversation_history", "dialogue_history"),
    "label": ("label", "kto_tag", "is_correct", "is_accepted", "is_good"),
}
LABELS = {  # the words for an answer to give, and for one not to give
    **dict.fromkeys(("true", "desirable", "good", "chosen", "accepted"), True),
    **dict.fromkeys(("false", "undesirable", "bad", "rejected"), False),
}
BITS = {"0": False, "0.0": False, "1": True, "1.0": True}
CHOSEN = ("chosen", "chosen_response", "response_chosen", "preferred_output", "preferred", "accepted")
REJECTED = (
    "rejected",
    "rejected_response",
    "response_rejected",
    "non_preferred_output",
    "dispreferred",
    "not_preferred",
)
CHOICES = ("choices", "options", "endings", "candidates", "mc1_targets")
HINTS = {
    "prompt": ("ask", "quest", "frage", "instr", "prompt", "input", "user", "human", "title", "source", "질문"),
    "completion": ("answ", "antwort", "resp", "output", "compl", "assist", "reply", "target", "bot", "gpt", "답"),
}
NEVER = re.compile(
    r"reject|negativ|incorrect|wrong|worse|distract|prefer|url|filename|(?<![a-z])(bad|link|path|file|date)s?(?![a-z])",
    re.IGNORECASE,
)
JSON_LIST = re.compile(r'\s*\[\s*(["\[{]|\]\s*$)')
NAMES_ROLES = re.compile(r'"(role|from|speaker)"\s*:')
ADDRESS = re.compile(r"(https?://|www\.|/)\S*|[0-9a-f-]{16,}", re.IGNORECASE)  # and ids: no words
MAX_WORD_CHARACTERS = 20  # of a role or label
MAX_INSIDE = 3  # objects inside of objects in which messages are looked for
MAX_GUESS_ROWS = 100
MANY_ROWS, FEW_VALUES = 20, 5  # more rows with no more different values are categories


def columns_of(rows: Iterable[Row]) -> list[str]:
    """Return the names of all columns of these rows, in order of appearance."""
    return list(dict.fromkeys(str(name) for row in rows for name in row))


def rows_of_object(value: Row) -> list[Row] | None:
    """Return the rows of an object that is a table, None for any other.

    A table has columns of equal length: lists, or {"0": ..., "1": ...} as pandas writes them; its other ways are
    {"0": {row}, ...} and {"columns": [...], "data": [[...], ...]}. Lists of turns are no columns, nor are bare strings in a
    column that is named as turns are.
    """
    parts = list(value.values())
    if {"columns", "data"} <= set(value) <= {"columns", "data", "index"} and all(
        isinstance(part, list) for part in parts
    ):
        names, rows = value["columns"], value["data"]
        if all(isinstance(name, str) for name in names) and all(
            isinstance(row, list) and len(row) == len(names) for row in rows
        ):
            return [dict(zip(names, row, strict=True)) for row in rows]
    if parts and all(isinstance(part, dict) and part for part in parts):
        if all(name.isdigit() for name in value):
            return parts
        if len({tuple(part) for part in parts}) == 1 and all(name.isdigit() for name in parts[0]):
            parts = [list(part.values()) for part in parts]
    if not all(isinstance(part, list) and part for part in parts) or len(set(map(len, parts))) != 1:
        return None
    is_talk = any(
        isinstance(member, dict) or (isinstance(member, str) and name.strip().lower() in NAMES["messages"])
        for name, column in value.items()
        if isinstance(column, list)
        for member in column
    )
    return None if is_talk else [dict(zip(value, cells, strict=True)) for cells in zip(*parts, strict=True)]


def mapping_words(mapping: dict[str, str]) -> str:
    """Return 'prompt = question, completion = answer'."""
    return ", ".join(f"{key} = {column[:40]}" for key, column in mapping.items())


def recognise(rows: list[Row]) -> dict[str, str] | None:
    """Return the mapping that most of these rows, a source's head, show; None when most show none.

    What few rows have beside that (a label, a system prompt) is part of it: the others may lack it.
    """
    if labelled := labelled_in_numbers(rows):
        return labelled
    found = Counter(mapping_of(row) for row in rows if not isinstance(row, BadLine))
    if not found or found[None] * 2 > found.total():
        return None
    shown = [names for names in found if names is not None]
    best = max(shown, key=lambda names: (found[names], len(names)))
    fuller = (
        names for names in shown if set(best) <= set(names) and set(dict(names)) - set(dict(best)) <= set(OPTIONAL)
    )
    return dict(max(fuller, key=len))


def labelled_in_numbers(rows: list[Row]) -> dict[str, str] | None:
    """Return the mapping of rows whose labels (KTO's, or train) are written as 0 and 1; None for others.

    One row does not tell: all these have to be of one shape, and to say one of the two.
    """
    shapes = {mapping_of(row) for row in rows if not isinstance(row, BadLine)}
    mapping = dict(shapes.pop() or ()) if len(shapes) == 1 else {}
    for column in columns_of(rows) if mapping and not {"text", "label"} & set(mapping) else ():
        values = [row[column] for row in rows if not is_empty(row.get(column))]
        if column.strip().lower() in (*NAMES["label"], *FLAGS) and {_kind(value) for value in values} == {"bit"}:
            return None if all(map(is_labelled_false, values)) else mapping | {"label": column}
    return None


def is_labelled_false(value: object) -> bool:
    """Return True for a label, or a weight, that says that an answer is not to be trained."""
    return {**LABELS, **BITS}.get(value.strip().lower()) is False if isinstance(value, str) else value == 0


def mapping_of(row: Row) -> tuple[tuple[str, str], ...] | None:
    """Return ((key, column), ...) of one row, or None."""
    return _by_columns(tuple((str(name), _kind(value)) for name, value in row.items()))


def _kind(value: object) -> str:
    """Return what a value is to a mapping.

    "null", "flag", "bit" (0 or 1), "role", "words", "number", "list", "object", "dialogue" (text of Human and Assistant),
    "talk" (turns that name their roles), "answer" (of the assistant only), or "in:PATH" (an object with such turns inside).
    """
    if value is None or value == [] or (isinstance(value, float) and is_empty(value)):
        return "null"
    if isinstance(value, str):
        word = value.strip().lower() if len(value) < MAX_WORD_CHARACTERS else ""
        if word in LABELS or word in BITS:
            return "flag" if word in LABELS else "bit"
        if JSON_LIST.match(value):
            return "talk" if NAMES_ROLES.search(value) else "list"
        if word in ROLES:
            return "role"
        return "dialogue" if "Human:" in value and dialogue_turns(value) else "words"
    if isinstance(value, dict) and (inside := _inside(value)):
        return f"in:{inside}"
    turns = as_list(value)
    if not isinstance(turns, list):
        kinds = ((bool, "flag"), (dict, "object"), (bytes, "words"))
        named = next((kind for given, kind in kinds if isinstance(value, given)), None)
        return named or ("bit" if value in (0, 1) else "number")
    roles = {role_of(turn) for turn in turns} - {None}
    return "talk" if roles - {"assistant"} else "answer" if roles else "list"


def _inside(value: dict[str, Any], depth: int = 1) -> str:
    """Return the path to a list of turns in an object, "" when there is none."""
    for name in NAMES["messages"]:
        if isinstance(value.get(name), list) and any(map(role_of, value[name])):
            return name
    for name, part in value.items():
        if isinstance(part, dict) and depth < MAX_INSIDE and (path := _inside(part, depth + 1)):
            return f"{name}.{path}"
    return ""


@lru_cache(maxsize=1024)
def _by_columns(columns: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...] | None:
    """Return ((key, column), ...) of a row with these (column, kind), or None.

    Of several shapes the first counts that is not null throughout: a table of mixed rows has the columns of all.
    """
    shapes, kinds = list(_shapes(columns)), dict(columns)
    for needed, mapping in shapes:
        if any(kinds[column] != "null" for column in needed):
            return tuple(mapping.items())
    return tuple(shapes[0][1].items()) if shapes else None


def _shapes(columns: tuple[tuple[str, str], ...]) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Yield the shapes that columns show, the surest first: (the columns that it needs, its mapping)."""
    kinds = dict(columns)
    lower = {column.strip().lower(): column for column in reversed(kinds)}

    def named(names: Iterable[str]) -> str | None:
        there = [lower[name] for name in names if name in lower]
        return min(there, key=lambda column: kinds[column] == "null", default=None)

    def shape(optional: dict[str, str | None], **needed: str) -> tuple[list[str], dict[str, str]]:
        inside = {
            column: f"{column}.{kinds[column][3:]}" for column in needed.values() if kinds[column].startswith("in:")
        }
        paths = {key: inside.get(column, column) for key, column in needed.items()}
        return list(needed.values()), paths | {key: column for key, column in optional.items() if column}

    messages, prompt, completion, text = (named(NAMES[key]) for key in ("messages", "prompt", "completion", "text"))
    system: dict[str, str | None] = {"system": named(NAMES["system"])}
    says = [(name, "bit") for name in WEIGHTS] + [(name, "flag") for name in (*NAMES["label"], *FLAGS)]
    labels = [column for name, kind in says if (column := lower.get(name)) and kinds[column] == kind]
    label = {"label": next(iter(labels), None)}
    has_turns = messages is not None and kinds[messages].startswith(
        ("talk", "answer", "list", "null", "dialogue", "in:")
    )
    chosen = named(CHOSEN) if named(REJECTED) else None
    if chosen and kinds[chosen] in ("talk", "dialogue"):
        yield shape(system, messages=chosen)
    elif chosen and messages and has_turns:
        yield shape(system, messages=messages, completion=chosen)
    elif chosen and prompt:
        yield shape(system, prompt=prompt, completion=chosen)
    if messages and has_turns:
        yield shape(system | label, messages=messages)
    if prompt and completion:
        free = [lower[name] for name in NAMES["context"] if name in lower and lower[name] != prompt]
        history = named(NAMES["history"])
        before = history if history and kinds[history] in ("list", "talk", "answer", "null") else None
        beside = {"context": next(iter(free), None), "history": before}
        yield shape(beside | system | label, prompt=prompt, completion=completion)
    talks = [column for column, kind in columns if kind.startswith(("talk", "in:")) and not NEVER.search(column)]
    if len(talks) == 1:
        yield shape(system, messages=talks[0])
    if text and not any(kinds[lower[who]] == "role" for who in WHO if who in lower):  # else each row is a turn
        yield shape({}, text=text)
    if messages:
        yield shape(system, messages=messages)


def guess_mapping(rows: list[Row]) -> dict[str, str]:
    """Return what these rows show, else the one guess that names and contents allow; {} where there are several, or none."""
    known = recognise(rows)
    if known:
        return known
    rows = rows[:MAX_GUESS_ROWS]
    texts = _text_columns(rows)
    if any(column.strip().lower() in CHOICES for column in columns_of(rows)) or any(map(role_of, rows)):
        return {}  # the answer may be the number of a choice, the row a turn
    if len(texts) == 1:
        (column,) = texts
        is_side = _hinted("prompt", texts) or _hinted("completion", texts)
        is_prose = any(" " in value.strip() for row in rows if isinstance(value := row.get(column), str))
        return {"text": column} if is_prose and not is_side else {}
    completions = _hinted("completion", texts)
    prompts = [column for column in _hinted("prompt", texts) if column not in completions]
    if len(texts) == 2 and len(prompts) < 2 and len(completions) < 2:
        first, second = texts
        if not completions and all(any(hint in column.lower() for hint in HINTS["prompt"]) for column in texts):
            return {}  # a source, say, which is where an instruction is from
        is_turned = second in prompts or first in completions
        return {"prompt": second, "completion": first} if is_turned else {"prompt": first, "completion": second}
    return {"prompt": prompts[0], "completion": completions[0]} if len(prompts) == len(completions) == 1 else {}


def _text_columns(rows: list[Row]) -> list[str]:
    """Return the columns that mostly hold words, and may be a side of a conversation."""
    texts = []
    for column in columns_of(rows):
        values = [row.get(column) for row in rows]
        words = [value.strip() for value in values if isinstance(value, str) and value.strip()]
        is_number = all(word.replace(".", "").isdigit() for word in words)
        is_category = len(words) > MANY_ROWS and len(set(words)) <= FEW_VALUES
        is_side = _hinted("prompt", [column]) or _hinted("completion", [column])
        no_words = is_number or (is_category and not is_side) or all(map(ADDRESS.fullmatch, words))
        if len(words) * 2 > len(values) and not (no_words or is_id(column) or NEVER.search(column)):
            texts.append(column)
    return texts


def _hinted(key: str, columns: Iterable[str]) -> list[str]:
    """Return the columns with a name of `key`, else those with a name like it."""
    exact = [column for column in columns if column.strip().lower() in NAMES[key]]
    return exact or [column for column in columns if any(hint in column.lower() for hint in HINTS[key])]
