"""Chat markup in texts: conversations that somebody rendered with a chat template before they became rows.

    found = find_markup(conversation)      None, or what the conversation says as turns, and without its markup
    turns = dialogue_turns(text)           the turns of "Human: Hi\n\nAssistant: Hello."

`STYLES` is the table of known templates. A text is one of a family when it begins with the marker of a role and has a marker
of the user before one of the assistant, each where the template writes it; a text that mentions markers is none. All functions
are pure, and take time in proportion to the text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from common.language import Sentence, _, joined, n_
from data.conversations import Conversation, Tally
from models.messages import Message

MAX_CHARACTERS = 1_000_000  # of one conversation: several times what the longest row that is trained can hold
MAX_MARKERS = 10_000  # in one text
MAX_EDGE_TOKENS = 8  # around one content
MAX_PREAMBLE_CHARACTERS = 4_000

STARTS = ("<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "<｜begin▁of▁sentence｜>", "[gMASK]", "<sop>")
STOPS = ("</s>", "<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|end|>", "<|eot_id|>", "<|eot|>", "<|EOT|>")
STOPS += ("<|return|>", "<end_of_turn>", "<turn|>", "<eos>", "<|END_OF_TURN_TOKEN|>", "<｜end▁of▁sentence｜>")
EDGES = (*STOPS, *STARTS, "[/SYSTEM_PROMPT]", "### End")  # what may stand between a content and the next marker
ROLES = {  # by the words of the markers, in lower case; "context" goes on with the user's turn
    **dict.fromkeys(("system", "developer", "<<sys>>", "[system_prompt]"), "system"),
    **dict.fromkeys(("user", "human", "prompter", "instruction", "instruct", "prompt", "question", "[inst]"), "user"),
    **dict.fromkeys(("<</sys>>", "명령어", "질문", "사용자"), "user"),
    **dict.fromkeys(("assistant", "ai", "gpt", "bot", "chatbot", "model", "response", "output", "answer"), "assistant"),
    **dict.fromkeys(("completion", "final", "[/inst]", "응답", "답변", "도우미", "챗봇"), "assistant"),
    **dict.fromkeys(("input", "context", "입력", "맥락"), "context"),
}
BOILERPLATE = (  # what Alpaca and Vicuna write before a conversation that has no system prompt
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.",
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.",
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions.",
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions.",
)
ANYWHERE, AFTER_BLANK, GLUED, LINE = "anywhere", "after a blank", "glued to the words before it", "at a line's start"


@dataclass(frozen=True)
class MarkupStyle:
    """How one kind of template marks the turns.

    `marker` is a pattern whose group is the word for the role; it repeats nothing without a limit, so that it is fast on any
    text. A marked text has one of `signs`. Markers stand at the start of a line or behind a stop token, and `place` says where
    else. `has_tokens` is False for words that occur in prose; of those only the words in `ROLES` are markers.
    """

    name: str
    signs: tuple[str, ...]
    marker: str
    place: str = GLUED
    has_tokens: bool = True

    @cached_property
    def pattern(self) -> re.Pattern:
        """The compiled marker."""
        return re.compile(self.marker)

    def accepts(self, mark: re.Match) -> bool:
        """Return True when a marker stands where the template writes one."""
        start = mark.start()
        before = mark.string[max(0, start - 40) : start]
        if not self.has_tokens and mark[1].lower() not in ROLES:
            return False
        if not before.strip():
            return start == len(before) or before[-1:] in "\r\n" or self.place == ANYWHERE
        if before[-1] in "\r\n" or self.place == ANYWHERE or before.rstrip().endswith(EDGES):
            return True
        if self.place == AFTER_BLANK:
            return before[-1].isspace()
        is_quoted = re.search(r"(?:^|[\s(\[{])[`'\"(\[{]$|#$", before) is not None
        return self.place == GLUED and not before[-1].isspace() and not is_quoted


NAMED = r"(?i:(system|developer|user|human|prompter|assistant|gpt|bot|chatbot|model|tool|function|observation))"
SPOKEN = "(System|SYSTEM|Human|HUMAN|User|USER|Assistant|ASSISTANT|AI|Bot|BOT|사용자|도우미|챗봇):"
SPOKEN_SIGNS = ("ssistant:", "ASSISTANT:", "AI:", "Bot:", "BOT:", "도우미:", "챗봇:")
DIALOGUE = MarkupStyle("Human: / Assistant:", SPOKEN_SIGNS, SPOKEN, LINE, has_tokens=False)
STYLES = (
    MarkupStyle("ChatML", ("<|im_start|>",), r"<\|im_start\|>[ \t]{0,4}(\w{1,20})(?!\w)"),
    MarkupStyle("Zephyr", ("|>",), rf"<\|{NAMED}\|>"),
    MarkupStyle("Llama 2", ("[/INST]",), r"(\[/?INST\]|<</?SYS>>|\[SYSTEM_PROMPT\])", ANYWHERE),
    MarkupStyle(
        "Llama 3", ("<|start_header_id|>",), r"<\|start_header_id\|>[ \t]{0,4}(\w{1,20})[ \t]{0,4}<\|end_header_id\|>"
    ),
    MarkupStyle("Llama 4", ("<|header_start|>",), r"<\|header_start\|>(\w{1,20})<\|header_end\|>"),
    MarkupStyle("Gemma", ("<start_of_turn>", "<|turn>"), r"<(?:start_of_turn|\|turn)>[ \t]{0,4}(\w{1,20})(?!\w)"),
    MarkupStyle("DeepSeek", ("<｜Assistant｜>",), "<｜(User|Assistant)｜>"),
    MarkupStyle("Granite", ("<|start_of_role|>",), r"<\|start_of_role\|>(\w{1,20})<\|end_of_role\|>"),
    MarkupStyle(
        "Command R", ("<|START_OF_TURN_TOKEN|>",), r"<\|START_OF_TURN_TOKEN\|><\|(SYSTEM|USER|CHATBOT)_TOKEN\|>"
    ),
    # what it thinks stays a role of its own, which is no answer
    MarkupStyle("Harmony", ("<|message|>",), r"<\|start\|>(?:assistant<\|channel\|>)?(\w{1,20})<\|message\|>"),
    MarkupStyle("<human>: / <bot>:", ("<bot>:", "<assistant>:"), "<(system|human|user|bot|assistant)>:"),
    MarkupStyle("### ...:", ("###",), r"(?<!#)###[ \t]{0,4}([A-Za-z가-힣]{2,11}):", has_tokens=False),
    DIALOGUE,
    MarkupStyle("Instruct: / Output:", ("Output:",), "(Instruct|Output):", LINE, has_tokens=False),
    MarkupStyle("USER: / ASSISTANT:", ("ASSISTANT:",), "(SYSTEM|USER|HUMAN|ASSISTANT):", AFTER_BLANK, has_tokens=False),
)
BECAME = {
    "ask": _("As it is, the markup is trained as letters, and in plain text the user's words are trained, too."),
    "keep": _("The markup is trained as letters."),
    "turns": _("It was turned into turns, whose answers are trained."),
    "strip": _("The markup was removed."),
}
STOP_TOKENS = _("stop tokens")  # the name for texts without markers that end with one
# a text without any of these has no sign of a family and no token at its end
GATES = ("<", "[/INST]", "###", "Output:", *SPOKEN_SIGNS)


@dataclass(frozen=True)
class Markup:
    """The markup of a conversation: its family's name, the conversation in turns, and as it was without the markup."""

    family: str
    turns: Conversation
    stripped: Conversation


@dataclass(frozen=True)
class _Piece:
    """What stands between two markers: `role` is "" before the first one."""

    role: str
    text: str
    is_closed: bool = False  # by a stop token


def find_markup(conversation: Conversation) -> Markup | None:
    """Return the markup of a conversation, in its text or the contents of its messages; None when it has none."""
    is_text = "text" in conversation
    messages = [Message(role="", content=conversation["text"])] if is_text else conversation["messages"]
    if not any(gate in message["content"] for message in messages for gate in GATES):
        return None
    for family in STYLES:
        read = _read(family, messages)
        if read:
            break
    else:
        return _without_stops(messages, is_text)
    turns: list[Message] = []
    stripped: list[Message] = []
    for message, pieces in zip(messages, read, strict=True):
        turns += [{**message, "role": piece.role, "content": piece.text} for piece in pieces]
        stripped.append({**message, "content": "\n\n".join(piece.text for piece in pieces if piece.text)})
    return Markup(family.name, {"messages": turns}, _like(stripped, is_text))


def dialogue_turns(text: str) -> list[Message] | None:
    """Return the turns of a text in which "Human:" and "Assistant:" (or User, AI) begin lines; None for any other text."""
    read = _read(DIALOGUE, [Message(role="", content=text)])
    return [Message(role=piece.role, content=piece.text) for piece in read[0]] if read else None


def describe_markup(rows: Tally, markup: str) -> list[Sentence]:
    """Return a sentence on the rows that held chat markup, ("row 7", "ChatML") each, and what became of it; [] without any."""
    if not rows:
        return []
    names = joined(dict.fromkeys(template for _row, template in rows.first), ", ")
    found = n_(
        "{count:,} row contains chat markup ({names}): {rows}.",
        "{count:,} rows contain chat markup ({names}): {rows}.",
        rows.count,
        names=names,
        rows=joined((row for row, _template in rows.first[:5]), ", "),
    )
    return [joined([found, BECAME[markup]])]


def _like(messages: list[Message], is_text: bool) -> Conversation:
    return {"text": messages[0]["content"]} if is_text else {"messages": messages}


def _read(family: MarkupStyle, messages: Sequence[Message]) -> list[list[_Piece]] | None:
    """Return the turns within each message, the roles of those without markers being the message's; None without markup.

    A user's message may end with the assistant's marker, an assistant's may go on with further turns.
    """
    if not any(sign in message["content"] for message in messages for sign in family.signs):
        return None
    if sum(len(message["content"]) for message in messages) > MAX_CHARACTERS:
        return None
    read: list[list[_Piece]] = []
    roles: list[str] = []  # of the markers, in their order
    opened, is_closed = "", False
    for message in messages:
        role, found = message["role"], _split(family, message["content"])
        if found is None:
            return None
        lead, *marked = found
        if not marked:
            pieces = [_Piece(role, lead.text)]
            roles += [role] if family.has_tokens and is_closed else []
        elif not lead.text:
            pieces = marked
        elif opened and opened == role:
            pieces = [_Piece(role, lead.text), *marked]
        elif not read and _is_preamble(family, lead.text, messages):
            pieces = marked if lead.text in BOILERPLATE else [_Piece("system", lead.text), *marked]
        else:
            return None
        roles += [piece.role for piece in marked]
        is_closed |= any(piece.is_closed for piece in marked)
        last = pieces[-1]
        opened = "" if last.text or last.is_closed else last.role
        if role == "assistant":
            is_its = pieces[0].role == role
        else:
            is_its = role in ("", last.role) or (role == "user" and opened == "assistant")
        if not is_its:
            return None
        read.append(pieces[:-1] if opened else pieces)
    is_chat = "user" in roles and "assistant" in roles[roles.index("user") :]
    is_said = is_closed or any(piece.text for pieces in read for piece in pieces if piece.role == "user")
    return read if is_chat and is_said else None


def _split(family: MarkupStyle, text: str) -> list[_Piece] | None:
    """Return what stands before the first marker and behind each one; None when it cannot be a template's."""
    found = list(islice(family.pattern.finditer(text), MAX_MARKERS + 1))
    if len(found) > MAX_MARKERS:
        return None
    marks = [mark for mark in found if family.accepts(mark)]
    lead = text[: marks[0].start() if marks else len(text)]
    pieces = [_Piece("", _trimmed(lead, at_start=True)[0])]
    for number, mark in enumerate(marks):
        word = mark[1].lower()
        role = ROLES.get(word, word)
        end = marks[number + 1].start() if number + 1 < len(marks) else len(text)
        content, is_closed = _trimmed(text[mark.end() : end])
        if family.has_tokens and not is_closed and any(stop in content for stop in STOPS):
            return None  # words that belong to no turn
        if role == "context":
            role = "user"
            if pieces[-1].role == role:
                content = f"{pieces.pop().text}\n\n{content}".strip()
        if role == "system" and pieces[-1].role == "user" and not pieces[-1].text:
            pieces.pop()  # Llama 2 writes the system prompt into the user's turn
        pieces.append(_Piece(role, content, is_closed))
    return pieces


def _is_preamble(family: MarkupStyle, text: str, messages: Sequence[Message]) -> bool:
    """Return True when the words before the first marker are a system prompt, not prose in which markers are mentioned."""
    if len(text) > MAX_PREAMBLE_CHARACTERS:
        return False
    if text in BOILERPLATE or messages[0]["content"].lstrip().startswith(STARTS):
        return True
    if family.has_tokens:
        return False
    # one paragraph, which is no heading and announces no example
    is_prompt = family.place == GLUED and not re.search(r"\A#|\n\s*\n|:\Z", text)
    return is_prompt or messages[-1]["content"].rstrip().endswith(STOPS)


def _trimmed(text: str, at_start: bool = False) -> tuple[str, bool]:
    """Return a content without the tokens and the blanks around it, and whether a token closed it.

    What indents its first line stays, where that line is below the marker's: it may be code.
    """
    is_closed = False
    for _edge in range(MAX_EDGE_TOKENS):
        text = text.rstrip()
        token = next(filter(text.endswith, EDGES), "")
        text, is_closed = text.removesuffix(token), is_closed or bool(token)
    for _edge in range(MAX_EDGE_TOKENS if at_start else 0):
        token = next(filter(text.lstrip().startswith, (*STARTS, "<|endoftext|>")), None)
        text = text.lstrip().removeprefix(token) if token else text
    return re.sub(r"\A(?:(?:[ \t]{0,100}[\r\n])+|[ \t]+)", "", text), is_closed


def _without_stops(messages: Sequence[Message], is_text: bool) -> Markup | None:
    """Return the conversation without the stop tokens behind its contents; None when there are none.

    A token behind a space is a word of a sentence, and where there are more of them they are what it is about (or HTML).
    """
    found: list[Message] = []
    for message in messages:
        words = message["content"].rstrip()
        stop = next(filter(words.endswith, STOPS), "")
        content = _trimmed(words, at_start=True)[0] if stop else ""
        is_word = words.removesuffix(stop)[-1:].isspace() or any(token in content for token in EDGES)
        found.append({**message, "content": content} if content and not is_word else message)
    plain = _like(found, is_text)
    return Markup(STOP_TOKENS, plain, plain) if found != list(messages) else None
