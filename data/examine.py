"""Make the report before the start: what the data holds, what a training would get, what is wrong with it and what cures it.

Takes the same way as the training (`intake`, `dataset`); what it counts is what is trained. Of large data it tokenises a part and
says so.
"""

import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from itertools import islice, takewhile
from pathlib import Path

from common.errors import UserError
from common.language import _, joined, n_
from data.columns import columns_of, guess_mapping, recognise
from data.conversations import Conversation, Part, Row, Tally, row_words
from data.dataset import Encoded, Encoder
from data.findings import CheckedBase, find_own_prompt, find_problems, find_text_problems, finding, in_text_stage
from data.intake import Prepared, pack, prepare, read_texts
from data.report import MAX_BAD_ROWS, Finding, FirstRows, Histogram, PreviewRow, Report, TextReport
from data.scripts import describe_scripts
from data.settings import DataSettings
from data.tables import MAX_COLUMNS
from models.prompt import own_system_prompt

MAX_ENCODED_ROWS = 20_000  # to train on
MAX_HELD_OUT_ROWS = 2_000
MAX_TEXTS = 4_000  # of stage 1
MAX_SCRIPT_ROWS = 2_000  # whose writing systems are looked at
MAX_SECONDS = 20
BINS = 20
MAX_SHOWN_PIECES = 3  # of a row
MAX_SHOWN_TOKENS = 4096
MAX_SHOWN_CHARACTERS = 20_000
MAX_SHOWN_NAME = 300  # characters of a column's name; one with a longer name cannot be chosen


def build_report(
    settings: DataSettings, folder: Path, tokenizer, base: CheckedBase, rows: int, tell: Callable[[str], None]
) -> Report:
    """Return the whole report, with a preview of `rows` rows. Raises UserError only where data cannot be read at all."""
    tell(_("Reading the data"))
    prepared = prepare(settings, folder)
    data, conversations = prepared.data, prepared.data.conversations.part()
    encoder, template_error = None, None
    try:
        template = prepared.template(tokenizer)
        ways = {"system_turns": settings.system_turns, "markup": settings.markup}
        encoder = Encoder(tokenizer, template, settings.max_length, settings.too_long, **ways)
    except UserError as error:
        template_error = error
    (train, scale), (held_out, held_out_scale), said = (Encoded(), 1.0), (Encoded(), 1.0), []
    if encoder and len(conversations):
        tell(n_("Tokenising {count:,} row", "Tokenising {count:,} rows", len(conversations)))
        train, scale = measure(prepared.train, encoder, MAX_ENCODED_ROWS)
        held_out, held_out_scale = measure(prepared.held_out, encoder, MAX_HELD_OUT_ROWS)
        said = [_said(row) for row in islice(conversations, MAX_SCRIPT_ROWS)]
    tell(_("Checking the writing systems"))
    lengths = train.lengths + held_out.lengths
    train_rows, held_out_rows = round(train.count * scale), round(held_out.count * held_out_scale)
    text, text_findings = _text_stage(settings, folder, tokenizer, tell)
    report: Report = {
        "base": base.model_id,
        "base_reason": base.reason,
        "columns": [name for name in columns_of(data.head) if len(name) <= MAX_SHOWN_NAME][:MAX_COLUMNS],
        "mapping": prepared.mapping or recognise(data.head),
        "guess": {key: name for key, name in guess_mapping(data.head).items() if len(name) <= MAX_SHOWN_NAME},
        "sample": [_sampled(row) for row in data.head[:rows]],
        "sample_rows": [row_words(number) for number in data.numbers[:rows]],
        "shape": " and ".join(sorted(data.kinds)) or None,
        "rows": data.rows,
        "turns": data.turns,
        "usable": train_rows + held_out_rows,
        "train_rows": train_rows,
        "held_out_rows": held_out_rows,
        "tokens": round(train.tokens * scale),
        "trained_tokens": round(train.trained_tokens * scale),
        "estimated_from": train.conversations + held_out.conversations if max(scale, held_out_scale) > 1 else None,
        "lengths": histogram(lengths),
        "longest": max(lengths, default=0),
        "mean_length": round(sum(lengths.elements()) / lengths.total(), 1) if lengths else 0,
        "made": prepared.train.made(),
        "duplicates": _first_rows(prepared.duplicates),
        "bad": {"count": data.bad.count, "rows": data.bad.first[:MAX_BAD_ROWS]},
        "empty_answers": _first_rows(data.empty_answers),
        "too_long": _first_rows(train.too_long, held_out.too_long, scale),
        "nothing_trained": _first_rows(train.nothing_trained, held_out.nothing_trained, scale),
        "shortened": round(train.shortened.count * scale),
        "scripts": describe_scripts(said, tokenizer, settings.max_length),
        "text": text,
        "findings": [],
        "preview": _preview_rows(prepared, encoder, settings, rows) if encoder else [],
    }
    found = find_problems(settings, prepared, report, base, template_error) + text_findings
    if encoder and encoder.template:
        found += find_own_prompt(data.without_system, own_system_prompt(tokenizer, encoder.template))
    for kept in (report["duplicates"], report["empty_answers"], report["too_long"], report["nothing_trained"]):
        kept["rows"] = [
            (row_words(row[0]), row[1]) if isinstance(row, tuple) else row_words(row) for row in kept["rows"]
        ]
    report["findings"] = sorted(found, key=lambda item: ("stop", "warning", "info").index(item["level"]))
    return report


def measure(part: Part, encoder: Encoder, most: int) -> tuple[Encoded, float]:
    """Tokenise the rows, or so many of them, drawn evenly, as `most` and the seconds allow; the tokens are let go.

    Returns the counts, and how many rows there are for each that was looked at.
    """
    deadline = time.monotonic() + MAX_SECONDS
    sample = takewhile(lambda row: time.monotonic() < deadline, part.sample(most))
    found = encoder.encode_all(sample, partial(deque, maxlen=0))
    return found, len(part) / found.conversations if found.conversations else 1.0


def _first_rows(kept: Tally, other: Tally | None = None, scale: float = 1.0) -> FirstRows:
    """Return how many there are of both kinds, times `scale`, and the first of them."""
    other = other or Tally()
    return {"count": round((kept.count + other.count) * scale), "rows": sorted(kept.first + other.first)[:5]}


def histogram(lengths: Counter[int]) -> Histogram:
    """Count the rows by length, in at most `BINS` bins and one."""
    longest = max(lengths, default=0)
    width = max(1, -(-(longest + 1) // BINS))
    width = width if width < 10 else -(-width // 10) * 10
    counts = [0] * (longest // width + 1)
    for length, count in lengths.items():
        counts[length // width] += count
    return {"edges": [place * width for place in range(len(counts) + 1)], "counts": counts}


def _text_stage(
    settings: DataSettings, folder: Path, tokenizer, tell: Callable[[str], None]
) -> tuple[TextReport | None, list[Finding]]:
    """Return the same counts for the open text of stage 1, and findings on it."""
    if not settings.text_data:
        return None, []
    tell(_("Reading the plain text"))
    try:
        data = read_texts(settings, folder)
    except UserError as error:
        return None, in_text_stage([finding("text_data", "stop", joined([error.message, error.hint]))])
    texts = data.conversations.part()
    sample = list(texts.sample(MAX_TEXTS))
    scale = len(texts) / len(sample) if sample else 1.0
    lengths = [len(row["input_ids"]) for row in pack(sample, tokenizer, settings.max_length)]
    text: TextReport = {
        "rows": data.rows,
        "usable": len(texts),
        "train_rows": round(len(lengths) * scale * (1 - settings.eval_fraction)),
        "tokens": round(sum(lengths) * scale),
        "bad": {"count": data.bad.count, "rows": data.bad.first[:MAX_BAD_ROWS]},
        "estimated_from": len(sample) if scale > 1 else None,
        "scripts": describe_scripts([_said(row) for row in sample[:MAX_SCRIPT_ROWS]], tokenizer, settings.max_length),
    }
    return text, find_text_problems(settings, text, data)


def _preview_rows(prepared: Prepared, encoder: Encoder, settings: DataSettings, count: int) -> list[PreviewRow]:
    """Show the first rows as the trainer gets them; of one that it does not get, why. Long ones are clipped."""
    shown, each = [], -(-count // len(prepared.parts))
    first = [(part, *row) for part in prepared.parts for row in zip(part.numbers[:each], part.head, strict=False)]
    for part, number, row in first[:count]:
        is_double = settings.drop_duplicates and number in prepared.duplicates.first
        for entry in encoder.preview(number, row, part.mapping)[:MAX_SHOWN_PIECES]:
            entry["row"] = row_words(number)
            if is_double and entry["used"]:
                entry.update({"used": False, "why_not": _("It says the same as an earlier row.")})
            entry["messages"] = entry["messages"] and [
                {**message, "content": _clip(message["content"], MAX_SHOWN_CHARACTERS)} for message in entry["messages"]
            ]
            entry["text"] = entry["text"] and _clip(entry["text"], MAX_SHOWN_CHARACTERS)
            entry["ids"] = entry["ids"][:MAX_SHOWN_TOKENS]
            entry["tokens"] = entry["tokens"][:MAX_SHOWN_TOKENS]
            entry["trained"] = entry["trained"][:MAX_SHOWN_TOKENS]
            shown.append(entry)
    return shown


def _said(row: Conversation) -> str:
    return row.get("text") or "\n".join(message["content"] for message in row["messages"])


def _sampled(row: Row) -> dict[str, str]:
    """Return a row as it was read, in short: its names, too, come from anywhere."""
    return {_clip(str(key), MAX_SHOWN_NAME): _clip(str(value), 500) for key, value in islice(row.items(), MAX_COLUMNS)}


def _clip(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} ..."
