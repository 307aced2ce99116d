"""From a conversation to the tokens that the model sees, with the tokens of each message counted.

What a person types is text, never control: a special token such as `</s>` in a message becomes the tokens of its characters,
and a role tag that is plain text in the template (TinyLlama's `<|assistant|>`) is spelled out letter by letter, which is never
the sequence that the template writes. Everything else is tokenised exactly as the template's text is in training.
"""

import re
import threading
from collections import OrderedDict
from dataclasses import InitVar, dataclass, field
from typing import Any

from models.templates.choice import Template

OPEN, CLOSE = (
    "\ufdd0",
    "\ufdd1",
)  # Unicode's noncharacters: around each content, so that it is found in the rendered text
# of tokenised texts that are remembered, so that a long history costs nothing at each turn; about 10 bytes for each
MOST_CHARACTERS = 4_000_000

Section = int | tuple[tuple[str, bool], ...]  # a control token, or texts: (text, is spelled)
Cuts = list[tuple[int, float]]


@dataclass(frozen=True)
class Prompt:
    """`ids` are the prompt's tokens. `ends[i]` is the place behind the last token of message i; what follows opens an answer."""

    ids: list[int]
    ends: list[int]

    def sizes(self) -> list[int]:
        """The tokens of each message."""
        return [end - start for start, end in zip([0, *self.ends], self.ends, strict=False)]


@dataclass
class PromptFormat:
    """A tokenizer with a chat template, its own unless another is given. For any thread."""

    tokenizer: Any
    given: InitVar[Template | None] = None
    template: Template = field(init=False)
    tags: list[str] = field(init=False)
    stop_ids: set[int] = field(init=False)
    opening: int = field(init=False)  # tokens that open an answer
    preamble: int = field(init=False)  # tokens that the template puts before a conversation without a system prompt

    def __post_init__(self, given: Template | None) -> None:
        tokenizer = self.tokenizer
        self.template = given or Template("base", tokenizer.chat_template)
        self._sections: OrderedDict[tuple, list[int]] = OrderedDict()
        self._characters = 0
        self._lock = threading.Lock()  # of what is remembered, never held while the tokenizer works
        self._letters: dict[str, list[int]] = {}  # of spelled tags
        self._special: dict[str, int] = {
            token.content: place for place, token in tokenizer.added_tokens_decoder.items() if token.special
        }
        found = sorted(map(re.escape, self._special), key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(found)})") if found else re.compile("(?!)")
        self.tags, self.stop_ids = self._read_headers()
        self.opening = self.preamble = 0
        self._adds_prefix = bool(self._special) and self._plain("a") != self._behind_special("a")
        probe = [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
            {"role": "user", "content": "a"},
        ]
        alone, last = self.encode(probe[:1]), self.encode(probe)
        self.opening = len(alone.ids) - alone.ends[-1]
        self.preamble = max(0, alone.sizes()[0] - last.sizes()[2])

    def measure(self, messages: list[dict], continuing: bool = False) -> tuple[list[int], int]:
        """(the tokens of each message, what the template adds around any of them)."""
        sizes = self.encode(messages, continuing).sizes()
        if messages[0]["role"] == "system":
            return sizes, self.opening
        return [sizes[0] - self.preamble, *sizes[1:]], self.opening + self.preamble

    def encode(self, messages: list[dict], continuing: bool = False) -> Prompt:
        """The prompt of `messages`, opened for an answer; with `continuing`, it ends within the last message."""
        parts = self._parts(messages, continuing)
        if not parts:
            return self._encode_unseen(messages, continuing)
        ids: list[int] = []
        ends = [0] * len(messages)
        for section, message, cuts in self._sections_of(parts):
            start = len(ids)
            ids += self._ids(section, is_first=not ids)
            for number, share in cuts:
                ends[number] = start + round(share * (len(ids) - start))
            if message is not None:
                ends[message] = len(ids)
        for place in range(1, len(ends)):
            ends[place] = max(ends[place], ends[place - 1])
        return Prompt(ids, ends)

    def _encode_unseen(self, messages: list[dict], continuing: bool) -> Prompt:
        """The prompt of a template that looks into the words: special tokens in them are broken by a zero-width space.

        The tokens are shared out among the messages by their lengths.
        """
        broken = [{**m, "content": self._broken(_without_marks(m["content"]))} for m in messages]
        text = self._render(broken, continuing)
        ids: list[int] = []
        for piece in filter(
            None, self._split.split(text)
        ):  # `encode` of the whole would switch how other threads' texts are read
            ids += [self._special[piece]] if piece in self._special else self._ids(((piece, False),), is_first=not ids)
        shares = [len(message["content"]) + 20 for message in messages]
        room = len(ids) - (0 if continuing else self.opening)
        ends = [room * sum(shares[: place + 1]) // sum(shares) for place in range(len(shares))]
        return Prompt(ids, ends)

    def shown(self, ids: list[int]) -> list[tuple[str, bool]]:
        """The text of `ids` in pieces: (text, True for a special token)."""
        names = {place: name for name, place in self._special.items()}
        pieces, run = [], []
        for token in [*ids, None]:
            if token is not None and token not in names:
                run.append(token)
                continue
            if run:
                pieces.append((self.tokenizer.decode(run, skip_special_tokens=False), False))
                run = []
            if token is not None:
                pieces.append((names[token], True))
        return pieces

    def _parts(self, messages: list[dict], continuing: bool) -> list[tuple[str, int | None]]:
        """The rendered text in parts: (control, None) and (content, number of its message).

        [] for a template that looks into the words, so that they cannot be found in what it writes.
        """
        clean = [{**message, "content": _without_marks(message["content"])} for message in messages]
        text = self._render([{**message, "content": _marked(message["content"])} for message in clean])
        pieces = re.split(f"{OPEN}([^{OPEN}{CLOSE}]*){CLOSE}", text)
        is_whole = len(pieces) == 2 * len(messages) + 1 and "".join(pieces) == self._render(clean)
        if not is_whole:
            return []
        parts = [(piece, place // 2 if place % 2 else None) for place, piece in enumerate(pieces)]
        return parts[:-1] if continuing else parts

    def _sections_of(self, parts: list[tuple[str, int | None]]) -> list[tuple[Section, int | None, Cuts]]:
        """(token id, message, []) for control tokens; for the texts between them ((text, is spelled), ...), message, cuts.

        The control token right behind a content closes its message; what follows belongs to the next one. Where a template
        puts no control token between messages, a text holds several: `cuts` are (message, share of the text at its end) of
        all but the last of them.
        """
        sections: list[tuple[Section, int | None, Cuts]] = []
        run: list[tuple[str, bool]] = []
        message: int | None = None
        ends: list[tuple[int, int]] = []

        def closed() -> tuple[Section, int | None, Cuts]:
            characters = sum(len(text) for text, _ in run) or 1
            return tuple(run), message, [(number, end / characters) for number, end in ends[:-1]]

        for text, number in parts:
            if number is not None:
                message = number
                run += self._spelled(text)
                ends.append((number, sum(len(piece) for piece, _ in run)))
                continue
            for piece in filter(None, self._split.split(text)):
                if piece not in self._special:
                    run.append((piece, False))
                    continue
                sections += [closed(), (self._special[piece], message, [])]
                run, message, ends = [], None, []
        return [*sections, closed()]

    def _spelled(self, text: str) -> list[tuple[str, bool]]:
        """A content in pieces: (text, True where each letter is a token of its own)."""
        if not self.tags:
            return [(text, False)] if text else []
        pieces = re.split(f"({'|'.join(map(re.escape, self.tags))})", text)
        return [(piece, piece in self.tags) for piece in pieces if piece]

    def _ids(self, section: Section, is_first: bool) -> list[int]:
        """The tokens of one section; remembered."""
        if isinstance(section, int):
            return [section]
        key = (section, is_first)
        with self._lock:
            if key in self._sections:
                self._sections.move_to_end(key)
                return self._sections[key]
        ids: list[int] = []
        for text, spelled in _joined(section):
            for piece in text if spelled else [text]:
                ids += self._plain(piece) if is_first and not ids else self._later(piece, spelled)
        with self._lock:
            if key not in self._sections:
                self._sections[key] = ids
                self._characters += _length(section)
            while self._characters > MOST_CHARACTERS:
                (oldest, _), _ = self._sections.popitem(last=False)
                self._characters -= _length(oldest)
        return ids

    def _plain(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    def _later(self, text: str, is_letter: bool = False) -> list[int]:
        """Tokens of a text that does not stand at the beginning: SentencePiece puts a space before the first one only."""
        if is_letter and text in self._letters:  # a message may be nothing but tags
            return self._letters[text]
        before = self._plain("\n") if self._adds_prefix else []
        ids = self._plain("\n" + text)[len(before) :] if before else self._plain(text)
        if is_letter:
            self._letters[text] = ids
        return ids

    def _behind_special(self, text: str) -> list[int]:
        name = next(iter(self._special))
        return self.tokenizer.encode(name + text, add_special_tokens=False)[1:]

    def _render(self, messages: list[dict], continuing: bool = False) -> str:
        return self.template.render(self.tokenizer, messages, continuing)

    def _broken(self, text: str) -> str:
        return self._split.sub(lambda match: match[0][0] + "\u200b" + match[0][1:], text)

    def _read_headers(self) -> tuple[list[str], set[int]]:
        """What opens a message in this template: as text (role tags), and the special tokens in it, at which an answer ends."""
        talk = [{"role": role, "content": "x"} for role in ("user", "assistant", "user", "assistant")]
        pieces = [text for text, number in self._parts(talk, False) if number is None]
        headers = {piece.strip() for piece in pieces[1:3]} | {pieces[0].strip()}
        tags = {part.strip() for header in headers for part in self._split.split(header) if part not in self._special}
        words = {tag for tag in tags if tag and not tag.isalpha() and len(tag) < 40}
        system = {tag.replace("user", "system") for tag in words if "user" in tag}
        special = {
            self._special[part] for piece in pieces for part in self._split.split(piece) if part in self._special
        }
        return sorted(words | system), special


def _marked(content: str) -> str:
    """The content between marks; the white space around it stays outside, where a template may trim it."""
    stripped = content.strip()
    if not stripped:
        return f"{OPEN}{content}{CLOSE}"
    start = content.index(stripped)
    return f"{content[:start]}{OPEN}{stripped}{CLOSE}{content[start + len(stripped) :]}"


def _without_marks(text: str) -> str:
    return text.replace(OPEN, "\ufffd").replace(CLOSE, "\ufffd")


def _length(section: tuple) -> int:
    """The characters of a section, and some for what remembering it takes."""
    return 50 + sum(len(text) for text, _ in section)


def _joined(section: tuple) -> list[tuple[str, bool]]:
    """Neighbours of one kind as one text: words and their surroundings are tokenised together, as in training."""
    joined: list[tuple[str, bool]] = []
    for text, spelled in section:
        if joined and joined[-1][1] == spelled and not spelled:
            joined[-1] = (joined[-1][0] + text, False)
        else:
            joined.append((text, spelled))
    return joined
