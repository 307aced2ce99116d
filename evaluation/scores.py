"""Scores of answers. Each is a function of numbers that add up over the items: a mean, a ratio of sums, or of a whole corpus.

    scores = scores_with(config.format_rule)
    parts = [scores["chrf"].per_item(item, result) for ...]    a tuple of numbers for each item, or None
    scores["chrf"].value(parts)                                of all of them; of one: scores["chrf"].value(parts[:1])

So one bootstrap resamples any of them (evaluation/statistics.py). An item is left out of a score where `per_item` is None:
what the score needs was not measured, or is not a number.
"""

import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from common.language import Sentence, _
from evaluation.format_rule import read_rule
from evaluation.results import Result

if TYPE_CHECKING:
    from data.test_sets import Item

Array = NDArray[np.float64]
Parts = tuple[float, ...]

CHRF_ORDER, CHRF_BETA = 6, 2  # chrF2, sacrebleu's default
MAX_ROUGE_WORDS = 1_000  # of each text: the longest common subsequence takes the square of it
HANGUL = re.compile(r"[\uac00-\ud7a3]")
NUMBER_SIGN = re.compile(r"(?<!\w)-(?=\d)|(?<=\d)[.:/-](?=\d)")


def mean(sums: Array) -> Array:
    """Return the first of two sums `(..., 2)` over the second: (values, items) or (nats, tokens)."""
    return sums[..., 0] / sums[..., 1]


@dataclass(frozen=True)
class Score:
    """One score: what it needs of a candidate, what each item adds, and what the sums are worth.

    Of `per_item` the numbers add up; `total` takes their sums `(..., parts)` to values `(...)`. `fits` says of a test set's
    kind and labels whether the score is asked for. `higher_is_better` is None where neither is. Shares are from 0 to 1.
    """

    name: str
    title: Sentence
    help: Sentence
    needs: Literal["loss", "choices", "answer"]
    fits: Callable[[str, Collection[str]], bool]
    per_item: Callable[["Item", Result], Parts | None]
    total: Callable[[Array], Array] = mean
    higher_is_better: bool | None = True
    unit: Literal["share", "nats", "tokens"] = "share"

    def value(self, parts: Sequence[Parts]) -> float:
        """Return the score of these items; at least one."""
        return float(self.total(np.sum(np.asarray(parts, float), axis=0)))

    def text(self, value: float) -> str:
        """Return a value, or a difference, as it is shown: shares in points of 100, nats with three places."""
        return {"share": f"{100 * value:.1f}", "nats": f"{value:.3f}", "tokens": f"{value:.1f}"}[self.unit]


def scores_with(format_rule: str = "") -> dict[str, Score]:
    """Return all scores by name, `format` by this rule; without one it is left out. Raises UserError for what is no rule."""
    if not format_rule.strip():
        return {name: score for name, score in SCORES.items() if name != "format"}
    follows = read_rule(format_rule)

    def per_item(item: "Item", result: Result) -> Parts | None:
        return _share(follows(result["answer"].strip())) if "answer" in result else None

    return SCORES | {"format": replace(SCORES["format"], per_item=per_item)}


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


def macro_f1(sums: Array) -> Array:
    """Return the mean of F1 over the labels that are there, of summed counts `(..., 3 * labels)`: hits, chosen, true."""
    hits, chosen, true = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3), -1, 0)
    both = chosen + true
    return (2 * hits / np.maximum(both, 1)).sum(-1) / np.maximum((both > 0).sum(-1), 1)


def _share(value: float | None) -> Parts | None:
    return None if value is None else (float(value), 1.0)


def _of_answer(compare: Callable[[str, str], float]) -> Callable[["Item", Result], Parts | None]:
    """Return a `per_item` that compares a candidate's answer with the reference, white space around them aside."""

    def per_item(item: "Item", result: Result) -> Parts | None:
        if "answer" not in result or "answer" not in item:
            return None
        return _share(compare(result["answer"].strip(), item["answer"].strip()))

    return per_item


def _of_result(key: Literal["ended", "is_repeating", "new_tokens"]) -> Callable[["Item", Result], Parts | None]:
    """Return a `per_item` that takes one value of the result."""
    return lambda item, result: _share(result.get(key))


def _loss(item: "Item", result: Result) -> Parts | None:
    loss, tokens = result.get("loss", math.nan), result.get("tokens", 0)
    return (loss, float(tokens)) if math.isfinite(loss) and tokens > 0 else None


def _chrf(item: "Item", result: Result) -> Parts | None:
    if "answer" not in result or "answer" not in item:
        return None
    return chrf_counts(result["answer"].strip(), item["answer"].strip())


def _chosen(item: "Item", result: Result, by_length: bool) -> str | None:
    """Return the likeliest choice, by length or not; None where one is not a number, or the answer is none of them."""
    losses, choices = result.get("choice_losses", []), item.get("choices", [])
    if not choices or len(losses) != len(choices) or not all(map(math.isfinite, losses)):
        return None
    if item.get("answer") not in choices:
        return None
    lengths = [max(len(choice), 1) if by_length else 1 for choice in choices]
    return choices[int(np.argmin(np.divide(losses, lengths)))]


def _is_chosen(by_length: bool) -> Callable[["Item", Result], Parts | None]:
    """Return a `per_item` that says whether the likeliest choice is the answer."""

    def per_item(item: "Item", result: Result) -> Parts | None:
        chosen = _chosen(item, result, by_length)
        return None if chosen is None else _share(chosen == item["answer"])

    return per_item


def _label_counts(item: "Item", result: Result) -> Parts | None:
    chosen = _chosen(item, result, by_length=False)
    if chosen is None:
        return None
    answer = item["answer"]
    return tuple(
        float(count)
        for label in sorted(item["choices"])
        for count in (label == chosen == answer, label == chosen, label == answer)
    )


def _any(kind: str, labels: Collection[str]) -> bool:
    return True


def _asks(kind: str, labels: Collection[str]) -> bool:
    return kind == "conversations"


def _has_labels(kind: str, labels: Collection[str]) -> bool:
    return bool(labels)


def _has_no_labels(kind: str, labels: Collection[str]) -> bool:
    return kind == "conversations" and not labels


SCORES = {
    score.name: score
    for score in (
        Score(
            "loss",
            _("Loss per token"),
            _("How unlikely the right answers, or the texts, are to the model: nats per token, over all tokens."),
            "loss",
            _any,
            _loss,
            higher_is_better=False,
            unit="nats",
        ),
        Score(
            "exact",
            _("Exact match"),
            _("Answers that are the right one, but for case, punctuation, articles and white space."),
            "answer",
            _asks,
            _of_answer(lambda answer, reference: normalised(answer) == normalised(reference)),
        ),
        Score(
            "label_accuracy",
            _("Label accuracy"),
            _("Questions whose likeliest label is the right one."),
            "choices",
            _has_labels,
            _is_chosen(by_length=False),
        ),
        Score(
            "macro_f1",
            _("Macro F1"),
            _("F1 of the likeliest label, the mean over the labels: a rare one counts as much as a frequent one."),
            "choices",
            _has_labels,
            _label_counts,
            macro_f1,
        ),
        Score(
            "choice_accuracy",
            _("Multiple choice"),
            _("Questions whose likeliest choice is the right one; likelihood per character, as lm-eval's acc_norm."),
            "choices",
            _has_no_labels,
            _is_chosen(by_length=True),
        ),
        Score(
            "token_f1",
            _("Token F1"),
            _("Words that answer and reference share, as for SQuAD; syllables in Korean, as for KorQuAD."),
            "answer",
            _asks,
            _of_answer(token_f1),
        ),
        Score(
            "chrf",
            _("chrF"),
            _("Runs of 1 to 6 characters that answers and references share, over all answers (chrF2, sacrebleu)."),
            "answer",
            _asks,
            _chrf,
            chrf,
        ),
        Score(
            "rouge_l",
            _("ROUGE-L"),
            _("The longest series of words that answer and reference share, in this order."),
            "answer",
            _asks,
            _of_answer(rouge_l),
        ),
        Score(
            "format",
            _("Follows the format"),
            _("Answers that the whole regular expression, or the JSON schema, fits."),
            "answer",
            _asks,
            lambda item, result: None,
        ),
        Score(
            "stop_rate",
            _("Ends by itself"),
            _("Answers that end before the limit of tokens."),
            "answer",
            _asks,
            _of_result("ended"),
        ),
        Score(
            "repetition_rate",
            _("Repeats itself"),
            _("Answers that end in one piece, written again and again."),
            "answer",
            _asks,
            _of_result("is_repeating"),
            higher_is_better=False,
        ),
        Score(
            "length",
            _("Length"),
            _("Tokens of an answer."),
            "answer",
            _asks,
            _of_result("new_tokens"),
            higher_is_better=None,
            unit="tokens",
        ),
    )
}
