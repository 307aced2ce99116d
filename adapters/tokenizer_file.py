"""Is this tokenizer.json one of a Llama, and harmless? It could put a million letters for one, pad to gigabytes, match for ever.

What is listed here is what tokenizers of Llama models are made of; text may grow a little on its way through, not more.
"""

from common.errors import UserError

PARTS = {"Sequence", "Prepend", "Replace", "ByteLevel", "Digits", "Split", "Metaspace", "TemplateProcessing"}
PARTS |= {"ByteFallback", "Fuse", "Strip", "NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"}
PARTS |= {"Whitespace", "WhitespaceSplit", "Punctuation", "BPE"}
MOST_REPLACED = 4  # replacements on one way, and the letters that each may put in
MOST_TEMPLATE_PARTS = 64
MOST_TOKEN = 1000
MOST_PADDED = 100_000
ENDINGS = r"'s|'t|'re|'ve|'m|'ll|'d"
WORDS = r"|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# of GPT-2, Llama 3 and those after it, SmolLM: any other may take for ever
PATTERNS = {rf"(?i:{ENDINGS}){WORDS}{digits}{REST}" for digits in (r"\p{N}{1,3}", r"\p{N}")}
PATTERNS |= {rf"{ENDINGS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+", r"\p{N}{1,3}", r"\p{N}"}


def check_tokenizer_file(values: dict) -> None:
    """Raise UserError for a tokenizer.json, given as its object, that holds something else."""
    model = values.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise _odd("its model is no BPE")
    for way in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        _check_way(way, values.get(way))
    _check_padding(values.get("padding"))
    tokens = [*(model["vocab"] if isinstance(model.get("vocab"), dict) else ()), *_added(values.get("added_tokens"))]
    affixes = [model.get(name) or "" for name in ("continuing_subword_prefix", "end_of_word_suffix")]
    if any(not isinstance(text, str) or len(text) > MOST_TOKEN for text in [*tokens, *affixes]):
        raise _odd("a token is very long")


def _check_way(way: str, part: object) -> None:
    """One of the ways that text takes: every part is known, and none makes it grow."""
    replaced, waiting = 0, [part]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            kind = one.get("type")
            if kind is not None and kind not in PARTS:
                raise _odd(f"its {way} has a part '{str(kind)[:40]}'")
            replaced += kind == "Replace"
            _check_part(one, kind)
            waiting += one.values()
    if replaced > MOST_REPLACED:
        raise _odd(f"its {way} replaces {replaced} times")


def _check_part(part: dict, kind: object) -> None:
    added = part.get({"Replace": "content", "Prepend": "prepend"}.get(kind), "")
    if not isinstance(added, str) or len(added) > MOST_REPLACED:
        raise _odd("it puts in long texts")
    pattern = part.get("pattern")
    if isinstance(pattern, dict) and "Regex" in pattern and pattern["Regex"] not in PATTERNS:
        raise _odd("it splits by a pattern of its own")
    if kind == "Replace" and not (isinstance(pattern, dict) and (pattern.get("String") or pattern.get("Regex"))):
        raise _odd("it replaces nothing by something")
    for name in ("single", "pair", "ids", "tokens"):
        if isinstance(part.get(name), list) and len(part[name]) > MOST_TEMPLATE_PARTS:
            raise _odd("it puts in many tokens")


def _check_padding(padding: object) -> None:
    if not isinstance(padding, dict):
        return
    strategy = padding.get("strategy")
    sizes = [strategy.get("Fixed") if isinstance(strategy, dict) else 0, padding.get("pad_to_multiple_of") or 0]
    if any(type(size) is not int or size > MOST_PADDED for size in sizes):
        raise _odd("it makes every text very long")


def _added(tokens: object) -> list:
    return [one.get("content") for one in tokens if isinstance(one, dict)] if isinstance(tokens, list) else []


def _odd(words: str) -> UserError:
    return UserError(f"tokenizer.json is not a Llama's: {words}.", "Such tokenizers do not run here.")
