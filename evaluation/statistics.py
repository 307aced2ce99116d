"""Intervals, tests and verdicts: what the score of some items says of all that could have been asked.

    estimate(parts, score, seed)                            a score with its 95 % interval
    difference(of_reference, of_candidate, score, seed)     of the same items in the same order
    verdict_sentence(difference, score)                     in words

Items are drawn again, not their values: corpus-level scores have intervals, too. Shares of yes and no have exact tests and closed
intervals, because a bootstrap of few or one-sided ones is too narrow. What scipy has is scipy's.
"""

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from common.language import Sentence, _, n_
from common.words import amount, count_in_words
from evaluation.results import Difference, ScoreEstimate, Verdict
from evaluation.scores import Array, Parts, Score, mean

LEVEL = 0.95
SIGNIFICANCE = 1 - LEVEL
POWER = 0.8
RESAMPLES = 4_000
MIN_ITEMS = 10  # of fewer nothing is decided
MIN_DIFFERENCE = 0.0005  # of any score; a smaller one is not shown, and other batches round as much
MAX_JACKKNIFE_ITEMS = 2_000  # the acceleration of BCa takes the square of it, and vanishes as 1 / sqrt(n)
MAX_DRAWN = 2_000_000  # items drawn at once: 16 MB for each of a few arrays

Interval = tuple[float, float]


def estimate(parts: Sequence[Parts], score: Score, seed: int = 0) -> ScoreEstimate:
    """Return the score of these items, at least one, with its 95 % interval.

    Wilson's for a share of yes and no; else BCa. Of one item nothing is known: its interval is infinite.
    """
    values = np.asarray(parts, float)
    if _is_yes_or_no(values, score):
        from scipy.stats import binomtest

        interval = binomtest(round(values[:, 0].sum()), len(values)).proportion_ci(LEVEL, "wilson")
        low, high = float(interval.low), float(interval.high)
    else:
        (low, high), _error = _bootstrap(values, score.total, seed)
    return ScoreEstimate(score.value(parts), low, high, len(values))


def difference(
    reference: Sequence[Parts], candidate: Sequence[Parts], score: Score, seed: int = 0, *, resamples: int = RESAMPLES
) -> Difference:
    """Return candidate minus reference over the same items in the same order, at least one, and the verdict.

    It is decided where test and interval agree; where only one of them decides, the other is moved to its edge (p to 0.05, the
    interval to 0), which makes it more careful, never less. `needed` is the n at which an estimate with this standard error
    reaches the power: n (z_0.975 + z_0.8)^2 (error / difference)^2 (Miller 2024, arXiv 2411.00640, with one answer each).
    The p of a permutation is 2 / (`resamples` + 1) at least.
    """
    from scipy.stats import norm

    before, after = np.asarray(reference, float), np.asarray(candidate, float)
    n, value = len(before), score.value(candidate) - score.value(reference)
    if np.array_equal(before, after):
        return Difference(0.0, 0.0, 0.0, n, 1.0, "undecided")
    if _is_yes_or_no(before, score) and _is_yes_or_no(after, score):
        p, (low, high), error = _of_yes_and_no(after[:, 0] - before[:, 0])
    else:
        p = swap_test(before, after, score.total, seed, resamples)
        (low, high), error = _bootstrap(np.hstack([before, after]), _minus(score.total), seed)
    if p < SIGNIFICANCE and not low <= 0 <= high and n >= MIN_ITEMS and abs(value) >= MIN_DIFFERENCE:
        return Difference(value, low, high, n, p, direction(value, score))
    needed = None
    if abs(value) >= MIN_DIFFERENCE and math.isfinite(error):
        factor = (norm.ppf(1 - SIGNIFICANCE / 2) + norm.ppf(POWER)) ** 2
        needed = max(math.ceil(n * factor * (error / value) ** 2), n + 1, MIN_ITEMS)
    return Difference(value, min(low, 0.0), max(high, 0.0), n, max(p, SIGNIFICANCE), "undecided", needed)


def _is_yes_or_no(values: Array, score: Score) -> bool:
    return score.total is mean and bool(np.isin(values[:, 0], (0, 1)).all() and (values[:, 1] == 1).all())


def direction(value: float, score: Score) -> Verdict:
    """Return what a difference of this sign is called, once it is decided."""
    if score.higher_is_better is None:
        return "different"
    return "better" if (value > 0) == score.higher_is_better else "worse"


def _minus(total: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Return the difference of a total over sums of both, the reference's first."""

    def of_both(sums: Array) -> Array:
        before, after = np.split(sums, 2, axis=-1)
        return total(after) - total(before)

    return of_both


def _bootstrap(parts: Array, total: Callable[[Array], Array], seed: int) -> tuple[Interval, float]:
    """Return the 95 % interval of a total over these items `(n, parts)`, and its standard error.

    BCa, or percentiles where that is not defined or n is large; the level is raised to what t and n - 1 would ask of a mean
    (expanded percentiles: Hesterberg 2015, "What Teachers Should Know About the Bootstrap"). Of 50 values it covers the mean of
    exponential ones 93 %, of lognormal ones with sigma 1 only 90 % of the time.
    """
    from scipy.stats import DegenerateDataWarning, bootstrap, norm, t

    n = len(parts)
    if n < 2:
        return (-math.inf, math.inf), math.inf

    def of_drawn(items: np.ndarray, axis: int = -1) -> Array:
        """Return the totals of sets of items `(..., drawn)`, by how often each is in a set."""
        rows = items.reshape(-1, items.shape[-1])
        places = (rows + n * np.arange(len(rows))[:, None]).ravel()
        counts = np.bincount(places, minlength=n * len(rows)).reshape(len(rows), n)
        return total(counts @ parts).reshape(items.shape[:-1])

    wider = 1 - 2 * norm.cdf(math.sqrt(n / (n - 1)) * t.ppf(SIGNIFICANCE / 2, n - 1))
    settings = {"confidence_level": wider, "batch": max(1, MAX_DRAWN // n), "vectorized": True}
    method = "BCa" if n <= MAX_JACKKNIFE_ITEMS else "percentile"
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        rng = np.random.default_rng(seed)
        found = bootstrap((np.arange(n),), of_drawn, n_resamples=RESAMPLES, method=method, rng=rng, **settings)
        if not np.isfinite(found.confidence_interval).all():
            found = bootstrap(
                (np.arange(n),), of_drawn, n_resamples=0, method="percentile", bootstrap_result=found, **settings
            )
    low, high = map(float, found.confidence_interval)
    return (low, high), float(found.standard_error)


def swap_test(before: Array, after: Array, total: Callable[[Array], Array], seed: int, resamples: int) -> float:
    """Return the p of a permutation test: how often a difference is as large when the two are swapped at random in each item.

    As Monte Carlo, because scipy's permutation_test shuffles the pairs of each item in Python.
    """
    from scipy.stats import monte_carlo_test

    rng, change, both = np.random.default_rng(seed), after - before, np.concatenate([before.sum(0), after.sum(0)])

    def of_swapped(swapped: np.ndarray, axis: int = -1) -> Array:
        moved = swapped @ change
        return _minus(total)(both + np.concatenate([moved, -moved], axis=-1))

    found = monte_carlo_test(
        np.zeros(len(before)),
        lambda size: rng.integers(0, 2, size).astype(float),
        of_swapped,
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, MAX_DRAWN // len(before)),
    )
    return float(found.pvalue)


def _of_yes_and_no(changes: Array) -> tuple[float, Interval, float]:
    """Return p, interval and standard error of the mean of changes that are -1, 0 or 1.

    McNemar's exact test (the binomial of those that changed). The interval is Wald's after half an item is added to each of the
    four cells, which covers 95 % in small samples, too (Agresti and Min 2005, Statistics in Medicine 24, 729-740).
    """
    from scipy.stats import binomtest, norm

    n, gained, lost = len(changes), int((changes > 0).sum()), int((changes < 0).sum())
    p = float(binomtest(gained, gained + lost).pvalue)
    more, less, all_ = gained + 0.5, lost + 0.5, n + 2
    centre = (more - less) / all_
    half = norm.ppf(1 - SIGNIFICANCE / 2) * math.sqrt(more + less - (more - less) ** 2 / all_) / all_
    return p, (max(float(centre - half), -1.0), min(float(centre + half), 1.0)), float(changes.std() / math.sqrt(n))


def verdict_sentence(difference: Difference, score: Score) -> Sentence:
    """Return what a difference says: better or worse by how much, or how many items would be needed to say."""
    if difference.n < 2:
        return _("One row decides nothing.")
    low, high = sorted((abs(difference.low), abs(difference.high)))
    values = {
        "by": amount(abs(difference.value), score.unit),
        "low": score.text(low),
        "high": score.text(high),
        "rows": n_("{count:,} row", "{count:,} rows", difference.n),
    }
    if difference.verdict == "better":
        return _("Better by {by} ({low} to {high}) on {rows}.", **values)
    if difference.verdict == "worse":
        return _("Worse by {by} ({low} to {high}) on {rows}.", **values)
    if difference.verdict == "different":
        more, less = (
            _("{by} more ({low} to {high}) on {rows}.", **values),
            _("{by} less ({low} to {high}) on {rows}.", **values),
        )
        return more if difference.value > 0 else less
    if difference.needed:
        values["needed"] = count_in_words(int(float(f"{difference.needed:.2g}")))
        return _("Not decided on {rows}: about {needed} would show a difference of this size.", **values)
    if difference.low == difference.high:
        return _("The same on {rows}.", **values)
    values |= {"low": score.text(difference.low), "high": score.text(difference.high)}
    return _("Not decided on {rows}: the difference lies between {low} and {high}.", **values)
