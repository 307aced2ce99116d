"""From sources to conversations: every row of a run read once, with what is to be told of it. Raises nothing for a row.

parts = gather_all(settings, folder)      each data set of a run, sorted into conversations and what cannot be used
data = together(parts)                    the same as one
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from operator import add, or_
from pathlib import Path

from common.errors import UserError
from common.language import _, joined
from common.mix import data_sets
from data.columns import labelled_in_numbers, recognise
from data.conversations import BadLine, Conversations, Row, RowNumber, Tally, beginning, row_words
from data.made import origin_of
from data.notices import Notice, count
from data.reading import read_mix, read_source
from data.report import BadRow
from data.settings import DataSettings
from data.shapes import conversation_of
from data.source import Source
from data.tables import Table
from data.turns import EmptyAnswer, LeftOut


@dataclass
class Gathered:
    """A source, read to its end: conversations with their rows' numbers (from 1), and what could not be used."""

    head: list[Row]
    notes: list[str]
    conversations: Conversations
    rows: int = 0
    turns: int = 0
    without_system: int = 0  # conversations that have no system prompt
    kinds: set[str] = field(default_factory=set)  # of conversations: "messages", "text"
    bad: Tally = field(default_factory=Tally)  # a `BadRow` each
    empty_answers: Tally = field(default_factory=Tally)  # row numbers, of bad ones too
    noticed: Counter[Notice] = field(default_factory=Counter)  # what rows hold that is not trained, by rows
    markup: Tally = field(default_factory=Tally)  # ("row 7", "ChatML"): the rows that held chat markup
    mapping: dict[str, str] | None = None  # by which it was read; None or {}: by the columns' names
    numbers: Sequence[int] = ()  # of the head's rows
    splits: dict[str, int] = field(default_factory=dict)  # rows of each part, where it has several
    tables: list[Table] = field(default_factory=list)  # what was found in it, where it is one


def gather(
    source: Source,
    folder: Path,
    mapping: dict[str, str] | None = None,
    system_turns: str = "join",
    markup: str = "ask",
    kept: Conversations | None = None,
) -> Gathered:
    """Read a source to its end; its conversations are added to `kept`, by default to an unnamed file in `folder`."""
    kept = Conversations(folder) if kept is None else kept
    mapping = mapping or labelled_in_numbers(source.head)
    found = Gathered(source.head, source.notes, kept, mapping=mapping, numbers=source.numbers)
    found.splits, found.tables = source.splits, source.tables
    for number, row in source.numbered:
        found.rows += 1
        notices: set[Notice] = set()
        try:
            conversation, template = conversation_of(row, mapping, system_turns, markup, notices)
        except LeftOut as error:
            count(found.noticed, [error.notice])
            continue
        except UserError as error:
            found.bad.add(_bad_row(number, row, error))
            if isinstance(error, EmptyAnswer):
                found.empty_answers.add(number)
            continue
        count(found.noticed, notices)
        if origin := origin_of(row):
            conversation["made"] = origin
        if template:
            found.markup.add((_("row {row}", row=row_words(number)), template))
        found.conversations.append(number, conversation)
        found.kinds.add("messages" if "messages" in conversation else "text")
        if messages := conversation.get("messages"):
            found.turns += len(messages)
            found.without_system += messages[0]["role"] != "system"
    return found


def _bad_row(number: int, row: Row, error: UserError) -> BadRow:
    """Return what a person is told of a row that cannot be used."""
    where, text = _("Row {row}", row=row_words(number)), ""
    if not isinstance(row, BadLine):
        text = beginning(json.dumps(row, ensure_ascii=False, default=str))
    else:
        text = row.text
        if row.line is not None:
            line = RowNumber(row.line, 1, number.file) if isinstance(number, RowNumber) else row.line
            where = _("Line {line}", line=row_words(line))
    return {"where": where, "reason": joined([error.message, error.hint]), "text": text}


def gather_all(settings: DataSettings, folder: Path) -> list[Gathered]:
    """Read the data sets of a run to their ends, all into one file of conversations.

    Each of several is read by its columns' names; where these are not known `columns` says what they are.
    """
    mapping = settings.mapping()
    sets = [replace(one, place=place_in(one.place, folder)) for one in data_sets(settings.data)]
    if len(sets) == 1 and sets[0].share is None:
        revision = sets[0].revision or settings.data_revision
        where = (settings.data_config, settings.data_split, revision)
        table = settings.table(settings.sheet)
        source = read_source(sets[0].place, *where, settings.max_rows, settings.seed, table)
        return [gather(source, folder, mapping, settings.system_turns, settings.markup)]
    sources = read_mix(sets, settings)
    kept = Conversations(folder, [source.name for source in sources])
    ways = (settings.system_turns, settings.markup, kept)
    parts = [gather(source, folder, None if recognise(source.head) else mapping, *ways) for source in sources]
    counts = joined((source.counts(part.rows) for source, part in zip(sources, parts, strict=True)), ", ")
    words = _("Read: {counts}.", counts=counts)
    if sets[0].share and settings.max_rows:
        words = _("Read: {counts}, as many as the shares and max_rows allow, none twice.", counts=counts)
    elif sets[0].share:
        words = _("Read: {counts}, as many as the shares allow, none twice.", counts=counts)
    parts[0].notes.insert(0, words)
    return parts


def together(parts: list[Gathered]) -> Gathered:
    """Return several data sets, which share their conversations, as one.

    Its head is that of the first whose columns are not known; else of the first.
    """
    unknown = (part for part in parts if not part.mapping and part.head and recognise(part.head) is None)
    found = replace(next(unknown, parts[0]))
    own = ("conversations", "head", "mapping", "numbers")
    for name in (item.name for item in fields(Gathered) if item.name not in own):
        values = [getattr(part, name) for part in parts]
        # kinds and splits are united; rows, turns, notes and what is counted add up
        setattr(found, name, reduce(or_ if type(values[0]) in (set, dict) else add, values))
    return found


def place_in(data: str, folder: Path) -> str:
    """Return the path of a file that was copied into the run, or `data` itself."""
    copied = (folder / data).resolve()
    is_copy = data.startswith("data/") and copied.is_relative_to((folder / "data").resolve())
    return str(copied) if is_copy and copied.is_file() else data
