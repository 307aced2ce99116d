"""From conversations to what the trainer gets: token ids, which of them are trained, and which rows are left out.

The preview calls the same functions: what is shown is what is trained. Reading is in `reading`, shapes are in `shapes`.

    encoded = encode(conversation, tokenizer, template, max_length)  [{"input_ids": [...], "labels": [...]}]
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from common.errors import UserError
from models.prompt import encode_messages, encode_text
from trainer.data.conversations import Kept
from trainer.data.reading import EXAMPLE_HELD_OUT, read_rows
from trainer.data.shapes import to_conversation

IGNORED = -100  # the label that PyTorch's cross entropy leaves out

__all__ = ["EXAMPLE_HELD_OUT", "IGNORED", "Encoded", "encode", "encode_all", "preview", "read_rows"]
__all__ += ["to_conversation"]  # the whole way from rows to tokens in one import


@dataclass
class Encoded:
    """Rows ready for the trainer, and a report of what was left out. Row numbers count from 1, as people do."""

    rows: Sequence[dict] = ()  # {"input_ids", "labels"}: a list, or a `datasets.Dataset`
    trained_tokens: int = 0  # in `rows`
    too_long: Kept = field(default_factory=Kept)  # (row number, tokens)
    nothing_trained: Kept = field(default_factory=Kept)
    shortened: Kept = field(default_factory=Kept)  # cut or split to fit

    def report(self, max_length: int) -> str:
        """One sentence a kind of row that was left out or changed; "" when all are used as they are."""
        parts = []
        if self.too_long:
            shown = ", ".join(f"row {number} ({tokens} tokens)" for number, tokens in self.too_long.first[:5])
            parts.append(f"{self.too_long.count} rows are longer than {max_length} tokens and left out: {shown}.")
        if self.shortened:
            shown = ", ".join(f"row {number}" for number in self.shortened.first[:5])
            parts.append(f"{self.shortened.count} rows were longer than {max_length} tokens and shortened: {shown}.")
        if self.nothing_trained:
            shown = ", ".join(f"row {number}" for number in self.nothing_trained.first[:5])
            parts.append(f"{self.nothing_trained.count} rows hold no token to train and are left out: {shown}.")
        return " ".join(parts)

    def usable(self, number: int, pieces: list[dict], max_length: int) -> Iterator[dict]:
        """Of what `fit` made of row `number` that which is trained; the rest is noted."""
        if any(piece.get("shortened") for piece in pieces):
            self.shortened.add(number)
        for piece in pieces:
            row = {name: piece[name] for name in ("input_ids", "labels")}
            if len(row["input_ids"]) > max_length:
                self.too_long.add((number, len(row["input_ids"])))
            elif not is_trained(row):
                self.nothing_trained.add(number)
            else:
                self.trained_tokens += sum(label != IGNORED for label in row["labels"])
                yield row


def encode_each(
    encoded: Encoded, conversations: Iterable[dict], tokenizer, template: str, max_length: int, too_long: str = "drop"
) -> Iterator[dict]:
    """The rows of every conversation, one after the other; what is too long is dropped, cut or split, and noted in `encoded`,
    never silently.
    """
    for number, conversation in enumerate(conversations, 1):
        pieces = fit(conversation, tokenizer, template, max_length, too_long)
        yield from encoded.usable(conversation.get("row", number), pieces, max_length)


def encode_all(
    conversations: Iterable[dict], tokenizer, template: str, max_length: int, too_long: str = "drop"
) -> Encoded:
    """`encode_each` with its rows in a list."""
    encoded = Encoded()
    encoded.rows = list(encode_each(encoded, conversations, tokenizer, template, max_length, too_long))
    return encoded


def is_trained(row: dict) -> bool:
    """False when no token has a label: the first one's is never predicted."""
    return any(label != IGNORED for label in row["labels"][1:])


def encode(conversation: dict, tokenizer, template: str, max_length: int) -> list[dict]:
    """One conversation as [{"input_ids", "labels"}], labels -100 wherever a token is not trained.

    Of messages, what the template marks is trained: the assistant's words and the stop token. Of plain text everything is,
    with the stop token at its end; a text longer than `max_length` becomes several rows and loses nothing.
    """
    if "text" in conversation:
        ids = [*encode_text(conversation["text"], tokenizer), tokenizer.eos_token_id]
        return in_pieces(ids, max_length)
    ids, trained = encode_messages(conversation["messages"], tokenizer, template)
    labels = [token if is_said else IGNORED for token, is_said in zip(ids, trained, strict=True)]
    return [{"input_ids": ids, "labels": labels}]


def in_pieces(ids: list[int], max_length: int) -> list[dict]:
    """Token ids as rows of at most `max_length`, all of them trained."""
    pieces = [ids[start : start + max_length] for start in range(0, len(ids), max_length)]
    return [{"input_ids": piece, "labels": list(piece)} for piece in pieces]


def fit(conversation: dict, tokenizer, template: str, max_length: int, too_long: str) -> list[dict]:
    """`encode`, and of messages over `max_length` what `too_long` says: whole turns that end with an answer.

    cut keeps the turns from the first on that fit; split makes several rows, each with the system prompt. Those that were
    made carry "shortened". A single turn that is too long stays too long, for the caller to leave out and report.
    """
    rows = encode(conversation, tokenizer, template, max_length)
    if "text" in conversation or too_long == "drop" or len(rows[0]["input_ids"]) <= max_length:
        return rows
    messages = conversation["messages"]
    system = messages[:1] if messages[0]["role"] == "system" else []
    left, pieces = exchanges(messages[len(system) :]), []

    def encoded(count: int) -> dict:
        said = [message for exchange in left[:count] for message in exchange]
        return encode({"messages": [*system, *said]}, tokenizer, template, max_length)[0]

    while left:
        count, row = _most_that_fit(encoded, len(left), max_length)
        pieces.append({**row, "shortened": len(row["input_ids"]) <= max_length})
        left = left[count:] if too_long == "split" else []
    return pieces


def exchanges(messages: list[dict]) -> list[list[dict]]:
    """Messages in stretches that each end with an assistant's answer."""
    parts: list[list[dict]] = [[]]
    for message in messages:
        parts[-1].append(message)
        if message["role"] == "assistant":
            parts.append([])
    return [part for part in parts if part]


def _most_that_fit(encoded: Callable[[int], dict], total: int, max_length: int) -> tuple[int, dict]:
    """(how many exchanges fit, their row); (1, a row that is too long) when not even one does."""
    count, row = 1, encoded(1)
    if len(row["input_ids"]) > max_length:
        return count, row
    step = 1  # doubles while it fits, then halves: the work stays near that of one piece
    while step:
        longer = encoded(count + step) if count + step <= total else None
        if longer and len(longer["input_ids"]) <= max_length:
            count, row, step = count + step, longer, step * 2
        else:
            step //= 2
    return count, row


def preview(
    rows: list[dict], tokenizer, template: str, max_length: int, mapping: dict | None = None, too_long: str = "drop"
) -> list[dict]:
    """For each row its ids, tokens and which are trained, exactly as the trainer gets them.

    Returns [{"row": 1, "ids": [...], "tokens": [...], "trained": [...], "used": bool}]; a row may give several entries.
    """
    shown = []
    for number, row in enumerate(rows, 1):
        try:
            conversation = to_conversation(row, mapping)
        except UserError as error:
            raise UserError(f"Row {number}: {error.message}", error.hint) from error
        for piece in fit(conversation, tokenizer, template, max_length, too_long):
            shown.append({"row": number, **as_tokens(piece, tokenizer, max_length)})
    return shown


def as_tokens(piece: dict, tokenizer, max_length: int) -> dict:
    """One encoded row for the eye: ids, tokens, which are trained, and whether the trainer gets it."""
    ids = piece["input_ids"]
    return {
        "ids": ids,
        "tokens": tokenizer.convert_ids_to_tokens(ids),
        "trained": [label != IGNORED for label in piece["labels"]],
        "used": len(ids) <= max_length and is_trained(piece),
    }
