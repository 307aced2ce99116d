"""Intervals cover, tests do not cry wolf, verdicts agree with both: simulations with seeds, and values of scipy.

A simulation fails where its count is significantly (1 %) on the wrong side of the bound: of 400 intervals that cover 89 % it
would find that out 7 times of 10, of 400 tests that decide 9 % of equal pairs 8 times of 10.
"""

import time
from functools import partial

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test

from evaluation import statistics
from evaluation.results import Difference
from evaluation.scores import SCORES
from evaluation.statistics import MIN_ITEMS, difference, estimate, verdict_sentence

EXACT, F1, LOSS, CHRF, LENGTH = (SCORES[name] for name in ("exact", "token_f1", "loss", "chrf", "length"))


@pytest.fixture
def fewer_resamples(monkeypatch):
    """A simulation takes a quarter of the time; what is drawn less often is a little less sure."""
    monkeypatch.setattr(statistics, "RESAMPLES", 1_000)


def each(values) -> np.ndarray:
    """The parts of a mean."""
    values = np.asarray(values, float)
    return np.stack([values, np.ones_like(values)], axis=-1)


def yes(draw, n: int, p: float) -> np.ndarray:
    return each(draw.random(n) < p)


def nats(draw, n: int, shape: float = 2) -> np.ndarray:
    """Skewed losses of answers of 1 to 40 tokens, `shape` nats per token."""
    tokens = draw.integers(1, 41, n)
    return np.stack([tokens * draw.gamma(shape, size=n), tokens], axis=1)


def is_at_least(count: int, of: int, share: float) -> bool:
    return binomtest(count, of, share, alternative="less").pvalue > 0.01


@pytest.mark.parametrize(
    ("score", "draw_parts", "truth", "n", "draws"),
    [
        *((EXACT, partial(yes, p=p), p, n, 800) for p in (0.1, 0.5, 0.9) for n in (50, 500)),
        (F1, lambda draw, n: each(draw.beta(0.5, 0.5, n)), 0.5, 50, 400),
        (LOSS, nats, 2, 50, 400),
        (LOSS, nats, 2, 500, 60),
        (LOSS, partial(nats, shape=1), 1, 200, 150),
    ],
)
def test_an_interval_covers_the_truth_93_percent_of_the_time(fewer_resamples, score, draw_parts, truth, n, draws):
    draw = np.random.default_rng(7)
    found = [estimate(draw_parts(draw, n), score, seed) for seed in range(draws)]
    covered = sum(one.low <= truth <= one.high for one in found)
    assert is_at_least(covered, draws, 0.93), covered / draws
    assert {one.n for one in found} == {n} and all(one.low <= one.value <= one.high for one in found)


@pytest.mark.parametrize(
    ("score", "draw_pair", "truth", "draws"),
    [
        (EXACT, lambda draw: (yes(draw, 50, 0.1), yes(draw, 50, 0.2)), 0.1, 1000),
        (EXACT, lambda draw: (yes(draw, 100, 0.5), yes(draw, 100, 0.9)), 0.4, 1000),
        (LOSS, lambda draw: (nats(draw, 100), nats(draw, 100, 1.5)), -0.5, 200),
    ],
)
def test_the_interval_of_a_difference_covers_it_93_percent_of_the_time(fewer_resamples, score, draw_pair, truth, draws):
    draw = np.random.default_rng(8)
    found = [difference(*draw_pair(draw), score, seed) for seed in range(draws)]
    assert is_at_least(sum(one.low <= truth <= one.high for one in found), draws, 0.93)


@pytest.mark.parametrize(
    ("score", "draw_pair", "draws"),
    [
        (EXACT, lambda draw: (yes(draw, 200, 0.9), yes(draw, 200, 0.9)), 1000),
        (EXACT, lambda draw: (yes(draw, 50, 0.5), yes(draw, 50, 0.3)), 1000),
        (LOSS, lambda draw: (nats(draw, 50), nats(draw, 50, 3)), 400),
        (F1, lambda draw: (each(draw.beta(0.5, 0.5, 60)), each(draw.beta(2, 1, 60))), 400),
    ],
)
def test_pairs_that_are_swapped_at_random_are_decided_5_percent_of_the_time_at_most(
    fewer_resamples, score, draw_pair, draws
):
    draw = np.random.default_rng(9)
    decided = 0
    for seed in range(draws):
        one, other = draw_pair(draw)
        swapped = draw.random(len(one)) < 0.5
        pair = np.where(swapped[:, None], other, one), np.where(swapped[:, None], one, other)
        decided += difference(*pair, score, seed).verdict != "undecided"
    assert binomtest(decided, draws, 0.05, alternative="greater").pvalue > 0.01, decided / draws


def test_the_same_adapter_twice_is_never_decided_nor_is_the_rounding_of_other_batches():
    draw = np.random.default_rng(10)
    for score, parts in ((EXACT, yes(draw, 1000, 0.5)), (LOSS, nats(draw, 1000)), (F1, each(draw.random(1000)))):
        assert difference(parts, parts, score) == Difference(0, 0, 0, 1000, 1, "undecided")
    parts = nats(draw, 1000)
    again = difference(parts, parts + np.array([1e-4, 0]), LOSS)
    assert again.verdict == "undecided" and again.needed is None


def test_verdict_interval_and_p_never_contradict(fewer_resamples):
    draw = np.random.default_rng(11)
    verdicts = []
    for seed in range(300):
        n = int(draw.integers(2, 60))
        one, shift = draw.random(n), draw.normal(0, 0.3)
        pair = (one, one + shift + draw.normal(0, 0.5, n)) if seed % 2 else (one < 0.5, draw.random(n) < 0.5 + shift)
        found = difference(each(pair[0]), each(pair[1]), EXACT, seed)
        verdicts.append(found.verdict)
        is_decided = found.verdict != "undecided"
        assert (
            is_decided
            == (found.p < 0.05)
            == (not found.low <= 0 <= found.high)
            == (found.needed is None and found.value != 0)
        )
        assert found.low <= found.value <= found.high and (not is_decided or n >= MIN_ITEMS)
        assert found.verdict == {True: "better", False: "worse"}[found.value > 0] or not is_decided
    assert min(map(verdicts.count, ("better", "worse", "undecided"))) > 20


def test_tests_are_mcnemars_and_the_exact_permutation():
    before, after = np.array([1] * 12 + [0] * 28), np.array([1] * 9 + [0] * 3 + [1] * 14 + [0] * 14)
    found = difference(each(before), each(after), EXACT)
    assert found.p == pytest.approx(binomtest(14, 17).pvalue) and found.verdict == "better"
    draw = np.random.default_rng(12)
    for seed in range(5):
        one, other = draw.random(11), draw.random(11) + 0.15
        theirs = permutation_test(
            (one, other), lambda x, y, axis: y.mean(axis) - x.mean(axis), permutation_type="samples", axis=-1
        )
        found = difference(each(one), each(other), F1, seed)
        assert found.p == pytest.approx(max(theirs.pvalue, 0.05 if found.verdict == "undecided" else 0), abs=0.06)


def test_the_n_that_is_needed_shows_the_difference_four_times_of_five(fewer_resamples):
    draw = np.random.default_rng(13)
    noise = draw.normal(size=40)
    noise = (noise - noise.mean()) / noise.std()
    found = difference(each(np.zeros(40)), each(noise + 0.25), F1)
    assert found.needed == pytest.approx((1.96 + 0.8416) ** 2 / 0.25**2, rel=0.1)  # 126
    n, tries = 126, 200
    seen = [difference(each(np.zeros(n)), each(draw.normal(0.25, 1, n)), F1).verdict for _ in range(tries)]
    assert binomtest(seen.count("better"), tries, 0.8).pvalue > 0.01


def test_a_score_of_the_whole_set_is_compared_as_one():
    draw = np.random.default_rng(14)
    answers = np.cumsum(draw.integers(1, 20, (200, 6, 3))[:, ::-1, ::-1], axis=2)[
        :, :, ::-1
    ]  # shared < reference < given
    before = answers.reshape(200, 18).astype(float)
    after = before.copy()
    after[:, 2::3] = np.minimum(after[:, 2::3] * 1.2, after[:, 1::3])
    found = difference(before, after, CHRF)
    assert found.value == CHRF.value(after) - CHRF.value(before) and found.verdict == "better"
    drawn = [draw.integers(0, 200, 200) for _ in range(1000)]
    spread = np.quantile([CHRF.value(after[one]) - CHRF.value(before[one]) for one in drawn], [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx(tuple(spread), rel=0.1)


def test_few_items_and_odd_ones_have_an_answer():
    assert estimate(each([1, 1, 1, 1]), EXACT).low == pytest.approx(0.51, abs=0.01)  # Wilson's
    assert estimate(each([7, 7, 7]), LENGTH) == estimate(each([7.0] * 3), LENGTH, 5)
    assert difference(each([0] * 50), each([1] * 50), EXACT).high == 1
    assert estimate(each([0.5]), F1).high == float("inf")
    assert difference(each([0.5]), each([0.7]), F1).verdict == "undecided"
    assert difference(each([3] * 20), each([9] * 20), LENGTH).verdict == "different"
    assert difference(each([0] * 9), each([1] * 9), EXACT).verdict == "undecided"


def test_a_table_of_a_thousand_items_takes_seconds():
    draw = np.random.default_rng(15)
    parts = [draw.integers(1, 50, (1000, 18)).astype(float) for _ in range(2)]
    began = time.thread_time()
    estimate(parts[0], CHRF)
    difference(*parts, CHRF)
    # 12 scores of 4 candidates are 84 of these two, half of them without a bootstrap
    assert time.thread_time() - began < 8


@pytest.mark.parametrize(
    ("found", "score", "words"),
    [
        (Difference(0.041, 0.012, 0.07, 500, 0.01, "better"), EXACT, "Better by 4.1 points (1.2 to 7.0) on 500 rows."),
        (
            Difference(-0.12, -0.2, -0.04, 1200, 0.01, "better"),
            LOSS,
            "Better by 0.120 nats (0.040 to 0.200) on 1,200 rows.",
        ),
        (Difference(-0.1, -0.2, -0.05, 50, 0.01, "worse"), F1, "Worse by 10.0 points (5.0 to 20.0) on 50 rows."),
        (Difference(-9, -12, -6, 50, 0.01, "different"), LENGTH, "9.0 tokens less (6.0 to 12.0) on 50 rows."),
        (
            Difference(0.02, -0.01, 0.05, 300, 0.2, "undecided", 1234),
            EXACT,
            "Not decided on 300 rows: about 1,200 would show a difference of this size.",
        ),
        (Difference(0, 0, 0, 300, 1, "undecided"), EXACT, "The same on 300 rows."),
        (
            Difference(0, -0.01, 0.01, 300, 1, "undecided"),
            EXACT,
            "Not decided on 300 rows: the difference lies between -1.0 and 1.0.",
        ),
        (Difference(0.2, float("-inf"), float("inf"), 1, 1, "undecided"), F1, "One row decides nothing."),
    ],
)
def test_a_verdict_is_a_sentence(found, score, words):
    assert verdict_sentence(found, score) == words
