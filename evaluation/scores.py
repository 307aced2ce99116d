"""Scores of answers. Each is a function of numbers that add up over the items: a mean, a ratio of sums, or of a whole corpus.

    scores = scores_with(config.format_rule)
    parts = [scores["chrf"].per_item(item, result) for ...]    a tuple of numbers for each item, or None
    scores["chrf"].value(parts)                                of all of them; of one: scores["chrf"].value(parts[:1])

So one bootstrap resamples any of them (evaluation/statistics.py). An item is left out of a score where `per_item` is None:
what the score needs was not measured, or is not a number.
"""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from common.language import Sentence, _
from common.words import Unit, in_unit
from data.test_sets import Item
from evaluation.config import EvaluationConfig
from evaluation.format_rule import read_rule
from evaluation.results import Needs, Result
from evaluation.text_match import Array, Parts, chrf, chrf_counts, normalised, rouge_l, token_f1

MAX_COMPARED_CHARACTERS = 50_000  # of an answer and of its reference: chrF takes 700 bytes and 2 microseconds for each


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
    needs: Needs
    fits: Callable[[str, Collection[str]], bool]
    per_item: Callable[[Item, Result], Parts | None]
    total: Callable[[Array], Array] = mean
    higher_is_better: bool | None = True
    unit: Unit = "share"

    def value(self, parts: Sequence[Parts]) -> float:
        """Return the score of these items; at least one."""
        return float(self.total(np.sum(np.asarray(parts, float), axis=0)))

    def text(self, value: float) -> str:
        """Return a value, or a difference, as it is shown: shares in points of 100, nats with three places."""
        return in_unit(value, self.unit)


def scores_with(format_rule: str = "") -> dict[str, Score]:
    """Return all scores by name, `format` by this rule; without one it is left out. Raises UserError for what is no rule."""
    if not format_rule.strip():
        return {name: score for name, score in SCORES.items() if name != "format"}
    follows = read_rule(format_rule)

    def per_item(item: Item, result: Result) -> Parts | None:
        return _share(follows(result["answer"].strip())) if "answer" in result else None

    return SCORES | {"format": replace(SCORES["format"], per_item=per_item)}


def wanted_scores(config: EvaluationConfig, kind: str, labels: Collection[str]) -> list[Score]:
    """Return the scores that an evaluation computes on a test set: those that are named, else all, as far as they fit."""
    scores = scores_with(config.format_rule)
    return [scores[name] for name in config.scores or scores if scores[name].fits(kind, labels)]


def macro_f1(sums: Array) -> Array:
    """Return the mean of F1 over the labels that are there, of summed counts `(..., 3 * labels)`: hits, chosen, true."""
    hits, chosen, true = np.moveaxis(sums.reshape(*sums.shape[:-1], -1, 3), -1, 0)
    both = chosen + true
    return (2 * hits / np.maximum(both, 1)).sum(-1) / np.maximum((both > 0).sum(-1), 1)


def _share(value: float | None) -> Parts | None:
    return None if value is None else (float(value), 1.0)


def _of_answer(compare: Callable[[str, str], float]) -> Callable[[Item, Result], Parts | None]:
    """Return a `per_item` that compares a candidate's answer with the reference, white space around them aside."""

    def per_item(item: Item, result: Result) -> Parts | None:
        if "answer" not in result or "answer" not in item:
            return None
        return _share(compare(*_compared(item, result)))

    return per_item


def _compared(item: Item, result: Result) -> tuple[str, str]:
    """Return the answer and its reference, as far as they are compared."""
    answer, reference = (text.strip()[:MAX_COMPARED_CHARACTERS] for text in (result["answer"], item["answer"]))
    return answer, reference


def _of_result(key: Literal["ended", "is_repeating", "new_tokens"]) -> Callable[[Item, Result], Parts | None]:
    """Return a `per_item` that takes one value of the result."""
    return lambda item, result: _share(result.get(key))


def _loss(item: Item, result: Result) -> Parts | None:
    loss, tokens = result.get("loss", math.nan), result.get("tokens", 0)
    return (loss, float(tokens)) if math.isfinite(loss) and tokens > 0 else None


def _chrf(item: Item, result: Result) -> Parts | None:
    if "answer" not in result or "answer" not in item:
        return None
    return chrf_counts(*_compared(item, result))


def _chosen(item: Item, result: Result, by_length: bool) -> str | None:
    """Return the likeliest choice, by length or not; None where one is not a number, or the answer is none of them."""
    losses, choices = result.get("choice_losses", []), item.get("choices", [])
    if not choices or len(losses) != len(choices) or not all(map(math.isfinite, losses)):
        return None
    if item.get("answer") not in choices:
        return None
    lengths = [max(len(choice), 1) if by_length else 1 for choice in choices]
    return choices[int(np.argmin(np.divide(losses, lengths)))]


def _is_chosen(by_length: bool) -> Callable[[Item, Result], Parts | None]:
    """Return a `per_item` that says whether the likeliest choice is the answer."""

    def per_item(item: Item, result: Result) -> Parts | None:
        chosen = _chosen(item, result, by_length)
        return None if chosen is None else _share(chosen == item["answer"])

    return per_item


def _label_counts(item: Item, result: Result) -> Parts | None:
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
