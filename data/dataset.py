"""From conversations to what the trainer gets: token ids, which of them are trained, and what was left out.

encoder = Encoder(tokenizer, template, max_length=1024, too_long="cut")
encoded = encoder.encode_all(conversations)       training
shown = encoder.preview(7, row)                   what a person sees of row 7: the very same ids
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from common.errors import UserError
from common.language import Sentence, _, joined, n_
from data.conversations import Conversation, Row, Tally, row_words
from data.report import PreviewRow
from data.shapes import conversation_of
from models.messages import Message
from models.prompt import encode_messages, encode_text
from models.shown_tokens import shown_tokens

IGNORED = -100  # the label that PyTorch's cross entropy leaves out


class TokenRow(TypedDict):
    """A row for the trainer: ids and labels of equal length, labels `IGNORED` wherever a token is not trained."""

    input_ids: list[int]
    labels: list[int]


@dataclass
class Encoded:
    """Rows ready for the trainer, and what was left out. Row numbers count from 1, as people do."""

    rows: Sequence[TokenRow] = ()  # a list, or a `datasets.Dataset`
    count: int = 0
    tokens: int = 0  # in `rows`
    trained_tokens: int = 0
    conversations: int = 0  # that were looked at
    lengths: Counter[int] = field(default_factory=Counter)  # tokens of all rows as they are: {length: how many}
    too_long: Tally = field(default_factory=Tally)  # (row number, tokens)
    nothing_trained: Tally = field(default_factory=Tally)
    shortened: Tally = field(default_factory=Tally)  # cut or split to fit

    def report(self, max_length: int) -> list[Sentence]:
        """Return a sentence for each kind of row that was left out or changed; [] when there is none."""
        found = [tell_too_long(self.too_long.count, self.too_long.first, max_length)] if self.too_long else []
        found += [tell_shortened(self.shortened.count, max_length)] if self.shortened else []
        nothing = self.nothing_trained
        return found + ([tell_nothing_trained(nothing.count, nothing.first)] if nothing else [])


def tell_too_long(count: int, rows: Iterable, max_length: int) -> Sentence:
    """Say how many rows are left out for their length, and name the first of them."""
    return n_(
        "{count:,} row is longer than {most:,} tokens (max_length) and is left out: {rows}.",
        "{count:,} rows are longer than {most:,} tokens (max_length) and are left out: {rows}.",
        count,
        most=max_length,
        rows=name_rows(rows),
    )


def tell_shortened(count: int, max_length: int) -> Sentence:
    """Say how many rows are cut or split for their length."""
    return n_(
        "{count:,} row is longer than {most:,} tokens (max_length) and is shortened to whole turns.",
        "{count:,} rows are longer than {most:,} tokens (max_length) and are shortened to whole turns.",
        count,
        most=max_length,
    )


def tell_nothing_trained(count: int, rows: Iterable) -> Sentence:
    """Say how many rows are left out because they teach nothing, and name the first of them."""
    return n_(
        "{count:,} row has no token to train and is left out: {rows}.",
        "{count:,} rows have no token to train and are left out: {rows}.",
        count,
        rows=name_rows(rows),
    )


def name_rows(rows: Iterable) -> Sentence:
    """Name the first five rows: 'row 2, row 7 (300 tokens)' of [2, (7, 300)]."""
    return joined(
        (
            n_("row {row} ({count:,} token)", "row {row} ({count:,} tokens)", row[1], row=row_words(row[0]))
            if isinstance(row, Sequence)
            else _("row {row}", row=row_words(row))
            for row in list(rows)[:5]
        ),
        ", ",
    )


@dataclass(frozen=True)
class Encoder:
    """Turn conversations into token rows, in the same way for a training, its check and its preview.

    `too_long` says what happens to messages over `max_length` tokens: drop, cut (keep the turns from the first on that fit) or
    split (several rows, each with the system prompt). Text is always cut into several rows and loses nothing. `system_turns`
    and `markup` are for the rows of `preview`: conversations were made with them.
    """

    tokenizer: Any
    template: str  # "" where all is text
    max_length: int
    too_long: str = "drop"
    system_turns: str = "join"
    markup: str = "ask"

    def encode(self, conversation: Conversation) -> list[TokenRow]:
        """Return a conversation as token rows, before anything is left out or shortened.

        Of messages, what the template marks is trained: the assistant's words and the stop token. Of text everything is, with
        the stop token at its end.
        """
        if "text" in conversation:
            ids = [*encode_text(conversation["text"], self.tokenizer), self.tokenizer.eos_token_id]
            return in_pieces(ids, self.max_length)
        ids, trained = encode_messages(conversation["messages"], self.tokenizer, self.template)
        labels = [token if is_said else IGNORED for token, is_said in zip(ids, trained, strict=True)]
        return [{"input_ids": ids, "labels": labels}]

    def fit(self, conversation: Conversation, whole: list[TokenRow]) -> list[TokenRow]:
        """Return `whole`, what `encode` made of the conversation, cut or split at whole turns that end with an answer.

        A single turn that is too long stays too long, for the caller to leave out and report.
        """
        if "text" in conversation or self.too_long == "drop" or self.fits(whole[0]):
            return whole
        messages = conversation["messages"]
        system = messages[:1] if messages[0]["role"] == "system" else []
        left, pieces = _exchanges(messages[len(system) :]), []

        def first(count: int) -> TokenRow:
            said = [message for exchange in left[:count] for message in exchange]
            return self.encode({"messages": [*system, *said]})[0]

        while left:
            count, row = 1, first(1)
            step = int(self.fits(row))  # doubles while it fits, then halves: the work stays near that of one piece
            while step:
                longer = first(count + step) if count + step <= len(left) else None
                if longer and self.fits(longer):
                    count, row, step = count + step, longer, step * 2
                else:
                    step //= 2
            pieces.append(row)
            left = left[count:] if self.too_long == "split" else []
        return pieces

    def fits(self, row: TokenRow) -> bool:
        """Return True when a row has at most `max_length` tokens."""
        return len(row["input_ids"]) <= self.max_length

    def encode_all(
        self, conversations: Iterable[Conversation], keep: Callable[[Iterator[TokenRow]], Sequence[TokenRow]] = list
    ) -> Encoded:
        """Encode every conversation; what is too long is dropped, cut or split, and noted, never silently.

        `keep` takes the rows one after the other and returns what holds them: a list, or a file.
        """
        encoded = Encoded()
        encoded.rows = keep(self._usable(conversations, encoded))
        return encoded

    def _usable(self, conversations: Iterable[Conversation], encoded: Encoded) -> Iterator[TokenRow]:
        for number, conversation in enumerate(conversations, 1):
            number = conversation.get("row", number)
            whole = self.encode(conversation)
            pieces = self.fit(conversation, whole)
            encoded.conversations += 1
            encoded.lengths.update(len(row["input_ids"]) for row in whole)
            if not self.fits(whole[0]) and any(map(self.fits, pieces)):
                encoded.shortened.add(number)
            for row in pieces:
                if not self.fits(row):
                    encoded.too_long.add((number, len(row["input_ids"])))
                elif not is_trained(row):
                    encoded.nothing_trained.add(number)
                else:
                    encoded.count += 1
                    encoded.tokens += len(row["input_ids"])
                    encoded.trained_tokens += sum(label != IGNORED for label in row["labels"])
                    yield row

    def preview(self, number: int, row: Row, mapping: dict[str, str] | None = None) -> list[PreviewRow]:
        """Return what the trainer gets of a row, or why it does not get it. A row that is split has several entries."""
        conversation: Conversation = {}
        pieces: list[TokenRow] = [{"input_ids": [], "labels": []}]
        problem = ""
        try:
            conversation = conversation_of(row, mapping, self.system_turns, self.markup)[0]
            pieces = self.fit(conversation, self.encode(conversation))
        except UserError as error:
            problem = joined([error.message, error.hint])
        shown: list[PreviewRow] = []
        for piece in pieces:
            ids, why_not = piece["input_ids"], problem
            if not self.fits(piece):
                why_not = _(
                    "It has {count:,} tokens, more than the limit of {most:,} (max_length).",
                    count=len(ids),
                    most=self.max_length,
                )
            elif not problem and not is_trained(piece):
                why_not = _("No token of it is trained.")
            shown.append(
                {
                    "row": number,
                    "messages": conversation.get("messages"),
                    "text": conversation.get("text"),
                    "ids": ids,
                    "tokens": shown_tokens(ids, self.tokenizer),
                    "trained": [label != IGNORED for label in piece["labels"]],
                    "length": len(ids),
                    "used": not why_not,
                    "why_not": why_not,
                }
            )
        return shown


def is_trained(row: TokenRow) -> bool:
    """Return False when no token has a label: the first one's is never predicted."""
    return any(label != IGNORED for label in row["labels"][1:])


def in_pieces(ids: list[int], max_length: int) -> list[TokenRow]:
    """Return token ids as rows of at most `max_length`, all of them trained."""
    pieces = [ids[start : start + max_length] for start in range(0, len(ids), max_length)]
    return [{"input_ids": piece, "labels": list(piece)} for piece in pieces]


def _exchanges(messages: list[Message]) -> list[list[Message]]:
    """Return messages in stretches that each end with an assistant's answer."""
    parts: list[list[Message]] = [[]]
    for message in messages:
        parts[-1].append(message)
        if message["role"] == "assistant":
            parts.append([])
    return [part for part in parts if part]
