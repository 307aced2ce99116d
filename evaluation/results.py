"""What an evaluation finds: of one item, of one score, and of the difference between two candidates."""

from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

from common.language import Sentence

Needs = Literal["loss", "choices", "answer"]  # what is measured of an item, as scores ask for it
Verdict = Literal["better", "worse", "different", "undecided"]  # different: of a score where neither end is better


class Result(TypedDict):
    """What one candidate did with one item of a test set; what was not asked of it is not there.

    Losses are sums of -log p in nats: over the `tokens` of the reference answer (or of a plain text), and over each choice.
    """

    item: int  # the item's number in its test set
    loss: NotRequired[float]
    tokens: NotRequired[int]
    choice_losses: NotRequired[list[float]]  # in the order of the item's choices
    answer: NotRequired[str]
    new_tokens: NotRequired[int]
    ended: NotRequired[bool]  # by itself, not by the limit
    is_repeating: NotRequired[bool]
    is_cut: NotRequired[bool]  # the prompt did not fit: older turns, or the start of a text, were left out


@dataclass(frozen=True)
class ScoreEstimate:
    """A score of one candidate over `n` items, with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Difference:
    """Candidate minus reference over the same `n` items, paired, with its 95 % interval; positive is not always better.

    `needed` is the number of items at which this difference would be seen with 80 % power, None where it was decided or is 0.
    """

    value: float
    low: float
    high: float
    n: int
    p: float
    verdict: Verdict
    needed: int | None = None


@dataclass(frozen=True)
class Line:
    """One row of the table of results: a score of a candidate on a test set, beside the first candidate."""

    test_set: str
    score: str  # a name in evaluation.scores.SCORES
    candidate: str
    estimate: ScoreEstimate
    difference: Difference | None  # None for the first candidate
    notes: tuple[Sentence, ...] = ()
