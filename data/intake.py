"""From settings to encoded rows, for the training process and for the check before it. Imports no torch.

prepared = prepare(settings, folder)              rows sorted into good, bad, double, held out; nothing raised for them
data = load_data(settings, folder, tokenizer)     the same rows as tokens; raises what would make a training meaningless
data = load_text(settings, folder, tokenizer)     stage 1: open text
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy

from common.errors import UserError
from common.language import Sentence, _, joined, n_
from common.made_by import MadeBy
from common.mix import data_sets
from data.columns import recognise
from data.conversations import MAX_KEPT, Conversation, Part, Tally
from data.dataset import Encoded, Encoder, TokenRow, in_pieces
from data.gathering import Gathered, gather, gather_all, place_in, together
from data.markup import describe_markup
from data.notices import Notice, describe, name_bad
from data.reading import EXAMPLE_HELD_OUT, read_source
from data.report import BadRow
from data.settings import EXAMPLE, DataSettings
from data.source import Source
from data.split import duplicates_of, found_in, held_out_of
from data.tables import Table
from data.token_rows import write_rows
from models.prompt import encode_text
from models.templates import training_template

MAX_SAMPLED = 200  # held-out conversations among which those for sample answers are chosen


@dataclass
class Data:
    """Encoded rows to train on, rows held out, and sentences on what was left out of them."""

    train: Encoded
    held_out: Encoded
    notes: list[str]
    held_out_conversations: list[Conversation] = field(default_factory=list)  # the first, for sample answers
    made: list[MadeBy] = field(default_factory=list)  # of the rows to train on, before any is left out for its length


@dataclass
class Prepared:
    """The rows that were read, and what a training does with each."""

    data: Gathered
    parts: list[Gathered]  # of `data`, one for each data set
    mapping: dict[str, str]  # the one of the settings; {} when columns are recognised
    duplicates: Tally  # row numbers
    train: Part
    held_out: Part
    leaked: int = 0  # rows to train on that are in the held-out file too
    bad: Tally = field(default_factory=Tally)  # a sentence each, of the held-out file too
    notes: list[str] = field(default_factory=list)
    kinds: set[str] = field(default_factory=set)  # of conversations, of the held-out file too
    markup: Tally = field(default_factory=Tally)  # ("row 7", "ChatML"), of the held-out file too
    noticed: Counter[Notice] = field(default_factory=Counter)  # by rows, of the held-out file too
    tables: list[Table] = field(default_factory=list)  # what was found in them, where files are tables

    def template(self, tokenizer) -> str:
        """Return the training template; "" when all rows are plain text, which takes none. Raises UserError."""
        return training_template(tokenizer) if "messages" in self.kinds else ""


def _held_out_source(settings: DataSettings, folder: Path) -> Source | None:
    """Return the rows that are held out of no part of the data; None where a part of it is. Raises UserError."""
    read = partial(read_source, max_rows=settings.max_rows, seed=settings.seed, table=settings.table())
    if settings.eval_split:
        one, *others = data_sets(settings.data)
        if others:
            words = _("eval_split names a part of one dataset, but there are several.")
            raise UserError(words, _("Use eval_data instead."))
        where = (settings.data_config, settings.eval_split, one.revision or settings.data_revision)
        source = read(place_in(one.place, folder), *where)
        if not source.splits:
            hint = _(
                "It names a part of a Hugging Face dataset, or of a JSON file with several; eval_data takes a file."
            )
            raise UserError(_("eval_split: '{name}' has no parts.", name=source.name), hint)
        return source
    if settings.eval_data:
        return read(place_in(settings.eval_data, folder), revision=settings.eval_data_revision)
    return read(str(EXAMPLE_HELD_OUT)) if settings.data == EXAMPLE else None


def prepare(settings: DataSettings, folder: Path) -> Prepared:
    """Read, sort and split. Raises UserError only where the data cannot be read at all."""
    mapping = settings.mapping()
    parts = gather_all(settings, folder)
    data = together(parts)
    conversations = data.conversations
    double = duplicates_of(conversations)
    count = int(double.sum())
    first = islice(conversations.part(double), min(count, MAX_KEPT))
    duplicates = Tally(count, [conversation["row"] for conversation in first])
    usable = ~double if settings.drop_duplicates else numpy.ones(len(double), dtype=bool)
    del double  # 10 MB of ten million rows
    source = _held_out_source(settings, folder)
    if not source:
        mask = held_out_of(conversations, usable, settings.eval_fraction, settings.seed)
        train, held_out = conversations.part(usable ^ mask), conversations.part(mask)
        found = Prepared(data, parts, mapping, duplicates, train, held_out)
        found.bad, found.notes, found.kinds, found.markup = data.bad, data.notes, data.kinds, data.markup
        return replace(found, tables=data.tables, noticed=data.noticed)
    mapping_there = None if recognise(source.head) else mapping
    other = gather(source, folder, mapping_there, settings.system_turns, settings.markup)
    leaked = found_in(conversations, other.conversations) & usable
    bad: list[BadRow] = [
        {**row, "where": _("{where} of the held-out data", where=row["where"])} for row in other.bad.first
    ]
    marked = [(_("held-out {row}", row=row), template) for row, template in other.markup.first]
    return Prepared(
        data,
        parts,
        mapping,
        duplicates,
        train=conversations.part(usable & ~leaked if settings.drop_duplicates else usable),
        held_out=other.conversations.part(),
        leaked=int(leaked.sum()),
        bad=Tally(data.bad.count + other.bad.count, data.bad.first + bad),
        notes=data.notes + other.notes,
        kinds=data.kinds | other.kinds,
        markup=Tally(data.markup.count + other.markup.count, data.markup.first + marked),
        tables=data.tables + other.tables,
        noticed=data.noticed + other.noticed,
    )


def load_data(settings: DataSettings, folder: Path, tokenizer) -> Data:
    """Read, check, split and tokenise. Raises UserError when nothing is left to train on."""
    prepared = prepare(settings, folder)
    notes = prepared.notes + check_bad(prepared.bad, len(prepared.data.conversations), settings)
    encoder = Encoder(tokenizer, prepared.template(tokenizer), settings.max_length, settings.too_long)
    keep = partial(write_rows, folder=folder)
    train, held_out = encoder.encode_all(prepared.train, keep), encoder.encode_all(prepared.held_out, keep)
    if settings.drop_duplicates and (prepared.duplicates or prepared.leaked):
        notes.append(
            n_(
                "{count:,} row says the same as another one and is left out.",
                "{count:,} rows say the same as another one and are left out.",
                prepared.duplicates.count + prepared.leaked,
            )
        )
    notes += [told[2] for told in describe(prepared.noticed)]
    notes += describe_markup(prepared.markup, settings.markup)
    notes += [told[2] for table in prepared.tables for told in table.described()]
    notes += train.report(settings.max_length) + held_out.report(settings.max_length)
    if not train.rows:
        raise UserError(_("No rows are left to train on."), joined(notes) if notes else _("Add more data."))
    return Data(train, held_out, notes, list(islice(prepared.held_out, MAX_SAMPLED)), prepared.train.made())


def check_bad(bad: Tally, usable: int, settings: DataSettings) -> list[Sentence]:
    """Return sentences on the first bad rows beside `usable` ones. Raises UserError when they may not be left out, or are all."""
    if bad and (not settings.skip_bad_rows or not usable):
        found = n_(
            "{bad:,} of {count:,} row cannot be used.",
            "{bad:,} of {count:,} rows cannot be used.",
            bad.count + usable,
            bad=bad.count,
        )
        more = _("And {count:,} more.", count=bad.count - 3) if bad.count > 3 else ""
        hint = _("Fix them, or set skip_bad_rows to leave them out.")
        raise UserError(joined([found, name_bad(bad.first[:3]), more]), hint)
    return [_("Left out: {row}", row=name_bad([row])) for row in bad.first[:5]]


def load_text(settings: DataSettings, folder: Path, tokenizer) -> Data:
    """Read the open text of stage 1, packed into rows of `max_length` tokens; texts end with the stop token.

    Held out is `eval_fraction` of the texts, by seed. Raises UserError when there is no text.
    """
    data = read_texts(settings, folder)
    texts = data.conversations
    notes = data.notes + [told[2] for told in describe(data.noticed)]
    notes += describe_markup(data.markup, text_markup(settings))
    notes += [told[2] for table in data.tables for told in table.described()]
    notes += check_bad(data.bad, len(texts), settings)
    mask = held_out_of(texts, numpy.ones(len(texts), dtype=bool), settings.eval_fraction, settings.seed)

    def packed(part: Part) -> Encoded:
        rows = write_rows(pack(part, tokenizer, settings.max_length), folder)
        tokens = (len(rows) - 1) * settings.max_length + len(rows[-1]["labels"]) if len(rows) else 0
        return Encoded(rows, len(rows), tokens, tokens)

    return Data(packed(texts.part(~mask)), packed(texts.part(mask)), notes, made=texts.part(~mask).made())


def read_texts(settings: DataSettings, folder: Path) -> Gathered:
    """Return the texts of stage 1. Raises UserError when the rows are no texts."""
    place = place_in(settings.text_data or "", folder)
    revision, table = settings.text_data_revision, settings.table()
    source = read_source(place, revision=revision, max_rows=settings.max_rows, seed=settings.seed, table=table)
    mapping = recognise(source.head)
    if mapping is None or "text" not in mapping:
        found = ", ".join(list(map(str, source.head[0]))[:10]) or _("none")
        raise UserError(
            _("text_data must be plain text, but it has these columns: {columns}.", columns=found),
            _("Use .txt, .md, or a table with a text column."),
        )
    return gather(source, folder, mapping, markup=text_markup(settings))


def text_markup(settings: DataSettings) -> str:
    """Return what becomes of chat markup in the text of stage 1, which has no turns."""
    return "strip" if settings.markup == "turns" else settings.markup


def pack(texts: Iterable[Conversation], tokenizer, max_length: int) -> Iterator[TokenRow]:
    """Yield texts one after the other, each with its stop token, cut into rows of `max_length` tokens.

    Nothing is lost but a last row of one token, which predicts nothing.
    """
    ids, is_first = [], True
    for row in texts:
        ids += [*encode_text(row["text"], tokenizer), tokenizer.eos_token_id]
        whole = len(ids) // max_length * max_length
        yield from in_pieces(ids[:whole], max_length)
        ids, is_first = ids[whole:], is_first and not whole
    if len(ids) > 1 or (ids and is_first):
        yield from in_pieces(ids, max_length)
