"""The process that makes the rows of a TRL script: `python -m runs.script.process REQUEST.json ANSWER.json`.

It reads and tokenises as a training does, and looks whether TRL makes the same tokens of the messages.
"""

import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from common.child import Tell, answer_parent, bound_memory
from common.errors import UserError
from common.language import _
from data.check import MAX_DATA_BYTES
from data.conversations import Conversation, Part
from data.dataset import IGNORED, Encoder, TokenRow, is_trained
from data.intake import check_bad, prepare
from models.base import choose_base, fetch_tokenizer
from models.family import shape_of
from models.hardware import find_gpus
from models.tokenizer import load_tokenizer
from runs.config import TrainConfig
from runs.disk import check_room_on_disk
from runs.forecast.plan import evaluated_rows, plan_steps
from runs.resolve import in_own_precision
from runs.script.write import ScriptFacts

TOKEN_BYTES = 12  # of a token and its label, as JSON has them
FILES = (TRAIN, HELD_OUT) = ("rows.jsonl", "held_out.jsonl")


def make_rows(request: dict[str, Any], tell: Tell, most_memory: int | None = None) -> ScriptFacts:
    """Write rows and template into the request's folder; return what the script has to know of them and of the base.

    The data is read twice and never held: first to know how it is written, then to write it. With `most_memory` in so many bytes
    beside the libraries. Raises UserError, also where its owner has no room for it.
    """
    config, folder = TrainConfig.from_dict(request["config"]), Path(request["folder"])
    tell(_("Looking up the base model"), None)
    base = choose_base(config.base, config.base_revision)
    config = in_own_precision(config, base)
    files = fetch_tokenizer(base, tell)
    tokenizer = load_tokenizer(files, config.chat_template)
    shape = shape_of(files)
    if most_memory:
        bound_memory(most_memory)
    tell(_("Reading the data"), None)
    settings = config.data_settings()
    prepared = prepare(settings, folder)
    check_bad(prepared.bad, len(prepared.data.conversations), settings)
    template = prepared.template(tokenizer)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    encoder = Encoder(tokenizer, template, settings.max_length, settings.too_long)
    counts, tokens, why = Counter[str](), 0, ""
    parts = dict(zip(FILES, (prepared.train, prepared.held_out), strict=True))
    for file, part in parts.items():
        for conversation, pieces, whole in _encoded(part, encoder):
            counts[file] += len(pieces)
            tokens += sum(len(row["input_ids"]) for row in pieces)
            why = why or _why_tokens(conversation, pieces, whole, encoder)
    rows, tested = counts[TRAIN], counts[HELD_OUT]
    if not rows:
        raise UserError(_("No rows are left to train on."))
    check_room_on_disk(request["owner"], 2 * TOKEN_BYTES * tokens)  # and once more in the zip
    used = evaluated_rows(config, rows, tested)
    chosen = {*random.Random(config.seed).sample(range(tested), used)}
    for file, places in ((TRAIN, range(rows)), (HELD_OUT, chosen)):
        if places:
            with open(folder / file, "w", encoding="utf-8") as lines:
                for place, row in enumerate(_lines(parts[file], encoder, bool(why))):
                    if place in places:
                        lines.write(json.dumps(row, ensure_ascii=False) + "\n")
    steps = plan_steps(replace(config, num_processes=max(1, config.num_processes)), rows)
    is_part = config.method != "full" and config.last_layers
    return ScriptFacts(
        base=base.model_id,
        base_revision=base.revision,
        base_is_quantised=base.quantised is not None,
        precision=request["precision"] or config.precision_on(bool(find_gpus())),
        target_modules=list(shape.family.targets(config.target_modules)),
        trained_layers=list(shape.last_layers(config.last_layers)) if is_part else [],
        eval_steps=config.eval_steps or steps.steps_per_epoch,
        rows=rows,
        held_out=len(chosen),
        why_tokens=why,
    )


def _encoded(part: Part, encoder: Encoder) -> Iterator[tuple[Conversation, list[TokenRow], list[TokenRow]]]:
    """Yield each conversation with the rows that are trained of it, and its tokens before anything was shortened."""
    for conversation in part:
        whole = encoder.encode(conversation)
        pieces = [row for row in encoder.fit(conversation, whole) if encoder.fits(row) and is_trained(row)]
        yield conversation, pieces, whole


def _lines(part: Part, encoder: Encoder, as_tokens: bool) -> Iterator[Any]:
    """Yield what stands in the file of a part: rows of tokens, or the messages of each conversation that is a row."""
    for conversation, pieces, _whole in _encoded(part, encoder):
        if as_tokens:
            yield from pieces
        elif pieces:
            yield _messages_of(conversation)


def _messages_of(conversation: Conversation) -> dict[str, list[dict[str, str]]]:
    turns = conversation["messages"]
    return {"messages": [{"role": turn["role"], "content": turn["content"]} for turn in turns]}


def _why_tokens(conversation: Conversation, pieces: list[TokenRow], whole: list[TokenRow], encoder: Encoder) -> str:
    """Say why TRL would make other rows of the messages, in English; "" when it makes the same."""
    if not pieces:
        return ""
    if "messages" not in conversation:
        return "they are plain text, each piece with its stop token"
    if pieces != whole:
        return "some are cut at a turn, or split"
    found = encoder.tokenizer.apply_chat_template(
        _messages_of(conversation)["messages"],
        chat_template=encoder.template,
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    trained = [int(label != IGNORED) for label in pieces[0]["labels"]]
    if found["input_ids"] == pieces[0]["input_ids"] and list(found["assistant_masks"]) == trained:
        return ""
    return "in some, control tokens were typed as text, or answers are only read, which messages cannot say"


if __name__ == "__main__":
    sys.exit(answer_parent(sys.argv[1:], partial(make_rows, most_memory=MAX_DATA_BYTES)))
