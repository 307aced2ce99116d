"""From a row to a conversation: {"messages": [...]} or, of plain text, {"text": ...}.

Preview, report and training all take `conversation_of`. What a row holds besides what is trained of it goes to `notices` (see
data/notices.py); which column is what says data/columns.py.
"""

import json
import re

from common.errors import UserError
from common.language import _
from data.columns import CHOICES, CHOSEN, KEYS, REJECTED, is_labelled_false, mapping_of
from data.conversations import BadLine, Conversation, Row
from data.feedback import SOURCES
from data.made import COLUMN, origin_of
from data.markup import find_markup
from data.notices import BESIDE, Notice
from data.turns import (
    WHAT,
    LeftOut,
    Turn,
    as_list,
    is_empty,
    messages_of,
    pair_of,
    read_turns,
    role_of,
    text_of,
    unused,
)

SHAPES = _("messages; prompt and completion; instruction, input and output; conversations; chosen and rejected; text")
MEDIA_COLUMNS = {  # what they hold, and the words for it in a turn
    **dict.fromkeys(("image", "images", "picture", "pictures", "pixel_values"), ("pictures", "<image>")),
    **dict.fromkeys(("audio", "audios"), ("media", "<audio>")),
    **dict.fromkeys(("video", "videos"), ("media", "<video>")),
}
TOOLS = ("tools", "functions")
SEVERAL = re.compile(r"answer|target|reference|gold", re.IGNORECASE)  # columns whose lists are answers to choose from
OPTION = re.compile(r"[a-j]|(option|choice|op)[_ -]?([a-j]|\d)")  # columns of a choice each
CHOICE = re.compile(r"\d{1,2}|[A-Ja-j]")


def conversation_of(
    row: Row,
    mapping: dict[str, str] | None,
    system_turns: str = "join",
    markup: str = "ask",
    notices: set[Notice] | None = None,
) -> tuple[Conversation, str]:
    """Return (a row's conversation, the name of the chat markup that the row holds or "").

    `markup` "turns" makes the conversation of its turns, "strip" takes the markup away; "ask" and "keep" leave it as letters.
    Raises LeftOut and UserError as `to_conversation` does.
    """
    conversation = to_conversation(row, mapping, notices, system_turns)
    found = find_markup(conversation)
    if found is None or markup not in ("turns", "strip"):
        return conversation, found.family if found else ""
    said = found.turns if markup == "turns" else found.stripped
    return to_conversation({**said}, None, notices, system_turns), found.family


def to_conversation(
    row: Row, mapping: dict[str, str] | None = None, notices: set[Notice] | None = None, system_turns: str = "join"
) -> Conversation:
    """Return the conversation in a row: by `mapping`, else by its columns' names.

    System turns that are not the first turn are joined to the front, unless `system_turns` is "keep". Raises LeftOut for a row
    that is not to be trained; UserError for unknown names, a column that is not there, and a value that does not fit.
    """
    if isinstance(row, BadLine):
        raise row.error
    notices = set() if notices is None else notices
    if not mapping:
        known = mapping_of(row)
        if known is None and role_of(row):
            hint = _('Write the whole conversation as one row: {"messages": [...]}.')
            raise UserError(_("It is only one turn."), hint)
        if known is None:
            found = ", ".join(str(key)[:60] for key in list(row)[:20]) or _("none")
            hint = _("Known shapes: {shapes}.", shapes=SHAPES)
            raise UserError(_("None of the known shapes fits its keys: {keys}.", keys=found), hint)
        mapping = dict(known)
    unknown = set(mapping) - set(KEYS)
    if unknown:
        words = _("'columns' maps '{key}'.", key=min(unknown))
        raise UserError(words, _("It can map {keys}.", keys=", ".join(KEYS)))
    label = mapping.get("label", "")
    if label and is_labelled_false(row.get(label)):
        raise LeftOut(_("'{column}' says not to train on it.", column=label[:60]), ("label", label))
    if "messages" in mapping or {"prompt", "completion"} <= set(mapping):
        turns = _turns(row, mapping, notices)
        for kind, tag in {held for name, held in MEDIA_COLUMNS.items() if _has(row, (name,))}:
            notices.add((kind, BESIDE))
            for turn in turns:
                is_there = isinstance(turn.content, str) and tag in turn.content
                turn.holds = turn.holds or (kind if is_there else "")
        messages = messages_of(turns, notices, system_turns)
        _notice_unused(row, mapping, {message["content"].strip() for message in messages}, notices)
        return {"messages": messages}
    if "text" in mapping:
        text = text_of(_cell(row, mapping["text"]), mapping["text"], notices)
        _notice_unused(row, mapping, {text.strip()}, notices)
        return {"text": text}
    raise UserError(_("'columns' maps too little."), _("Map messages, or prompt and completion, or text."))


def _turns(row: Row, mapping: dict[str, str], notices: set[Notice]) -> list[Turn]:
    """Return the turns that the columns of a row hold together."""
    turns = []
    if system := _optional(row, mapping, "system", notices):
        turns.append(Turn("system", system, mapping["system"]))
    if "history" in mapping:
        turns += _history(_cell(row, mapping["history"], None), mapping["history"], notices)
    if "messages" in mapping:
        turns += read_turns(_cell(row, mapping["messages"]), notices)
    if "prompt" in mapping:
        column, prompt = mapping["prompt"], _cell(row, mapping["prompt"])
        context = _optional(row, mapping, "context", notices)
        if context and isinstance(prompt, list | dict):
            notices.add(("unused", mapping["context"]))
        elif context:
            prompt = context if is_empty(prompt) else f"{text_of(prompt, column, notices)}\n\n{context}"
        turns += _side("user", prompt, column, notices)
    if "completion" in mapping:
        column, completion = mapping["completion"], _cell(row, mapping["completion"])
        if _is_choice(completion, row, mapping):
            hint = _("Put the words of the right choice into a column of their own.")
            raise UserError(_("'{column}' is the number of a choice, not an answer.", column=column[:60]), hint)
        if _has(row, TOOLS) and _is_call(completion):
            return [*turns, Turn("tool", "", column)]
        turns += _side("assistant", _first(completion, column, notices), column, notices)
    return turns


def _side(role: str, value: object, column: str, notices: set[Notice]) -> list[Turn]:
    """Return a prompt or a completion: text or (as TRL writes it) turns."""
    turns = as_list(value) if isinstance(value, list | dict) else None
    if isinstance(turns, list) and turns and all(map(role_of, turns)):
        return read_turns(turns, notices)
    return [Turn(role, value, column)]


def _first(value: object, column: str, notices: set[Notice]) -> object:
    """Return the first of several answers: ["Oslo", "oslo"], or (as SQuAD writes it) {"text": ["Oslo"], ...}."""
    if isinstance(value, dict) and "text" in value and not role_of(value):
        notices |= unused((f"{column}.{key}", part) for key, part in value.items() if key != "text")
        value, is_several = value["text"], True
    else:
        is_several = SEVERAL.search(column) is not None
    if not (is_several and isinstance(value, list) and not any(isinstance(one, list | dict) for one in value)):
        return value
    answers = [one for one in value if not is_empty(one)]
    if len(answers) > 1:
        notices.add(("first", column))
    return answers[0] if answers else None


def _is_choice(value: object, row: Row, mapping: dict[str, str]) -> bool:
    """Return True for the number or letter of a choice that stands in a column beside."""
    index = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not CHOICE.fullmatch(index):
        return False
    columns = {str(name).strip().lower(): name for name in row if name not in mapping.values()}
    choices = next((row[columns[name]] for name in CHOICES if name in columns), None)
    if isinstance(choices, dict):
        choices = choices.get("text")
    if isinstance(choices, list):
        return index not in map(str, choices)
    named = [name for name in columns if OPTION.fullmatch(name)]
    return len(named) > 1 and any(name.endswith(index.lower()) or index.isdigit() for name in named)


def _is_call(value: object) -> bool:
    """Return True for calls of tools: [{"name": ..., "arguments": ...}], also as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return False
    calls = value if isinstance(value, list) else [value]
    return bool(calls) and all(isinstance(call, dict) and {"name", "arguments"} <= set(call) for call in calls)


def _history(value: object, column: str, notices: set[Notice]) -> list[Turn]:
    """Return the turns before a prompt: [[question, answer], ...], or turns with roles."""
    if is_empty(value):
        return []
    turns = as_list(value)
    if not isinstance(turns, list):
        notices.add(("unused", column))
        return []
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in turns):
        if any(isinstance(turn, str | list) for turn in turns):
            words = _("'{column}' is not a list of turns.", column=column[:60])
            raise UserError(words, _("Write [[question, answer], ...]."))
        return read_turns(turns, notices)
    return [turn for pair in turns for turn in pair_of(pair, column)]


def _notice_unused(row: Row, mapping: dict[str, str], said: set[str], notices: set[Notice]) -> None:
    """Notice each column, or part of one, that holds something else than what was `said`."""
    others = dict(row)
    for path in mapping.values():
        column, _dot, inside = (path, "", "") if path in row else path.partition(".")
        others.pop(column, None)
        value, before = row.get(column), column
        while inside and isinstance(value, dict):
            name, _dot, inside = inside.partition(".")
            others |= {f"{before}.{key}": part for key, part in value.items() if key != name}
            value, before = value.get(name), f"{before}.{name}"
    if origin_of(row):
        others.pop(COLUMN, None)
    if row.get("source") in SOURCES:
        others.pop("source", None)  # how a row of one's own data sets came to be one
    # beside whole conversations, as ms-swift writes them, what was rejected stands alone
    is_pair = "messages" in mapping or any(path.split(".")[0].strip().lower() in CHOSEN for path in mapping.values())
    for name in list(others):
        plain = str(name).strip().lower()
        if is_pair and plain in REJECTED and not is_empty(others[name]):
            notices.add(("preference", ""))
            del others[name]
        elif plain in MEDIA_COLUMNS and (MEDIA_COLUMNS[plain][0], BESIDE) in notices:
            del others[name]
    notices |= unused((str(name)[:60], value) for name, value in others.items() if not _is_said(value, said))


def _is_said(value: object, said: set[str]) -> bool:
    """Return True for a text, or turns, whose words are among what was `said`."""
    if isinstance(value, list) and value and all(map(role_of, value)):
        return all(_is_said(next((turn[key] for key in WHAT if key in turn), None), said) for turn in value)
    return isinstance(value, str) and value.strip() in said


def _cell(row: Row, path: str, *default: object) -> object:
    """Return a column, or "what.is.inside" of one. Raises UserError when it is not there and has no `default`."""
    if path in row:
        return row[path]
    value: object = row
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            if default:
                return default[0]
            words = _("There is no column '{column}' in it.", column=path[:60])
            raise UserError(words, _("Map the columns that are there."))
        value = value[name]
    return value


def _optional(row: Row, mapping: dict[str, str], key: str, notices: set[Notice]) -> str:
    """Return the text of a column that a row may lack; "" when it does. Lists and objects are not used, but parts of a text."""
    value = _cell(row, mapping[key], None) if key in mapping else None
    parts = value.get("parts") if isinstance(value, dict) else value
    if isinstance(parts, list) and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in parts):
        value = "".join(part["text"] for part in parts)  # as Anthropic and Google write a system prompt
    if isinstance(value, list | dict) and not is_empty(value):
        notices.add(("unused", mapping[key]))
    return "" if is_empty(value) or isinstance(value, list | dict) else text_of(value, mapping[key], notices)


def _has(row: Row, names: tuple[str, ...]) -> bool:
    return any(str(name).strip().lower() in names and not is_empty(value) for name, value in row.items())
