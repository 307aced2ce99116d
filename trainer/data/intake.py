"""The one way from a config to encoded rows: the training process and the check before it both take it. No torch here.

prepared = prepare(config, folder)              rows sorted into good, bad, double, held out; nothing raised for them
data = load_data(config, folder, tokenizer)     the same rows as tokens; raises what would make a training meaningless
data = load_text(config, folder, tokenizer)     stage 1: open text
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy

from common.errors import UserError
from models.prompt import encode_text
from models.templates import training_template
from trainer.config import EXAMPLE, TrainConfig
from trainer.data.conversations import MOST_KEPT, Conversations, Kept, Part
from trainer.data.dataset import Encoded, encode_each, in_pieces
from trainer.data.reading import EXAMPLE_HELD_OUT, Source, read_source
from trainer.data.shapes import EmptyAnswer, bad_rows_error, recognise, to_conversation
from trainer.data.split import duplicates_of, found_in, held_out_of
from trainer.data.token_rows import write_rows

LOOKED_AT = 200  # held-out conversations among which those for sample answers are chosen


@dataclass
class Data:
    """Encoded rows to train on, rows held out, and what was left out of them."""

    train: Encoded
    held_out: Encoded
    notes: list[str]
    held_out_conversations: list[dict] = field(default_factory=list)  # the first, for sample answers


@dataclass
class Gathered:
    """A source, read to its end: conversations with their rows' numbers (from 1), and what could not be used."""

    head: list[dict]
    notes: list[str]
    conversations: Conversations
    rows: int = 0
    turns: int = 0
    kinds: set[str] = field(default_factory=set)
    bad: Kept = field(default_factory=Kept)  # a sentence each
    empty_answers: Kept = field(default_factory=Kept)  # row numbers, of bad ones too

    def add(self, row: dict, mapping: dict | None) -> None:
        self.rows += 1
        try:
            conversation = to_conversation(row, mapping)
        except UserError as error:
            self.bad.add(f"row {self.rows}: {error}")
            if isinstance(error, EmptyAnswer):
                self.empty_answers.add(self.rows)
            return
        self.conversations.append(self.rows, conversation)
        self.kinds.add("messages" if "messages" in conversation else "text")
        self.turns += len(conversation.get("messages", ()))


@dataclass
class Prepared:
    """What was read and what becomes of it."""

    data: Gathered
    mapping: dict[str, str]  # the one of the config; {} when columns are recognised
    duplicates: Kept  # row numbers
    train: Part
    held_out: Part
    leaked: int = 0  # rows to train on that are in the held-out file too
    bad_held_out: Kept = field(default_factory=Kept)
    notes: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)  # of conversations: "messages", "text"

    def bad(self) -> tuple[list[str], int]:
        """(sentences on the first bad rows, how many there are)."""
        sentences = [*self.data.bad.first, *(f"held-out {sentence}" for sentence in self.bad_held_out.first)]
        return sentences, self.data.bad.count + self.bad_held_out.count


def gather(source: Source, folder: Path, mapping: dict | None = None) -> Gathered:
    """Read a source to its end; what it says lies in a file without a name in `folder`."""
    found = Gathered(source.head, source.notes, Conversations(folder))
    for row in source.rows:
        found.add(row, mapping)
    return found


def prepare(config: TrainConfig, folder: Path) -> Prepared:
    """Read, sort and split. Raises UserError only where the data cannot be read at all."""
    source = read_source(
        place(config.data, folder), config.data_config, config.data_split, config.data_revision, config.max_rows
    )
    mapping = config.mapping()
    data = gather(source, folder, mapping)
    double = duplicates_of(data.conversations)
    count = int(double.sum())
    duplicates = Kept(count, list(islice(data.conversations.part(double).rows(), min(count, MOST_KEPT))))
    usable = ~double if config.drop_duplicates else numpy.ones(len(double), dtype=bool)
    del double  # 10 MB of ten million rows
    everything = data.conversations.part(usable)
    prepared = Prepared(
        data, mapping, duplicates, everything, everything, notes=list(data.notes), kinds=set(data.kinds)
    )
    _hold_out(config, folder, prepared, usable)
    return prepared


def _hold_out(config: TrainConfig, folder: Path, prepared: Prepared, usable: numpy.ndarray) -> None:
    """Fill in the rows to train on and those held out: from a file of their own, or by seed."""
    conversations = prepared.data.conversations
    file = EXAMPLE_HELD_OUT if config.data == EXAMPLE else None
    file = place(config.eval_data, folder) if config.eval_data else file
    if not file:
        mask = held_out_of(conversations, usable, config.eval_fraction, config.seed)
        prepared.train, prepared.held_out = conversations.part(usable ^ mask), conversations.part(mask)
        return
    revision = config.eval_data_revision if config.eval_data else None
    source = read_source(str(file), revision=revision, max_rows=config.max_rows)
    data = gather(source, folder, None if recognise(source.head) else prepared.mapping)
    leaked = found_in(conversations, data.conversations) & usable
    prepared.leaked = int(leaked.sum())
    prepared.train = conversations.part(usable & ~leaked if config.drop_duplicates else usable)
    prepared.held_out, prepared.bad_held_out = data.conversations.part(), data.bad
    prepared.notes += data.notes
    prepared.kinds |= data.kinds


def load_data(config: TrainConfig, folder: Path, tokenizer) -> Data:
    """Read, check, split and tokenise. Raises UserError when nothing is left to train on."""
    prepared = prepare(config, folder)
    bad, count = prepared.bad()
    usable = len(prepared.data.conversations)
    if count and (not config.skip_bad_rows or not usable):
        raise bad_rows_error(bad, count, count + usable)
    template = template_for(prepared, tokenizer)
    train, held_out = (
        _encoded(part, tokenizer, template, config, folder) for part in (prepared.train, prepared.held_out)
    )
    notes = prepared.notes + [f"Left out: {sentence}" for sentence in bad[:5]]
    if config.drop_duplicates and (prepared.duplicates or prepared.leaked):
        notes.append(f"{prepared.duplicates.count + prepared.leaked} rows say the same as another and are left out.")
    notes += [text for text in (train.report(config.max_length), held_out.report(config.max_length)) if text]
    if not train.rows:
        raise UserError("No row is left to train on.", " ".join(notes) or "Give more data.")
    return Data(train, held_out, notes, list(islice(prepared.held_out, LOOKED_AT)))


def _encoded(part: Part, tokenizer, template: str, config: TrainConfig, folder: Path) -> Encoded:
    """A part as tokens, on disk."""
    encoded = Encoded()
    rows = encode_each(encoded, part, tokenizer, template, config.max_length, config.too_long)
    encoded.rows = write_rows(rows, folder)
    return encoded


def template_for(prepared: Prepared, tokenizer) -> str:
    """The training template; "" when all rows are plain text, which takes none."""
    return training_template(tokenizer) if "messages" in prepared.kinds else ""


def load_text(config: TrainConfig, folder: Path, tokenizer) -> Data:
    """Stage 1: the open text of `text_data`, packed into rows of `max_length` tokens; texts end with the stop token.

    Held out is `eval_fraction` of the texts, by seed. Raises UserError when there is no text.
    """
    data = read_texts(config, folder)
    texts, bad = data.conversations, data.bad
    if bad and (not config.skip_bad_rows or not len(texts)):
        raise bad_rows_error(bad.first, bad.count, bad.count + len(texts))
    notes = data.notes + [f"Left out: {sentence}" for sentence in bad.first[:5]]
    mask = held_out_of(texts, numpy.ones(len(texts), dtype=bool), config.eval_fraction, config.seed)
    train, held_out = (_packed(texts.part(which), tokenizer, config.max_length, folder) for which in (~mask, mask))
    return Data(train, held_out, notes)


def read_texts(config: TrainConfig, folder: Path) -> Gathered:
    """The texts of stage 1. Raises UserError when the rows are no texts."""
    place_of_text, revision = place(config.text_data or "", folder), config.text_data_revision
    source = read_source(place_of_text, revision=revision, max_rows=config.max_rows)
    mapping = recognise(source.head)
    if mapping is None or "text" not in mapping:
        found = ", ".join(list(map(str, source.head[0]))[:10]) or "none"
        raise UserError(
            f"Stage 1 takes plain text; text_data has the columns {found}.",
            "Give .txt, .md, or a table with a text column.",
        )
    return gather(source, folder, mapping)


def _packed(texts: Iterable[dict], tokenizer, max_length: int, folder: Path) -> Encoded:
    encoded = Encoded()

    def counted() -> Iterator[dict]:
        for row in pack(texts, tokenizer, max_length):
            encoded.trained_tokens += len(row["labels"])
            yield row

    encoded.rows = write_rows(counted(), folder)
    return encoded


def pack(texts: Iterable[dict], tokenizer, max_length: int) -> Iterator[dict]:
    """Texts one after the other, each with its stop token, cut into rows of `max_length` tokens; nothing is lost but a last
    row of one token, which predicts nothing.
    """
    ids, is_first = [], True
    for row in texts:
        ids += [*encode_text(row["text"], tokenizer), tokenizer.eos_token_id]
        whole = len(ids) // max_length * max_length
        yield from in_pieces(ids[:whole], max_length)
        ids, is_first = ids[whole:], is_first and not whole
    if len(ids) > 1 or (ids and is_first):
        yield from in_pieces(ids, max_length)


def place(data: str, folder: Path) -> str:
    """A file that was copied into the run, or `data` itself."""
    copied = (folder / data).resolve()
    is_copy = data.startswith("data/") and copied.is_relative_to((folder / "data").resolve())
    return str(copied) if is_copy and copied.is_file() else data
