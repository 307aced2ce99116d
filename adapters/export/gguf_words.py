"""The tokenizer of a model in GGUF's terms: tokens, their types, and what merges them. Knows two kinds.

'llama' is SentencePiece with byte fallback (TinyLlama): llama.cpp joins the pair whose result has the best score, so that a
token's score is minus the rank of the merge that makes it. 'gpt2' is byte-level BPE (SmolLM2, Qwen), which keeps its merges.

One difference of 'llama' cannot be written down: after a special token llama.cpp begins a word with a space, as TinyLlama's
own tokenizer does, while transformers 5 does so only at the start of a text. It is one token a turn.
"""

import re
from pathlib import Path
from typing import Any

from adapters.trust.check import require_object
from common.errors import UserError
from common.language import _

UNKNOWN, NORMAL, CONTROL, USER_DEFINED, BYTE = 2, 1, 3, 4, 6  # gguf.TokenType
# how Qwen2's tokenizer, which Qwen3 has too, splits text; llama.cpp calls it "qwen2" (src/llama-vocab.cpp)
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def add_tokenizer(writer, folder: Path, vocab_size: int) -> None:
    """Write the tokenizer in `folder` to a GGUFWriter. Raises UserError for a kind that is not supported."""
    from models.tokenizer import load_tokenizer

    definition = require_object(folder / "tokenizer.json")
    tokenizer = load_tokenizer(folder)
    tokens = {index: token for token, index in definition["model"]["vocab"].items()}
    added = {entry["id"]: entry for entry in definition["added_tokens"]}
    tokens |= {index: entry["content"] for index, entry in added.items()}
    tokens = [tokens.get(index, f"[PAD{index}]") for index in range(vocab_size)]
    merges = [" ".join(merge) if isinstance(merge, list) else merge for merge in definition["model"]["merges"]]
    kind, before = _kind(definition)
    writer.add_tokenizer_model(kind)
    writer.add_tokenizer_pre(before)
    writer.add_token_list(tokens)
    unknown = tokenizer.unk_token if kind == "llama" else None  # byte-level BPE knows every byte
    writer.add_token_types([_type(token, added.get(index), unknown) for index, token in enumerate(tokens)])
    if kind == "llama":
        ranks: dict[str, int] = {}  # of the first merge that makes a token; single characters come after all merges
        for rank, merge in enumerate(merges):
            ranks.setdefault(merge.replace(" ", ""), rank)
        scores = [-float(ranks.get(token, len(merges) + 1)) for token in tokens]
        scores = [0.0 if _BYTE.fullmatch(token) else score for token, score in zip(tokens, scores, strict=True)]
        writer.add_token_scores(scores)
        writer.add_add_space_prefix(True)
    else:
        writer.add_token_merges(merges)
    _add_special(writer, tokenizer)


def _kind(definition: dict[str, Any]) -> tuple[str, str]:
    """Return (kind of tokenizer, how it splits text before merging) in llama.cpp's names. Raises UserError."""
    model, before = definition["model"], definition.get("pre_tokenizer") or {}
    parts = before.get("pretokenizers", [before])
    steps = [part.get("type") for part in parts]
    if model["type"] == "BPE" and model.get("byte_fallback") and steps in ([None], ["Metaspace"]):
        return "llama", "default"
    if model["type"] == "BPE" and steps == ["Digits", "ByteLevel"]:
        return "gpt2", "smollm"
    if model["type"] == "BPE" and steps == ["ByteLevel"] and before.get("use_regex", True):
        return "gpt2", "gpt-2"  # what becomes of SmolLM2's when transformers takes it out of a GGUF
    if model["type"] == "BPE" and steps == ["Split", "ByteLevel"] and parts[0]["pattern"] == {"Regex": QWEN2_PATTERN}:
        return "gpt2", "qwen2"
    raise UserError(_("A tokenizer of this kind cannot be written to GGUF here."), _("Use the converter of llama.cpp."))


def _type(token: str, added: dict[str, Any] | None, unknown: str | None) -> int:
    """Return GGUF's type of a token; `added` is its entry in `added_tokens`, `unknown` the unknown token."""
    if token == unknown and added:
        return UNKNOWN
    if added:
        return CONTROL if added["special"] else USER_DEFINED
    return BYTE if _BYTE.fullmatch(token) else NORMAL


def _add_special(writer, tokenizer) -> None:
    """Write the ids of the begin, end, unknown and pad tokens, whether texts begin with one, and the chat template."""
    ids = tokenizer("a")["input_ids"]
    if tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(tokenizer.bos_token_id)
        writer.add_add_bos_token(bool(ids) and ids[0] == tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_eos_token(False)
    if tokenizer.unk_token_id is not None:
        writer.add_unk_token_id(tokenizer.unk_token_id)
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
    if isinstance(tokenizer.chat_template, str):  # a base may have none, or several by name
        writer.add_chat_template(tokenizer.chat_template)
