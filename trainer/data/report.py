"""The report before the start: what the data holds, what a training would get, what is wrong with it and what cures it.

Takes the same way as the training (`intake`, `dataset`); what it counts is what is trained. Of large data it tokenises a
part and says so. `build_report` returns plain JSON; its fields are described where they are made.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from common.errors import UserError
from models.prompt import shown_tokens
from trainer.config import TrainConfig
from trainer.data.conversations import Kept, Part
from trainer.data.dataset import IGNORED, Encoded, encode, fit
from trainer.data.findings import CheckedBase, find_problems, find_text_problems, finding, sorted_findings
from trainer.data.intake import Prepared, pack, prepare, read_texts, template_for
from trainer.data.scripts import describe_scripts
from trainer.data.shapes import columns_of, guess_mapping, recognise, to_conversation

MOST_ENCODED = 20_000  # rows to train on
MOST_HELD_OUT = 2_000
MOST_TEXTS = 4_000  # of stage 1
MOST_SAID = 2_000  # rows whose writing systems are looked at
MOST_SECONDS = 20
BINS = 20
MOST_SHOWN_TOKENS = 4096
MOST_SHOWN_CHARACTERS = 20_000


@dataclass
class Measure:
    """What tokenising told: lengths as rows are, and what a training gets. `scale` is rows over rows looked at."""

    encoded: Encoded = field(default_factory=Encoded)  # its counts; the tokens themselves are let go
    lengths: list[int] = field(default_factory=list)
    usable: int = 0
    tokens: int = 0
    rows: int = 0
    scale: float = 1.0

    def scaled(self, count: float) -> int:
        return round(count * self.scale)


def build_report(config: TrainConfig, folder: Path, tokenizer, base: CheckedBase, rows: int, tell: Callable) -> dict:
    """The whole report; see `python -m trainer.data.check_data`. Raises UserError only where data cannot be read at all."""
    tell("Reading the data")
    prepared = prepare(config, folder)
    head, conversations = prepared.data.head, prepared.data.conversations.part()
    report = {
        "base": base.model_id,
        "base_reason": base.reason,
        "fingerprint": fingerprint(prepared.train, prepared.held_out),
        "columns": columns_of(head),
        "mapping": prepared.mapping or recognise(head),
        "guess": guess_mapping(head),
        "sample": [{str(key): _clip(str(value), 500) for key, value in row.items()} for row in head[:rows]],
        **_counts(prepared),
    }
    template, template_error = _template(prepared, tokenizer)
    train, held_out, said = Measure(), Measure(), []
    if template is not None and len(conversations):
        tell(f"Tokenising {len(conversations):,} rows")
        train = measure(prepared.train, tokenizer, template, config)
        held_out = measure(prepared.held_out, tokenizer, template, config, MOST_HELD_OUT)
        said = [_said(row) for row in islice(conversations, MOST_SAID)]
    tell("Looking at the writing systems")
    report |= _measured(train, held_out)
    report["scripts"] = describe_scripts(said, tokenizer, config.max_length)
    report["text"], text_findings = _text_stage(config, folder, tokenizer, tell)
    report["findings"] = sorted_findings(find_problems(config, prepared, report, base, template_error) + text_findings)
    report["preview"] = preview_rows(prepared, tokenizer, template, config, rows)
    return report


def fingerprint(*parts: Part) -> str:
    """SHA-256 over the rows that are used, in order."""
    digest = hashlib.sha256()
    for part in parts:
        for key in part.keys():  # noqa: SIM118 - not a dict
            digest.update(key + b"\n")
    return digest.hexdigest()


def _counts(prepared: Prepared) -> dict:
    """What is known without a tokenizer. Row numbers count from 1."""
    data = prepared.data
    return {
        "shape": " and ".join(sorted(data.kinds)) or None,
        "rows": data.rows,
        "turns": data.turns,
        "duplicates": _first_rows(prepared.duplicates),
        "bad": {"count": data.bad.count, "sentences": data.bad.first[:5]},
        "empty_answers": _first_rows(data.empty_answers),
    }


def _first_rows(found: Kept) -> dict:
    return {"count": found.count, "rows": found.first[:5]}


def _template(prepared: Prepared, tokenizer) -> tuple[str | None, UserError | None]:
    try:
        return template_for(prepared, tokenizer), None
    except UserError as error:
        return None, error


def measure(part: Part, tokenizer, template: str, config: TrainConfig, most: int | None = None) -> Measure:
    """Tokenise the rows, or so many of them, drawn evenly, as `most` and the seconds allow."""
    found = Measure()
    deadline = time.monotonic() + MOST_SECONDS
    for row in part.sample(most or MOST_ENCODED):
        _measure_row(found, row, tokenizer, template, config)
        if time.monotonic() > deadline:
            break
    found.scale = len(part) / found.rows if found.rows else 1.0
    return found


def _measure_row(found: Measure, row: dict, tokenizer, template: str, config: TrainConfig) -> None:
    pieces = encode(row, tokenizer, template, config.max_length)
    found.lengths += [len(piece["input_ids"]) for piece in pieces]
    if config.too_long != "drop" and len(pieces[0]["input_ids"]) > config.max_length:
        pieces = fit(row, tokenizer, template, config.max_length, config.too_long)
    for piece in found.encoded.usable(row["row"], pieces, config.max_length):
        found.tokens += len(piece["input_ids"])
        found.usable += 1
    found.rows += 1


def _measured(train: Measure, held_out: Measure) -> dict:
    """Counts in tokens. `train_rows`, `tokens` and `trained_tokens` are of one pass over the rows to train on."""
    lengths = train.lengths + held_out.lengths
    too_long, nothing = (
        Kept(first.count + second.count, sorted(first.first + second.first))
        for first, second in (
            (train.encoded.too_long, held_out.encoded.too_long),
            (train.encoded.nothing_trained, held_out.encoded.nothing_trained),
        )
    )
    estimated = train.rows + held_out.rows if max(train.scale, held_out.scale) > 1 else None
    return {
        "usable": train.scaled(train.usable) + held_out.scaled(held_out.usable),
        "train_rows": train.scaled(train.usable),
        "held_out_rows": held_out.scaled(held_out.usable),
        "tokens": train.scaled(train.tokens),
        "trained_tokens": train.scaled(train.encoded.trained_tokens),
        "estimated_from": estimated,
        "lengths": histogram(lengths),
        "longest": max(lengths, default=0),
        "mean_length": round(sum(lengths) / len(lengths), 1) if lengths else 0,
        "too_long": {"count": train.scaled(too_long.count), "rows": too_long.first[:5]},
        "shortened": train.scaled(train.encoded.shortened.count),
        "nothing_trained": {"count": train.scaled(nothing.count), "rows": nothing.first[:5]},
    }


def histogram(lengths: list[int]) -> dict:
    """{"edges": [0, 50, ...], "counts": [...]}, one edge more than counts; the longest row lies below the last edge."""
    width = max(1, -(-(max(lengths, default=0) + 1) // BINS))
    width = width if width < 10 else -(-width // 10) * 10
    counts = [0] * (max(lengths, default=0) // width + 1)
    for length in lengths:
        counts[length // width] += 1
    return {"edges": [place * width for place in range(len(counts) + 1)], "counts": counts}


def _text_stage(config: TrainConfig, folder: Path, tokenizer, tell: Callable) -> tuple[dict | None, list[dict]]:
    """(the same counts for the open text of stage 1, or None; findings on it)."""
    if not config.text_data:
        return None, []
    tell("Reading the text of stage 1")
    try:
        data = read_texts(config, folder)
    except UserError as error:
        return None, [finding("text_data", "stop", f"Stage 1: {error}")]
    texts = data.conversations.part()
    sample = list(texts.sample(MOST_TEXTS))
    scale = len(texts) / len(sample) if sample else 1.0
    lengths = [len(row["input_ids"]) for row in pack(sample, tokenizer, config.max_length)]
    counts = {
        "rows": data.rows,
        "usable": len(texts),
        "train_rows": round(len(lengths) * scale * (1 - config.eval_fraction)),
        "tokens": round(sum(lengths) * scale),
        "bad": {"count": data.bad.count, "sentences": data.bad.first[:5]},
        "fingerprint": fingerprint(texts),
        "estimated_from": len(sample) if scale > 1 else None,
        "scripts": describe_scripts([row["text"] for row in sample[:MOST_SAID]], tokenizer, config.max_length),
    }
    return counts, find_text_problems(config, counts, data.notes)


def preview_rows(prepared: Prepared, tokenizer, template: str | None, config: TrainConfig, count: int) -> list[dict]:
    """The first rows as the trainer gets them; of one that it does not get, why. A row may give several entries."""
    shown = []
    for number, row in enumerate(prepared.data.head[:count], 1):
        entry = {"row": number, "messages": None, "text": None, "ids": [], "tokens": [], "trained": [], "used": False}
        try:
            conversation = to_conversation(row, prepared.mapping)
            pieces = (
                fit(conversation, tokenizer, template, config.max_length, config.too_long)
                if template is not None
                else []
            )
        except UserError as error:
            shown.append({**entry, "length": 0, "why_not": str(error)})
            continue
        entry["messages"] = [
            {**message, "content": _clip(message["content"], MOST_SHOWN_CHARACTERS)}
            for message in conversation.get("messages", ())
        ] or None
        entry["text"] = _clip(conversation["text"], MOST_SHOWN_CHARACTERS) if "text" in conversation else None
        double = config.drop_duplicates and number in prepared.duplicates.first
        shown += [{**entry, **_tokens(piece, tokenizer, config.max_length, double)} for piece in pieces[:3]]
    return shown


def _tokens(piece: dict, tokenizer, max_length: int, is_double: bool) -> dict:
    """ids, tokens and which are trained (the first `MOST_SHOWN_TOKENS` of `length`), and whether the trainer gets them."""
    ids, trained = piece["input_ids"], [label != IGNORED for label in piece["labels"]]
    why_not = ""
    if len(ids) > max_length:
        why_not = f"{len(ids)} tokens are more than max_length {max_length}."
    elif not any(trained[1:]):
        why_not = "No token of it is trained."
    elif is_double:
        why_not = "It says the same as an earlier row."
    return {
        "ids": ids[:MOST_SHOWN_TOKENS],
        "tokens": shown_tokens(ids[:MOST_SHOWN_TOKENS], tokenizer),
        "trained": trained[:MOST_SHOWN_TOKENS],
        "length": len(ids),
        "used": not why_not,
        "why_not": why_not,
    }


def _said(row: dict) -> str:
    return row.get("text") or "\n".join(message["content"] for message in row["messages"])


def _clip(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} ..."
