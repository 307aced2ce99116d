"""Equal arms are seldom decided and intervals cover, over items and seeds; values are those of scipy and by hand."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from evaluation.experiments import statistics
from evaluation.experiments.statistics import Spread, compare_arms, holm, seeds_interval, spread_of
from evaluation.results import Difference
from evaluation.scores import SCORES
from evaluation.statistics import difference
from tests.evaluation.test_statistics import each, is_at_least

EXACT, F1, LOSS, CHRF = (SCORES[name] for name in ("exact", "token_f1", "loss", "chrf"))
ITEMS = 60


@pytest.fixture
def fewer_resamples(monkeypatch):
    """A simulation takes a tenth of the time: the permutation decides less, and no interval is another."""
    monkeypatch.setattr(statistics, "RESAMPLES", 1_000)


def arms(draw, score, seeds: int, shift: float = 0.0, of_seeds: float = 0.3) -> list[np.ndarray]:
    """Two arms whose items are hard or easy for both, the first one `shift` higher; each seed moves all its items."""
    item, pair = draw.normal(size=(1, ITEMS)), []
    for more in (shift, 0.0):
        values = item + more + draw.normal(0, of_seeds, (seeds, 1)) + draw.normal(0, 0.7, (seeds, ITEMS))
        pair.append(each(values > 1.5 if score is EXACT else values))
    return pair


@pytest.mark.parametrize("of_seeds", [(0.1,) * 5, (0.5,) * 5, (0.1, 0.1, 0.1, 0.1, 1.0)])
def test_among_six_equal_arms_something_is_decided_5_percent_of_the_time_at_most(fewer_resamples, of_seeds):
    draw, undecided = np.random.default_rng(7), 0
    for _ in range(100):
        arms = [each(draw.normal(0, 1, (1, ITEMS)))]
        for far in of_seeds:
            values = draw.normal(0, far, (3, 1)) + draw.normal(0, 0.7, (1, ITEMS)) + draw.normal(0, 0.7, (3, ITEMS))
            arms.append(each(values))
        spread = spread_of([arm[..., 0].mean(1) for arm in arms])
        found = [compare_arms(*pair, F1, spread, 0, 15) for pair in combinations(arms, 2)]
        raised = holm([one.p for one in found])
        undecided += not any(p < 0.05 for p, one in zip(raised, found, strict=True) if one.verdict != "undecided")
    assert is_at_least(undecided, 100, 0.95), 1 - undecided / 100


@pytest.mark.parametrize("of_seeds", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("score", [EXACT, F1])
def test_equal_arms_are_decided_5_percent_of_the_time_at_most(fewer_resamples, score, seeds, of_seeds):
    draw = np.random.default_rng(1)
    pairs = (arms(draw, score, seeds, 0, of_seeds) for _ in range(400))
    undecided = sum(compare_arms(*pair, score).verdict == "undecided" for pair in pairs)
    assert is_at_least(undecided, 400, 0.95), 1 - undecided / 400


@pytest.mark.parametrize("of_seeds", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_interval_of_a_difference_covers_it_95_percent_of_the_time(fewer_resamples, seeds, of_seeds):
    draw = np.random.default_rng(2)
    found = [compare_arms(*arms(draw, F1, seeds, 0.5, of_seeds), F1) for _ in range(400)]
    assert is_at_least(sum(one.low <= 0.5 <= one.high for one in found), 400, 0.95)


def test_one_arm_under_two_names_is_never_decided():
    arm, _other = arms(np.random.default_rng(3), F1, 3)
    assert compare_arms(arm, arm, F1) == Difference(0, 0, 0, ITEMS, 1, "undecided")
    assert compare_arms(arm, arm + np.array([1e-5, 0]), F1).verdict == "undecided", "the rounding of other batches"


def test_what_one_seed_alone_would_decide_three_seeds_that_disagree_do_not():
    draw = np.random.default_rng(4)
    arm, other = (each(draw.normal(0, 0.1, ITEMS)) for _ in range(2))
    seeds = [arm + np.array([more, 0]) for more in (0.3, 0.02, -0.2)]
    assert difference(other, seeds[0], F1).verdict == "better"
    assert compare_arms(seeds, [other], F1).verdict == "undecided"
    agreeing = [arm + np.array([more, 0]) for more in (0.3, 0.29, 0.31)]
    assert compare_arms(agreeing, [other], F1).verdict == "better"
    assert compare_arms([other], agreeing, LOSS).verdict == "better", "the lower the better"


def test_more_arms_tell_how_far_seeds_are_apart():
    assert spread_of([[0.5], [1, 3], [2, 2, 5]]) == Spread((2 + 6) / 3, 3) and spread_of([[1.0]]) == Spread()
    draw = np.random.default_rng(8)
    item = draw.normal(size=(1, ITEMS))
    arm, other = (each(item + more + np.array([[0.1], [0], [-0.05]]) * side) for more, side in ((0.2, 1), (0, -1)))
    alone, known, wild = (
        compare_arms(arm, other, F1, spread) for spread in (Spread(), Spread(1e-4, 10), Spread(1, 10))
    )
    assert alone.verdict == "undecided" and known.verdict == "better" and alone.high > known.high
    assert wild.p == pytest.approx(alone.p) and wild.high == pytest.approx(alone.high), (
        "what one arm with wild seeds says of others is left out"
    )


def test_an_arm_without_seeds_is_the_same_for_each_and_two_of_them_are_compared_by_items():
    draw = np.random.default_rng(5)
    arm, other = arms(draw, F1, 3, 0.5)
    assert compare_arms(arm, other[:1], F1) == compare_arms(arm, np.repeat(other[:1], 3, 0), F1)
    assert compare_arms(arm[:1], other[:1], F1) == difference(other[0], arm[0], F1)


@pytest.mark.parametrize("seeds", [1, 3])
def test_what_is_plain_is_decided_among_many_arms_too(seeds):
    arm, other = arms(np.random.default_rng(9), F1, seeds, 3)
    assert compare_arms(arm, other, F1, Spread(0.01, 30), comparisons=300).p * 300 < 0.05


def test_four_answers_that_all_turn_right_are_not_enough():
    wrong = np.array([0.0] * 4 + [0, 1] * 23)
    right = np.where(np.arange(50) < 4, 1, wrong)
    found = compare_arms([each(right)] * 3, [each(wrong)] * 3, EXACT)
    assert found.value == pytest.approx(0.08) and found.verdict == "undecided" and found.low == 0 and found.p >= 0.05


def test_a_score_of_the_whole_set_is_the_mean_of_its_seeds():
    draw = np.random.default_rng(6)
    shared, reference, given = (draw.integers(low, low + 20, (3, 80, 6)) for low in (1, 40, 45))
    arm, other = (
        np.stack([given, reference, one], -1).reshape(3, 80, 18).astype(float) for one in (shared + 8, shared)
    )
    found = compare_arms(arm, other, CHRF)
    differences = [CHRF.value(one) - CHRF.value(two) for one, two in zip(arm, other, strict=True)]
    assert found.value == pytest.approx(np.mean(differences))
    assert found.verdict != "undecided" and found.low < found.value < found.high


def test_one_item_or_nine_decide_nothing():
    assert compare_arms([each([1])] * 3, [each([0])] * 3, F1).high == float("inf")
    assert compare_arms([each([1] * 9)] * 3, [each([0] * 9)] * 3, F1).verdict == "undecided"


def test_the_interval_of_an_arm_is_students():
    values = [0.61, 0.58, 0.66, 0.6]
    theirs = ttest_1samp(values, 0).confidence_interval(0.95)
    assert seeds_interval(values) == pytest.approx((theirs.low, theirs.high))
    assert seeds_interval([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_holm_multiplies_the_smallest_p_by_all_and_never_lowers_the_next():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1] and holm([0.2]) == [0.2]
