"""Messages to token ids, for training, chat, samples and merging. Text that people type never becomes control tokens.

A chat template writes control tokens as text (`</s>`), and a tokenizer reads them back as control tokens, also where a
person typed them. So a template is rendered with marks in place of typed control tokens; then its own become marks, which a
copy of the tokenizer knows as tokens, and the typed ones become text again. In a chat, typed role tags that are plain text
in the template (TinyLlama's `<|assistant|>`) are spelled as well: each letter is a token of its own, which is never the
sequence that the template writes.

transformers' `apply_chat_template(sanitize_control_tokens=True)` cannot be used for it: it refuses to return assistant masks,
does not tell where a message ends, and takes role tags for words. The tests compare with it.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from common.errors import UserError
from common.imports import import_lock
from common.language import _
from models.messages import Message
from models.templates.choice import Template

# Noncharacters, which Unicode keeps for internal use. Around a content; before the number of a control token that was typed,
# or that the template wrote; around letters that are spelled.
OPEN, CLOSE, TYPED, OWN, SPLIT = MARKS = "\ufdd0\ufdd1\ufdd3\ufdd4\ufdd5"
NUMBERS = 0xE000  # where private use begins


@dataclass(frozen=True)
class Prompt:
    """Token ids. `ends[i]` is the index behind the last token of message i; what follows the last one opens an answer.

    `trained[i]` is True for a token that the template marks as the assistant's.
    """

    ids: list[int]
    ends: list[int]
    trained: list[bool]

    def sizes(self) -> list[int]:
        """Return the number of tokens of each message."""
        return [end - start for start, end in zip([0, *self.ends], self.ends, strict=False)]


def encode_messages(messages: Sequence[Message], tokenizer, template: str) -> tuple[list[int], list[bool]]:
    """Return (token ids, which of them `template` marks as the assistant's). Raises UserError where the template refuses.

    Answers that are not `trained` are read only; UserError where the template does not mark each answer by itself.
    Role tags are not spelled: the rows of a training are their owner's, and keep the tokenizer's own tokens.
    """
    with import_lock:
        from transformers.utils.chat_template_utils import render_jinja_template

    reader = _reader(tokenizer)
    try:
        found: Any = render_jinja_template(
            conversations=[list(map(dict, reader.hide(messages)))],
            chat_template=template,
            return_assistant_tokens_mask=True,
            **tokenizer.special_tokens_map,
        )
    except TemplateError as error:
        words = _("The chat template cannot format a conversation ({error}).", error=str(error)[:200].rstrip("."))
        raise UserError(words, _("Choose another chat_template, or change the row.")) from error
    (rendered,), (spans,) = found
    trained = [message.get("trained", True) for message in messages if message["role"] == "assistant"]
    if not all(trained):
        if len(spans) != len(trained):
            words = _("The chat template does not separate one answer from the next, and some are not to be trained.")
            raise UserError(words, _("Choose another chat_template, or remove the marks (weight, train, loss)."))
        spans = [span for span, is_trained in zip(spans, trained, strict=True) if is_trained]
    prompt = reader.read(rendered, spans=spans)
    return prompt.ids, prompt.trained


def encode_question(messages: Sequence[Message], tokenizer) -> list[int]:
    """Return the token ids of `messages` in the tokenizer's own template, opened for an answer."""
    reader = _reader(tokenizer)
    rendered = tokenizer.apply_chat_template(reader.hide(messages), tokenize=False, add_generation_prompt=True)
    return reader.read(rendered).ids


def own_system_prompt(tokenizer, template: str) -> str:
    """Return the system prompt that a template puts before a conversation that has none; "" where it puts nothing."""
    with import_lock:
        from transformers.utils.chat_template_utils import render_jinja_template

    def before(*messages: Message) -> str:
        """Return what the template writes before the words of the user."""
        turns = [*messages, Message(role="user", content=OPEN), Message(role="assistant", content="x")]
        found: Any = render_jinja_template(
            conversations=[list(map(dict, turns))], chat_template=template, **tokenizer.special_tokens_map
        )
        return found[0][0].partition(OPEN)[0]

    try:
        without = before()
        head, mark, tail = before(Message(role="system", content=CLOSE)).partition(CLOSE)
    except TemplateError:  # it takes no system prompt
        return ""
    if not (mark and without.startswith(head) and without.endswith(tail)):
        return ""
    return without[len(head) : len(without) - len(tail)].strip()


def encode_text(text: str, tokenizer) -> list[int]:
    """Return the token ids of plain text, with what the tokenizer puts before it."""
    return tokenizer(text, split_special_tokens=True, verbose=False)["input_ids"]  # long ones are cut later


class PromptFormat:
    """A tokenizer with a chat template, its own by default, for text that people type. Usable from any thread.

    `tags` are the role tags that are plain text, `stop_ids` the control tokens around messages, at which an answer ends.
    `opening` is the number of tokens that open an answer, `preamble` of those before a conversation without a system prompt.
    """

    def __init__(self, tokenizer, template: Template | None = None) -> None:
        self.tokenizer = tokenizer
        self.template = template or Template("base", tokenizer.chat_template)
        self._reader = _reader(tokenizer)
        self.tags: tuple[str, ...] = ()
        self.opening = self.preamble = 0
        turns: list[Message] = [{"role": role, "content": "x"} for role in ("user", "assistant")]
        # what the template writes before, between and behind contents
        pieces = re.split(f"{OPEN}[^{CLOSE}]*{CLOSE}", self._with_marks(turns * 2) or "")
        control = _pattern(self._reader.specials)
        self.stop_ids = {self._reader.ids[name] for piece in pieces for name in control.findall(piece)}
        headers = {part.strip() for piece in pieces[:3] for part in control.split(piece.strip())}
        tags = {tag for tag in headers if tag and not tag.isalpha() and len(tag) < 40}
        tags |= {tag.replace("user", "system") for tag in tags if "user" in tag}
        self.tags = tuple(sorted(tags))
        alone, last = self.encode(turns[:1]), self.encode([*turns, turns[0]])
        self.opening = len(alone.ids) - alone.ends[-1]
        self.preamble = max(0, alone.sizes()[0] - last.sizes()[2])

    def measure(self, messages: Sequence[Message], continuing: bool = False) -> tuple[list[int], int]:
        """Return (the tokens of each message, what the template adds around any of them)."""
        sizes = self.encode(messages, continuing).sizes()
        if messages[0]["role"] == "system":
            return sizes, self.opening
        return [sizes[0] - self.preamble, *sizes[1:]], self.opening + self.preamble

    def encode(self, messages: Sequence[Message], continuing: bool = False) -> Prompt:
        """Return the prompt of `messages`, opened for an answer; with `continuing`, it ends within the last message."""
        hidden = self._reader.hide(messages, self.tags)
        text = self._with_marks(hidden)
        if text is not None:
            return self._reader.read(text[: text.rindex(CLOSE) + 1] if continuing else text, self.tags)
        # the template looks into the words: the tokens are shared out among the messages by their lengths
        prompt = self._reader.read(self.template.render(self.tokenizer, hidden, continuing), self.tags)
        shares = [len(message["content"]) + 20 for message in messages]
        room = len(prompt.ids) - (0 if continuing else self.opening)
        ends = [room * sum(shares[: place + 1]) // sum(shares) for place in range(len(shares))]
        return Prompt(prompt.ids, ends, prompt.trained)

    def shown(self, ids: list[int]) -> list[tuple[str, bool]]:
        """Return the text of `ids` in pieces: (text, True for a control token)."""
        names = {place: name for name, place in self._reader.ids.items()}
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

    def _with_marks(self, messages: list[Message]) -> str | None:
        """Return the rendered text with marks around each content, None for a template that depends on the content.

        The white space around a content stays outside of the marks, where a template may trim it.
        """
        marked: list[Message] = []
        for message in messages:
            content = message["content"]
            inner = content.strip() or content
            before, _, behind = content.partition(inner) if inner else ("", "", "")
            marked.append(Message(role=message["role"], content=f"{before}{OPEN}{inner}{CLOSE}{behind}"))
        text = self.template.render(self.tokenizer, marked)
        is_whole = text.count(OPEN) == text.count(CLOSE) == len(messages)
        is_same = text.replace(OPEN, "").replace(CLOSE, "") == self.template.render(self.tokenizer, messages)
        return text if is_whole and is_same else None


@lru_cache(maxsize=4)
def control_tokens(tokenizer) -> tuple[str, ...]:
    """Return the texts that the tokenizer reads as control tokens, the longest first."""
    added = tokenizer.added_tokens_decoder.values()
    return tuple(sorted({token.content for token in added if token.special}, key=len, reverse=True))


@lru_cache(maxsize=4)
def _reader(tokenizer) -> "_Reader":
    """Return the reader of this tokenizer, made once."""
    return _Reader(tokenizer)


class _Reader:
    """A copy of a tokenizer that reads control tokens as text, and marks in their place as control tokens."""

    def __init__(self, tokenizer) -> None:
        from tokenizers import AddedToken, Tokenizer

        self.specials = control_tokens(tokenizer)
        self.ids = {token.content: place for place, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.no_truncation()
        self._backend.no_padding()
        self._backend.encode_special_tokens = True
        marks = [AddedToken(SPLIT, normalized=False, special=False)]
        for number, special in enumerate(self.specials):
            own = tokenizer.added_tokens_decoder[self.ids[special]]
            mark = f"{OWN}{chr(NUMBERS + number)}"
            marks.append(AddedToken(mark, lstrip=own.lstrip, rstrip=own.rstrip, normalized=False, special=False))
        self._backend.add_tokens(marks)
        places = map(self._backend.token_to_id, (mark.content for mark in marks))
        self._real = dict(zip(places, [None, *(self.ids[special] for special in self.specials)], strict=True))

    def hide(self, messages: Iterable[Message], tags: tuple[str, ...] = ()) -> list[Message]:
        """Return `messages` with marks in place of control tokens, and of `tags`, in the contents."""
        names = self.specials + tags

        def mark(found: re.Match) -> str:
            return "\ufffd" if found[0] in MARKS else f"{TYPED}{chr(NUMBERS + names.index(found[0]))}"

        pattern = _pattern((*MARKS, *names))
        return [Message(role=one["role"], content=pattern.sub(mark, one["content"])) for one in messages]

    def read(self, rendered: str, tags: tuple[str, ...] = (), spans: Sequence[tuple[int, int]] = ()) -> Prompt:
        """Return the tokens of a rendered text with marks; `spans` are the characters in it that are trained."""
        names, pieces, last, length = self.specials + tags, [], 0, 0
        moved_from, moved_by = [0], [0]  # from each of these places on, the text that is tokenised is so much longer
        opens, closes, owns = [], [], []  # places in that text; `owns` are behind the template's control tokens

        for found in _pattern(self.specials, f"{TYPED}[\ue000-\uf8ff]?|[{OPEN}{CLOSE}]").finditer(rendered):
            mark, text = found[0], ""
            if mark in self.specials:
                text = f"{OWN}{chr(NUMBERS + self.specials.index(mark))}"
            elif mark[1:] and (number := ord(mark[1]) - NUMBERS) < len(names):  # typed, and not cut by the template
                text = names[number] if number < len(self.specials) else SPLIT.join(["", *names[number], ""])
            pieces += [rendered[last : found.start()], text]
            length += found.start() - last + len(text)
            last = found.end()
            moved_from.append(last)
            moved_by.append(length - last)
            places = {OPEN: opens, CLOSE: closes}.get(mark, owns if mark in self.specials else None)
            if places is not None:
                places.append(length)

        encoding = self._backend.encode("".join([*pieces, rendered[last:]]), add_special_tokens=False)
        tokens = [
            (real, start, end)
            for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
            if (real := self._real.get(token, token)) is not None
        ]
        starts, stops = [start for _, start, _ in tokens], [end for _, _, end in tokens]
        trained = [False] * len(tokens)
        for span in spans:
            first, behind = (place + moved_by[bisect_right(moved_from, place) - 1] for place in span)
            for number in range(bisect_right(stops, first), bisect_left(starts, behind)):
                trained[number] = True
        ends = []
        for close, next_open in zip(closes, [*opens[1:], None], strict=False):
            own = next(iter(owns[bisect_right(owns, close) :]), None)
            # a control token between this content and the next one closes it
            is_its = own is not None and (next_open is None or own <= next_open)
            ends.append(bisect_left(starts, own if is_its else close))
        return Prompt([real for real, _, _ in tokens], ends, trained)


@lru_cache(maxsize=32)
def _pattern(texts: tuple[str, ...], more: str = "(?!)") -> re.Pattern:
    """Return a pattern that finds any of `texts`, the longest first, or `more`, which by default matches nothing."""
    return re.compile("|".join([*map(re.escape, sorted(texts, key=len, reverse=True)), more]))
