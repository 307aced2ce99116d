"""Arms beside each other: intervals over seeds, differences with items and seeds drawn together, Holm's correction.

    seeds_interval(values)                          of one arm's values, a seed each
    spread_of(values_of_all_arms)                   how far seeds are apart, in all arms together
    compare_arms(arm, other, score, spread)         the difference of two arms, the same items and seeds in the same order
    holm(p)                                         for many comparisons at once

Another training has other seeds, and another exam other items: a difference is decided only where it would stand with both.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.results import Difference
from evaluation.scores import Array, Parts, Score
from evaluation.statistics import (
    LEVEL,
    MIN_DIFFERENCE,
    MIN_ITEMS,
    RESAMPLES,
    SIGNIFICANCE,
    Interval,
    difference,
    direction,
    swap_test,
)

MIN_P = 1e-9
RESAMPLES_PER_COMPARISON = 50  # so that the smallest p of a permutation, corrected for all of them, decides


def seeds_interval(values: Sequence[float]) -> Interval:
    """Return the 95 % interval of the mean of these values, two at least, by Student's t."""
    from scipy.stats import sem, t

    mean, error = float(np.mean(values)), float(sem(values))
    half = float(t.ppf((1 + LEVEL) / 2, len(values) - 1)) * error
    return mean - half, mean + half


@dataclass(frozen=True)
class Spread:
    """The variance of a score from seed to seed, and the degrees of freedom with which it is known."""

    variance: float = 0.0
    freedom: int = 0


def spread_of(values: Iterable[Sequence[float]]) -> Spread:
    """Return how far the seeds of arms are apart, of values `(arms, seeds)`: the mean over the arms that have several."""
    several = [one for one in values if len(one) > 1]
    freedom = sum(len(one) - 1 for one in several)
    squares = sum(float(np.var(one, ddof=1)) * (len(one) - 1) for one in several)
    return Spread(squares / freedom, freedom) if freedom else Spread()


def compare_arms(
    arm: Sequence[Sequence[Parts]],
    other: Sequence[Sequence[Parts]],
    score: Score,
    spread: Spread = Spread(),
    seed: int = 0,
    comparisons: int = 1,
) -> Difference:
    """Return an arm minus another one, of parts `(seeds, items, parts)`, and the verdict; the mean over the seeds.

    Items and seeds are in one order in both; an arm with one seed beside several of the other is the same for each of them.
    With one seed in both, nothing is known of seeds: it is `evaluation.statistics.difference`.

    Items and seeds are crossed and both drawn at random (Clark 1973, doi 10.1016/S0022-5371(73)80014-3). The variance of the
    mean is V_items + V_seeds - V_rest and never below the larger of the first two, as with two-way clusters (Cameron, Gelbach
    and Miller 2011, doi 10.1198/jbes.2010.07136), of jackknife pseudo-values, so that a score of a whole corpus has one, too.
    Three seeds hardly tell a variance: V_seeds is that of these two arms, or, where that says more, at least the `spread` of all
    arms, with whose degrees of freedom it is known; one arm with wild seeds then takes nothing from the others. Each variance
    is taken times the square of its own t (Howe 1974, JASA 69, 789-794): one t with Satterthwaite's degrees of freedom decides
    something among six equal arms 20 % of the time. What the t decides, a permutation of the items has to decide as well: few
    answers of yes and no are not normal. `comparisons` says for how many the p is going to be corrected.
    """
    resamples = max(RESAMPLES, RESAMPLES_PER_COMPARISON * comparisons)
    if len(arm) == len(other) == 1:
        return difference(other[0], arm[0], score, seed, resamples=resamples)
    seeds, n = max(len(arm), len(other)), len(arm[0])
    own, beside = (np.broadcast_to(np.asarray(parts, float), (seeds, *np.shape(parts)[1:])) for parts in (arm, other))
    value = float((score.total(own.sum(1)) - score.total(beside.sum(1))).mean())
    if np.array_equal(own, beside):
        return Difference(0.0, 0.0, 0.0, n, 1.0, "undecided")
    if n < 2:
        return Difference(value, -math.inf, math.inf, n, 1.0, "undecided")
    of_seeds = Spread(spread.variance * sum(len(one) > 1 for one in (arm, other)) / seeds, spread.freedom)
    half, p = _half_width_and_p(_pseudo_values(own, score) - _pseudo_values(beside, score), value, of_seeds)
    low, high = value - half, value + half
    if p < SIGNIFICANCE:

        def total(sums: Array) -> Array:
            return score.total(sums.reshape(*sums.shape[:-1], seeds, -1)).mean(-1)

        in_rows = [parts.transpose(1, 0, 2).reshape(n, -1) for parts in (beside, own)]
        p = max(p, swap_test(*in_rows, total, seed, resamples))
    if p < SIGNIFICANCE and n >= MIN_ITEMS and abs(value) >= MIN_DIFFERENCE:
        return Difference(value, low, high, n, p, direction(value, score))
    return Difference(value, min(low, 0.0), max(high, 0.0), n, max(p, SIGNIFICANCE), "undecided")


def _pseudo_values(parts: Array, score: Score) -> Array:
    """Return what each item says of the score, `(seeds, items)`, of parts `(seeds, items, parts)`; for a mean, its values.

    Tukey's: n times the score less n - 1 times the score without the item.
    """
    n, sums = parts.shape[1], parts.sum(1, keepdims=True)
    return n * score.total(sums) - (n - 1) * score.total(sums - parts)


def _half_width_and_p(values: Array, mean: float, of_seeds: Spread) -> tuple[float, float]:
    """Return half of the 95 % interval of the mean of values `(seeds, items)`, and the p of a mean that is 0 in truth.

    `of_seeds` is the variance of the mean that comes from seeds, as all arms tell.
    """
    from scipy.optimize import brentq
    from scipy.stats import t

    seeds, n = values.shape
    by_item, by_seed = values.mean(0), values.mean(1)
    rest = values - by_item - by_seed[:, None] + values.mean()
    own, of_items = by_seed.var(ddof=1) / seeds, by_item.var(ddof=1) / n
    of_rest = (rest**2).sum() / ((n - 1) * (seeds - 1)) / rest.size
    ways = np.array([[own, seeds - 1], [max(own, of_seeds.variance), max(seeds - 1, of_seeds.freedom)]])

    def half_width(p: float) -> float:
        squares = t.isf(p / 2, [n - 1, (n - 1) * (seeds - 1)]) ** 2 * [of_items, of_rest]
        with_seeds = (t.isf(p / 2, ways[:, 1]) ** 2 * ways[:, 0]).min()
        return math.sqrt(max(squares[0] + with_seeds - squares[1], squares[0], with_seeds))

    p = MIN_P
    if half_width(MIN_P) > abs(mean):
        p = float(brentq(lambda p: half_width(p) - abs(mean), MIN_P, 1))
    return half_width(SIGNIFICANCE), p


def holm(p: Sequence[float]) -> list[float]:
    """Return each p as Holm's step-down method raises it for all of them at once (1979, Scandinavian J. of Statistics 6, 65-70).

    Whoever decides where it is below 0.05 errs in any of them 5 % of the time at most, however they hang together.
    """
    order, count = np.argsort(p), len(p)
    raised = np.empty(count)
    raised[order] = np.minimum(np.maximum.accumulate((count - np.arange(count)) * np.asarray(p, float)[order]), 1)
    return raised.tolist()
