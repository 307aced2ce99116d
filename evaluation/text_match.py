"""How much of a reference answer an answer has: normalised text, F1 of words or syllables, ROUGE-L, chrF."""

import re
import string
import unicodedata
from collections import Counter
from functools import cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Parts = tuple[float, ...]  # numbers that add up over the items

CHRF_ORDER, CHRF_BETA = 6, 2  # chrF2, sacrebleu's default
MAX_ROUGE_WORDS = 1_000  # of each text: the longest common subsequence takes the square of it
HANGUL = re.compile(r"[\uac00-\ud7a3]")
NUMBER_SIGN = re.compile(r"(?<!\w)-(?=\.?\d)|(?<![\w.])\.(?=\d)|(?<=\d)[.:/-](?=\d)")


def normalised(text: str) -> str:
    """Return an answer as SQuAD v1.1 compares it: lower case, no punctuation, no articles, white space joined.

    Unicode is composed (NFC) first, and punctuation of every script goes, as in KorQuAD. Unlike there, the minus and the
    point of a number stay: -5 is not 5. An answer of punctuation only stays as it is.
    https://rajpurkar.github.io/SQuAD-explorer (evaluate-v1.1.py), https://korquad.github.io (evaluate-v1.0.py)
    """
    text = unicodedata.normalize("NFC", text).strip()
    kept = {match.start() for match in NUMBER_SIGN.finditer(text)}
    plain = "".join(
        letter
        for place, letter in enumerate(text)
        if place in kept or not (letter in string.punctuation or unicodedata.category(letter).startswith("P"))
    )
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", plain.lower()).split()) or text


def token_f1(answer: str, reference: str) -> float:
    """Return SQuAD's F1 over normalised words; over syllables, as KorQuAD's, where the reference holds Hangul."""
    given, wanted = normalised(answer).split(), normalised(reference).split()
    if HANGUL.search(reference):
        given, wanted = list("".join(given)), list("".join(wanted))
    shared = (Counter(given) & Counter(wanted)).total()
    return 2 * shared / (len(given) + len(wanted)) if shared else float(given == wanted)


def rouge_l(answer: str, reference: str) -> float:
    """Return ROUGE-L's F-measure over lower-case words of any script, at most MAX_ROUGE_WORDS of each text."""
    return _rouge_scorer().score(reference, answer)["rougeL"].fmeasure


@cache
def _rouge_scorer():
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenizers import Tokenizer

    class Words(Tokenizer):
        """The library's own drops every letter but a to z."""

        def tokenize(self, text: str) -> list[str]:
            """Return the words."""
            return re.findall(r"[^\W_]+", unicodedata.normalize("NFC", text).lower())[:MAX_ROUGE_WORDS]

    return RougeScorer(["rougeL"], tokenizer=Words())


def chrf_counts(answer: str, reference: str) -> Parts:
    """Return for each length of character n-grams, 1 to 6, how many the answer has, the reference has, and both have."""
    from sacrebleu.metrics.helpers import extract_all_char_ngrams

    both = zip(*(extract_all_char_ngrams(text, CHRF_ORDER, False) for text in (answer, reference)), strict=True)
    return tuple(
        float(count)
        for given, wanted in both
        for count in (given.total() if wanted else 0, wanted.total(), (given & wanted).total())
    )


def chrf(sums: Array) -> Array:
    """Return chrF2 of summed counts `(..., 18)`, from 0 to 1, as sacrebleu computes it for a corpus (Popovic 2015)."""
    given, wanted, shared = np.moveaxis(sums.reshape(*sums.shape[:-1], CHRF_ORDER, 3), -1, 0)
    counts = (given > 0) & (wanted > 0)  # a length that is in both
    orders = np.maximum(counts.sum(-1), 1)
    precision = np.where(counts, shared / np.maximum(given, 1), 0).sum(-1) / orders
    recall = np.where(counts, shared / np.maximum(wanted, 1), 0).sum(-1) / orders
    below = CHRF_BETA**2 * precision + recall
    return np.where(below > 0, (1 + CHRF_BETA**2) * precision * recall / np.where(below > 0, below, 1), 0)
