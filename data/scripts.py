"""Which writing systems the data is in, and what the tokenizer makes of them: TinyLlama's cuts most Korean into bytes.

A character that is cut into bytes costs up to three tokens, where English takes a quarter of one.
"""

import re
from collections import Counter

from common.language import Sentence, _
from models.prompt import encode_text

RANGES = {
    "Hangul": (_("Hangul"), "\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3"),
    "Kana": (_("Kana"), "\u3040-\u30ff"),
    "Han": (_("Han"), "\u3400-\u4dbf\u4e00-\u9fff"),
    "Cyrillic": (_("Cyrillic"), "\u0400-\u052f"),
    "Greek": (_("Greek"), "\u0370-\u03ff"),
    "Arabic": (_("Arabic"), "\u0600-\u06ff"),
    "Hebrew": (_("Hebrew"), "\u0590-\u05ff"),
    "Devanagari": (_("Devanagari"), "\u0900-\u097f"),
    "Bengali": (_("Bengali"), "\u0980-\u09ff"),
    "Tamil": (_("Tamil"), "\u0b80-\u0bff"),
    "Thai": (_("Thai"), "\u0e00-\u0e7f"),
    "Georgian": (_("Georgian"), "\u10a0-\u10ff"),
    "Latin": (_("Latin"), "A-Za-z\u00c0-\u024f"),
}
ENGLISH = "The student reads the question twice, looks at the drawing, and then explains to her friend what she found. "
MAX_SAMPLE_CHARACTERS = 200_000
MIN_SHARE = 0.01
COSTLY = 1.0  # tokens a character


def describe_scripts(texts: list[str], tokenizer, max_length: int) -> list[Sentence]:
    """Say what each writing system of these texts costs that takes a token a character or more, the commonest first.

    Those of few letters are left out.
    """
    sample = "\n".join(texts)[:MAX_SAMPLE_CHARACTERS]
    words = {script: re.findall(f"[{letters}]+", sample) for script, (_name, letters) in RANGES.items()}
    letters = Counter({script: sum(map(len, found)) for script, found in words.items()})
    english = len(encode_text(ENGLISH * 10, tokenizer)) / len(ENGLISH * 10)
    found = []
    for script, count in letters.most_common():
        share = count / max(1, letters.total())
        if share < MIN_SHARE:
            continue
        cost, byte_share = _cost(" ".join(words[script])[:20_000], tokenizer)
        if cost < COSTLY:
            continue
        sentence = _(
            "{share:.0%} of the letters are {script}, for which this tokenizer needs {cost:.1f} tokens per character "
            "({byte_share:.0%} of them single bytes): {times} times as many as for English. The limit of {most:,} tokens "
            "(max_length) holds about {characters:,} characters. The model can learn it, but more slowly.",
            share=share,
            script=RANGES[script][0],
            cost=cost,
            byte_share=byte_share,
            times=round(cost / english),
            most=max_length,
            characters=round(max_length / cost),
        )
        found.append(sentence)
    return found


def _cost(text: str, tokenizer) -> tuple[float, float]:
    """Return tokens a character, and which part of the tokens is a piece of a character."""
    ids = encode_text(text, tokenizer)
    looked_at = ids[:5000]
    pieces = sum(
        bool(re.fullmatch("<0x[0-9A-F]{2}>", name)) or "\ufffd" in tokenizer.decode([token])
        for token, name in zip(looked_at, tokenizer.convert_ids_to_tokens(looked_at), strict=True)
    )
    return len(ids) / max(1, len(text)), pieces / max(1, len(looked_at))
