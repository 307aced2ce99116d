"""From a list of turns, in any of the shapes that are in use, to the messages that are trained.

Two steps: `read_turns` understands each turn, `messages_of` decides what becomes of them together. What is not trained is
added to `notices` (see data/notices.py).
"""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from common.errors import UserError
from common.language import _, joined
from data.markup import dialogue_turns
from data.notices import LEFT_OUT, MEDIA, Notice
from models.messages import Message

ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "client", "customer", "사용자", "유저", "고객"), "user"),
    **dict.fromkeys(
        ("assistant", "gpt", "bot", "model", "chatgpt", "chatbot", "ai", "bing", "bard", "agent", "도우미"), "assistant"
    ),
    **dict.fromkeys(("어시스턴트", "챗봇", "상담사"), "assistant"),
    **dict.fromkeys(("system", "developer", "시스템"), "system"),
    **dict.fromkeys(("tool", "function", "function_call", "tool_call", "function_response", "tool_response"), "tool"),
    **dict.fromkeys(
        ("observation", "ipython", "tool_result", "function-call", "function-response", "tool_calls"), "tool"
    ),
}
WHO = ("role", "from", "speaker", "sender", "author")  # the key of a turn that says whose it is
WHAT = ("content", "value", "text", "message", "utterance", "parts")  # the key that holds what was said
ASKED = ("input", "instruction", "question", "prompt", "query")  # keys of a turn that holds both sides
ANSWERED = ("output", "response", "answer", "completion")
SIDES = {**dict.fromkeys(ASKED, "user"), **dict.fromkeys(ANSWERED, "assistant"), **ROLES}
ORDER = ("system", "user", "assistant", "tool")
FLAGS = ("train", "trained", "training", "trainable", "train_on_turn", "loss", "output_with_loss")
WEIGHTS = ("weight", "loss_weight", "loss_scale", "sample_weight")
CALLS = ("tool_calls", "function_call")  # keys of a turn
CALL = re.compile(r"^[ \t]*<(tool_call|functioncall|function_call)>(?=\s*[\[{<])", re.MULTILINE)  # in an answer
RESULT = "<tool_response>"  # begins what a user "says" then
IDS = ("id", "idx", "index", "uuid", "guid", "key", "hash", "__index_level_0__")
PARTS = {  # kinds of parts of a content that are not text
    **dict.fromkeys(("image", "image_url", "input_image", "image_file", "picture"), "pictures"),
    **dict.fromkeys(("tool_use", "tool_result", "tool_call", "tool_calls"), "tools"),
    **dict.fromkeys(
        ("audio", "input_audio", "audio_url", "video", "video_url", "file", "input_file", "document"), "media"
    ),
}
Place = int | str  # the number of a turn, from 1, or the name of a column


class EmptyAnswer(UserError):
    """The error for a row whose answer holds no words."""


class LeftOut(UserError):
    """The error for a row that is left out for what it is, without being wrong; `notice` tells it."""

    def __init__(self, message: str, notice: Notice) -> None:
        super().__init__(message)
        self.notice = notice


@dataclass
class Turn:
    """A turn as it was read: `content` is anything until `messages_of` takes it as text. `holds` names media in it."""

    role: str  # of ROLES
    content: object
    where: Place
    is_trained: bool = True
    holds: str = ""  # of PARTS


def is_empty(value: object) -> bool:
    """Return True for what says nothing: null, NaN, white space, and lists and objects of nulls and empty text."""
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, dict | list):
        members = value.values() if isinstance(value, dict) else value
        return all(one is None or (isinstance(one, str) and not one) for one in members)
    return value is None or (isinstance(value, float) and math.isnan(value))


def is_id(name: str) -> bool:
    """Return True for the name of a column that only tells rows apart."""
    name = name.rpartition(".")[2].strip().lower()
    return name in IDS or name.endswith(("_id", "-id", " id")) or name.startswith("unnamed:")


def role_of(turn: object) -> str | None:
    """Return the role of a turn that names one and has a place for words; None for anything else."""
    if not isinstance(turn, dict):
        return None
    who = next((turn[key] for key in WHO if turn.get(key) is not None), None)
    has_words = any(key in turn for key in (*WHAT, *CALLS))
    return ROLES.get(who.strip().lower()) if isinstance(who, str) and has_words else None


def as_list(value: object) -> object:
    """Return turns that are written otherwise as a list: {"role": [...], "content": [...]}, one turn, JSON, a dialogue."""
    if isinstance(value, dict) and role_of(value):
        return [value]
    if isinstance(value, dict) and any(isinstance(value.get(key), list) for key in WHO):
        columns = {key: column for key, column in value.items() if isinstance(column, list)}
        if len({len(column) for column in columns.values()}) == 1:
            return [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError) as error:
            hint = _("Write it with json.dumps (in a table: before to_csv), not as Python or numpy prints a list.")
            raise UserError(_("The list of turns is not JSON."), hint if "'" in value[:100] else "") from error
    return (dialogue_turns(value) or value) if isinstance(value, str) else value


def read_turns(value: object, notices: set[Notice]) -> list[Turn]:
    """Return a list of turns, each understood. Raises UserError for one that cannot be."""
    value = as_list(value)
    if not isinstance(value, list) or not value:
        hint = _('Write [{"role": "user", "content": ...}, ...].')
        raise UserError(_("The list of turns is empty or not a list."), hint)
    return [turn for number, given in enumerate(value, 1) for turn in _turns(given, number, notices)]


def _turns(turn: object, number: int, notices: set[Notice]) -> list[Turn]:
    """Return a turn: {"role", "content"} and its like, {"user": ..., "assistant": ...}, [question, answer], or bare text."""
    if isinstance(turn, list) and len(turn) == 2:
        return pair_of(turn, number)
    if isinstance(turn, str):
        return [Turn("user" if number % 2 else "assistant", turn, number)]
    # turns of several shapes in one Arrow file have the keys of all, null where they are not theirs
    said = {str(key): value for key, value in turn.items() if value is not None} if isinstance(turn, dict) else {}
    who = next((key for key in WHO if key in said), None)
    what = min((key for key in WHAT if key in said), key=lambda key: is_empty(said[key]), default=None)
    calls = [key for key in CALLS if not is_empty(said.get(key))]
    if isinstance(turn, dict) and who and (what or calls or any(key in turn for key in WHAT)):
        role = ROLES.get(said[who].strip().lower()) if isinstance(said[who], str) else None
        if role is None:
            name = said[who][:60] if isinstance(said[who], str) else type(said[who]).__name__
            words = _("{where} has the unknown role '{role}'.", where=_place(number), role=name)
            raise UserError(words, _("Use system, user or assistant."))
        found = [_turn(role, said[what] if what else None, number, notices)]
        if calls:
            notices.add(("tools", ""))
            found = [] if is_empty(found[0].content) else found
        used = {who, what, *calls}
    else:
        sides = {key: SIDES[key.lower()] for key in said if key.lower() in SIDES}
        if not sides:
            raise UserError(_("{where} has no 'role' or 'content'.", where=_place(number)))
        used = set(sides)
        found = [
            _turn(sides[key], said[key], number, notices)
            for key in sorted(sides, key=lambda key: ORDER.index(sides[key]))
            if key.lower() not in ASKED or not is_empty(said[key])
        ]
    used |= _heed_flags(said, found, notices)
    notices |= unused((key, value) for key, value in said.items() if key not in used)
    return found


def pair_of(pair: list, where: Place) -> list[Turn]:
    """Return the turns of [question, answer], or the one of ["user", question], as LangChain writes it."""
    role = ROLES.get(pair[0].strip().lower()) if isinstance(pair[0], str) else None
    if role:
        return [Turn(role, pair[1], where)]
    return [Turn(role, said, where) for role, said in zip(("user", "assistant"), pair, strict=True)]


def _turn(role: str, content: object, where: Place, notices: set[Notice]) -> Turn:
    """Return a turn with the text of its parts: [{"type": "text", "text": ...}, ...] and the like."""
    turn = Turn(role, content, where)
    parts = content.get("parts", [content]) if isinstance(content, dict) else content
    if not isinstance(parts, list) or not parts:
        return turn
    texts: list[str] = []
    for part in parts:
        kind = _kind_of_part(part)
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, dict) else None
        if kind == "tools":
            notices.add((kind, ""))
        elif kind in MEDIA:
            turn.holds = kind
        elif isinstance(part, dict) and isinstance(part.get("type"), str) and part["type"] in ("thinking", "reasoning"):
            notices.add(("unused", part["type"]))
        elif text is None or isinstance(text, dict | list):
            words = _("{where} contains something that is not text.", where=_place(where))
            raise UserError(words, _("Write it as text."))
        else:
            texts.append(text if isinstance(text, str) else text_of(text, where, notices))
    turn.content = "".join(texts)
    if not texts and not turn.holds:
        turn.role = "tool" if any(_kind_of_part(part) == "tools" for part in parts) else role
    return turn


def _kind_of_part(part: object) -> str:
    """Return what a part of a content is, of MEDIA; "" for text and what is unknown."""
    if not isinstance(part, dict):
        return ""
    if isinstance(part.get("type"), str):
        return PARTS.get(part["type"], "")
    return next((kind for key, kind in PARTS.items() if not is_empty(part.get(key))), "")


def _heed_flags(said: dict[str, Any], turns: list[Turn], notices: set[Notice]) -> set[str]:
    """Mark the answers among `turns`, all made of one, that are not to be trained; return the keys that are heeded."""
    answers = [turn for turn in turns if turn.role == "assistant"]
    heeded = set()
    for key in (key for key in (*WEIGHTS, *FLAGS) if key in said):
        value = "" if isinstance(said[key], list | dict) else str(said[key]).strip().lower()
        is_off = value in ("false", "0", "0.0")
        for turn in answers if is_off else ():
            turn.is_trained = False
            notices.add(("untrained", ""))
        # a weight of a half, or a question to be trained, is not done
        if is_off or (value in ("true", "1", "1.0") and (answers or key in WEIGHTS)):
            heeded.add(key)
    return heeded


def messages_of(turns: list[Turn], notices: set[Notice], system_turns: str = "join") -> list[Message]:
    """Return turns as messages that end with an answer; `system_turns` joins later system turns to the front, or keeps them.

    Calls of tools and what they return are left out, and everything from the first picture on. Raises LeftOut where that is
    all there is, UserError for what is no conversation.
    """
    said = [turn for turn in turns if turn.role != "system" or not is_empty(turn.content)]
    _cut_calls(said, notices)
    left_out: list[Notice] = []
    if any(turn.role == "tool" for turn in said) or ("tools", "") in notices:
        left_out.append(("tools", ""))
        said = [turn for turn in said if turn.role != "tool"]
    for place, turn in enumerate(said):
        if turn.holds:
            left_out.append((turn.holds, ""))
            said = said[:place]
            break
    if system_turns == "join":
        said = _system_first(said, notices)
    while said and said[-1].role != "assistant":
        said.pop()
        notices.add(("unanswered", ""))
    if not said and left_out:
        kind = left_out[-1][0]
        raise LeftOut(joined([MEDIA[kind], _("There is no other answer in the row.")]), (kind, LEFT_OUT))
    if not said:
        raise UserError(_("There is no answer in it."), _("End it with a turn of the assistant."))
    notices.update(left_out)
    messages: list[Message] = []
    for turn in said:
        content = text_of(turn.content, turn.where, notices, EmptyAnswer if turn.role == "assistant" else UserError)
        message = Message(role=turn.role, content=content)
        messages.append(message if turn.is_trained else {**message, "trained": False})
    return messages


def _cut_calls(turns: list[Turn], notices: set[Notice]) -> None:
    """Cut the calls of tools off the answers that are text; a turn that is nothing else, or a result, becomes a tool's."""
    for turn in turns:
        if not isinstance(turn.content, str):
            continue
        if turn.role == "assistant" and (call := CALL.search(turn.content)):
            notices.add(("tools", ""))
            turn.content = turn.content[: call.start()].rstrip()
            turn.role = "assistant" if turn.content else "tool"
        elif turn.role == "user" and turn.content.lstrip().startswith(RESULT):
            turn.role = "tool"


def _system_first(turns: list[Turn], notices: set[Notice]) -> list[Turn]:
    """Return turns with all system turns as one, the first; each text once."""
    system = [turn for turn in turns if turn.role == "system"]
    if not system or (len(system) == 1 and turns[0] is system[0]):
        return turns
    texts = dict.fromkeys(text_of(turn.content, turn.where, notices) for turn in system)
    others = [turn for turn in turns if turn.role != "system"]
    if len(texts) > 1 or turns[0] is not system[0]:
        notices.add(("system_turns", ""))
    return [Turn("system", "\n\n".join(texts), system[0].where), *others]


def text_of(value: object, where: Place, notices: set[Notice], empty: type[UserError] = UserError) -> str:
    """Return a value as text: as it is, or a number, a truth value or bytes made text. Raises UserError, `empty` for nothing."""
    if is_empty(value):
        raise empty(_("{where} is empty.", where=_place(where)))
    if isinstance(value, list):
        words = _("{where} is a list, not text.", where=_place(where))
        raise UserError(words, _("Bare strings are turns only in `messages`."))
    if isinstance(value, dict):
        words = _("{where} is an object, not text.", where=_place(where))
        raise UserError(words, _("Give the text itself, or map what is inside it: COLUMN.NAME."))
    if not isinstance(value, str):
        notices.add(("to_text", "turn" if isinstance(where, int) else where[:60]))
        try:
            value = (
                value.decode()
                if isinstance(value, bytes)
                else str(value).lower()
                if isinstance(value, bool)
                else str(value)
            )
        except ValueError as error:  # no UTF-8, or a number of thousands of digits
            raise UserError(_("{where} is not text.", where=_place(where)), _("Write it as text.")) from error
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(_("{where} contains half a character (a lone surrogate).", where=_place(where))) from error
    return value


def _place(where: Place) -> str:
    """Return the place as a sentence begins with it."""
    return _("Turn {number}", number=where) if isinstance(where, int) else f"'{where[:60]}'"


def unused(names: Iterable[tuple[str, object]]) -> set[Notice]:
    """Return a notice for each (name, value) that holds something and is no id."""
    return {("unused", name) for name, value in names if not is_empty(value) and not is_id(name)}
