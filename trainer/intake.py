"""The one way from a config to encoded rows: the training process and the check before it both take it. No torch here.

prepared = prepare(config, folder)              rows sorted into good, bad, double, held out; nothing raised for them
data = load_data(config, folder, tokenizer)     the same rows as tokens; raises what would make a training meaningless
data = load_text(config, folder, tokenizer)     stage 1: open text
"""

from dataclasses import dataclass, field
from pathlib import Path

from common.errors import UserError
from models.encoding import encode_text
from models.templates import training_template
from trainer.config import EXAMPLE, TrainConfig
from trainer.dataset import Encoded, duplicates_of, encode_all, in_pieces, key_of, split_held_out
from trainer.reading import EXAMPLE_HELD_OUT, read_source
from trainer.shapes import bad_rows_error, recognise, sort_rows


@dataclass
class Data:
    """Encoded rows to train on, rows held out, and what was left out of them."""

    train: Encoded
    held_out: Encoded
    notes: list[str]
    held_out_conversations: list[dict] = field(default_factory=list)  # for sample answers


@dataclass
class Prepared:
    """Rows as they were read and what became of them. Conversations carry their row's number, from 1."""

    rows: list[dict]
    mapping: dict[str, str]  # the one of the config; {} when columns are recognised
    conversations: list[dict]
    bad: list[str]
    empty_answers: list[int]
    duplicates: list[int]
    leaked: int = 0  # rows to train on that are in the held-out file too
    train: list[dict] = field(default_factory=list)
    held_out: list[dict] = field(default_factory=list)
    bad_held_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def prepare(config: TrainConfig, folder: Path) -> Prepared:
    """Read, sort and split. Raises UserError only where the data cannot be read at all."""
    source = read_source(
        place(config.data, folder), config.data_config, config.data_split, config.data_revision, config.max_rows
    )
    mapping = config.mapping()
    conversations, bad, empty = sort_rows(source.rows, mapping)
    double = set(duplicates_of(conversations))
    numbers = [conversations[place]["row"] for place in sorted(double)]
    prepared = Prepared(source.rows, mapping, conversations, bad, empty, numbers, notes=source.notes)
    if config.drop_duplicates:
        conversations = [row for place, row in enumerate(conversations) if place not in double]
    _hold_out(config, folder, prepared, conversations)
    return prepared


def _hold_out(config: TrainConfig, folder: Path, prepared: Prepared, conversations: list[dict]) -> None:
    """Fill in the rows to train on and those held out: from a file of their own, or by seed."""
    file = EXAMPLE_HELD_OUT if config.data == EXAMPLE else None
    file = place(config.eval_data, folder) if config.eval_data else file
    if not file:
        prepared.train, prepared.held_out = split_held_out(conversations, config.eval_fraction, config.seed)
        return
    source = read_source(str(file), max_rows=config.max_rows)
    mapping = None if recognise(source.rows) else prepared.mapping
    prepared.held_out, prepared.bad_held_out, _ = sort_rows(source.rows, mapping)
    known = {key_of(row) for row in prepared.held_out}
    prepared.train = [row for row in conversations if not (config.drop_duplicates and key_of(row) in known)]
    prepared.leaked = sum(key_of(row) in known for row in conversations)
    prepared.notes += source.notes


def load_data(config: TrainConfig, folder: Path, tokenizer) -> Data:
    """Read, check, split and tokenise. Raises UserError when nothing is left to train on."""
    prepared = prepare(config, folder)
    bad = prepared.bad + [f"held-out {sentence}" for sentence in prepared.bad_held_out]
    if bad and (not config.skip_bad_rows or not prepared.conversations):
        raise bad_rows_error(bad, len(bad) + len(prepared.conversations))
    template = template_for(prepared, tokenizer)
    train, held_out = (
        encode_all(rows, tokenizer, template, config.max_length, config.too_long)
        for rows in (prepared.train, prepared.held_out)
    )
    notes = prepared.notes + [f"Left out: {sentence}" for sentence in bad[:5]]
    if config.drop_duplicates and (prepared.duplicates or prepared.leaked):
        notes.append(f"{len(prepared.duplicates) + prepared.leaked} rows say the same as another and are left out.")
    notes += [text for text in (train.report(config.max_length), held_out.report(config.max_length)) if text]
    if not train.rows:
        raise UserError("No row is left to train on.", " ".join(notes) or "Give more data.")
    return Data(train, held_out, notes, prepared.held_out)


def template_for(prepared: Prepared, tokenizer) -> str:
    """The training template; "" when all rows are plain text, which takes none."""
    rows = prepared.train + prepared.held_out
    return training_template(tokenizer) if any("messages" in row for row in rows) else ""


def load_text(config: TrainConfig, folder: Path, tokenizer) -> Data:
    """Stage 1: the open text of `text_data`, packed into rows of `max_length` tokens; texts end with the stop token.

    Held out is `eval_fraction` of the texts, by seed. Raises UserError when there is no text.
    """
    texts, bad, notes = read_texts(config, folder)
    if bad and (not config.skip_bad_rows or not texts):
        raise bad_rows_error(bad, len(bad) + len(texts))
    notes += [f"Left out: {sentence}" for sentence in bad[:5]]
    train, held_out = split_held_out(texts, config.eval_fraction, config.seed)
    return Data(*(Encoded(pack(rows, tokenizer, config.max_length)) for rows in (train, held_out)), notes)


def read_texts(config: TrainConfig, folder: Path) -> tuple[list[dict], list[str], list[str]]:
    """(texts of stage 1, a sentence for each bad row, notes). Raises UserError when the rows are no texts."""
    source = read_source(place(config.text_data or "", folder), max_rows=config.max_rows)
    mapping = recognise(source.rows)
    if mapping is None or "text" not in mapping:
        found = ", ".join(list(map(str, source.rows[0]))[:10]) or "none"
        raise UserError(
            f"Stage 1 takes plain text; text_data has the columns {found}.",
            "Give .txt, .md, or a table with a text column.",
        )
    texts, bad, _ = sort_rows(source.rows, mapping)
    return texts, bad, source.notes


def pack(texts: list[dict], tokenizer, max_length: int) -> list[dict]:
    """Texts one after the other, each with its stop token, cut into rows of `max_length` tokens; nothing is lost."""
    ids: list[int] = []
    for row in texts:
        ids += [*encode_text(row["text"], tokenizer), tokenizer.eos_token_id]
    rows = in_pieces(ids, max_length)
    if len(rows) > 1 and len(rows[-1]["input_ids"]) < 2:  # one token alone predicts nothing
        rows.pop()
    return rows


def place(data: str, folder: Path) -> str:
    """A file that was copied into the run, or `data` itself."""
    copied = (folder / data).resolve()
    is_copy = data.startswith("data/") and copied.is_relative_to((folder / "data").resolve())
    return str(copied) if is_copy and copied.is_file() else data
