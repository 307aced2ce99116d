"""The tokens that an adapter's tokenizer has beyond its base's: dropped where nothing was trained for them, else judged.

The tokenizer itself is never loaded, the base's own is used: only its list of added tokens is read here, as JSON and bounded.
What the adapter trained (`trainable_token_indices`) is added from that list to the base's tokenizer wherever it answers.
"""

import json
from itertools import islice
from pathlib import Path
from typing import Any

from adapters.trust.layers import AdapterConfig
from common.errors import UserError
from common.files import read_json
from common.language import Sentence, _, n_
from models.family import ModelShape
from models.templates.choice import MAX_CONFIG_BYTES, OwnToken, own_text

MAX_LIST_BYTES = 1_000_000  # of a tokenizer.json, which begins with its added tokens
MAX_ADDED = 5000
MAX_SHOWN = 5
MAX_DIGITS = 10  # of a token's number


def judge_tokens(folder: Path, config: AdapterConfig, base: ModelShape | None) -> tuple[list[OwnToken], list[Sentence]]:
    """Return the tokens to add to the base's tokenizer, and a sentence on those that are dropped.

    Raises UserError for tokens that the adapter needs and its base has no room for.
    """
    added, template = _added_tokens(folder), own_text(folder) or ""
    tokens = config.get("trainable_token_indices") or []
    groups = list(tokens.values()) if isinstance(tokens, dict) else [tokens]
    trained = {number for numbers in groups for number in numbers}
    last = max(trained & {token.number for token in added}, default=-1)
    own = [token._replace(is_control=token.is_control or token.content in template) for token in added]
    own = [token for token in own if token.number <= last]  # with those between, so that each gets its number
    beyond = [token for token in added if base and token.number >= base.vocab_size]
    if not base or not beyond:
        return own, []
    ends = read_json(folder / "tokenizer_config.json", {}, MAX_CONFIG_BYTES)
    ends = ends.get("eos_token") if isinstance(ends, dict) else None
    used = [token for token in beyond if token.content in template or token.content == ends]
    if used:
        raise UserError(
            _("It uses {tokens}, which its base lacks, and has no weights for it.", tokens=_shown(used)),
            _("Train it again with control tokens that the base has, or on a base that has these."),
        )
    words = n_(
        "Its tokenizer has a token that its base lacks, {tokens}. Nothing was trained for it, so it is left out.",
        "Its tokenizer has {count:,} tokens that its base lacks, {tokens}. Nothing was trained for them, so they are left out.",
        len(beyond),
        tokens=_shown(beyond),
    )
    return own, [words]


def _shown(tokens: list[OwnToken]) -> str:
    """Return the first few tokens in words."""
    return ", ".join(token.content for token in tokens[:MAX_SHOWN]) + (" ..." if len(tokens) > MAX_SHOWN else "")


def _added_tokens(folder: Path) -> list[OwnToken]:
    """Return the added tokens in the files of a tokenizer by their numbers; what is damaged or odd is passed over."""
    config = read_json(folder / "tokenizer_config.json", {}, MAX_CONFIG_BYTES)
    decoder = config.get("added_tokens_decoder") if isinstance(config, dict) else None
    plain = read_json(folder / "added_tokens.json", {}, MAX_CONFIG_BYTES)
    entries = _listed(folder / "tokenizer.json")
    for number, entry in islice((decoder if isinstance(decoder, dict) else {}).items(), MAX_ADDED):
        entries.append({**entry, "id": int(number)} if _is_number(number) and isinstance(entry, dict) else None)
    for content, number in islice((plain if isinstance(plain, dict) else {}).items(), MAX_ADDED):
        entries.append({"content": content, "id": number})
    return sorted(OwnToken.read_all(entries), key=lambda token: token.number)


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= MAX_DIGITS  # Python refuses to read thousands of digits


def _listed(file: Path) -> list[Any]:
    """Return the entries of `added_tokens` in a tokenizer.json, [] for one that does not begin with them."""
    try:
        with open(file, "rb") as stream:
            text = stream.read(MAX_LIST_BYTES).decode(errors="replace")
        _before, found, rest = text.partition('"added_tokens"')
        value = json.JSONDecoder().raw_decode(rest, rest.index("["))[0] if found else []
    except (OSError, ValueError, RecursionError):
        return []
    return value[:MAX_ADDED]
