"""The time left counts evaluations, answers and checkpoints, and falls."""

import math
from itertools import pairwise

import pytest

from trainer.pace import ANSWER, EVALUATE, MAX_ANSWER_SECONDS, MIN_ANSWER_SECONDS, SAVE, TRAIN, Pace, StageWork

STAGE = StageWork(
    10, 100.0, looks_every=4, held_out_rows=6, held_out_tokens=600, has_answers=True, saves_every=5, test_tokens=50
)


@pytest.mark.parametrize(
    ("step", "looked", "looks"),
    [(0, -1, 4), (1, 0, 3), (4, 0, 3), (4, 4, 2), (8, 8, 1), (10, 8, 1), (10, 10, 0)],
)
def test_the_work_left_counts_the_evaluation_of_step_0_the_due_one_and_the_one_at_the_end(step, looked, looks):
    left = STAGE.left(step, looked)
    assert (left[TRAIN], left[EVALUATE], left[ANSWER]) == (100.0 * (10 - step), 650 * looks, looks)
    assert left[SAVE] == 3 - step // 5, "the adapter at the end is one, too"


def test_a_forecast_counts_everything_and_falls_while_the_work_is_as_it_was():
    pace, left, shown, real = Pace(), {**STAGE.left(0, -1)}, [], []
    assert pace.seconds(left) is None, "before the first step nobody knows"
    costs = {TRAIN: (5.0, 100.0), EVALUATE: (13.0, 650.0), ANSWER: (6.0, 1.0), SAVE: (1.0, 1.0)}
    order = [TRAIN, EVALUATE, ANSWER, *[TRAIN] * 3, EVALUATE, ANSWER, TRAIN, SAVE, *[TRAIN] * 3, EVALUATE, ANSWER]
    order += [TRAIN, TRAIN, SAVE, EVALUATE, ANSWER, SAVE]
    for kind in order:
        seconds, amount = costs[kind]
        pace.add(kind, seconds, amount)
        left[kind] -= amount
        shown.append(pace.shown(pace.seconds(left)))
        real.append(sum(costs[each][0] / costs[each][1] * rest for each, rest in left.items()))
    assert all(after <= before for before, after in pairwise(shown)), shown
    assert shown[2:] == pytest.approx(real[2:]) and shown[-1] == 0, "each kind was measured by then"
    assert shown[0] == pytest.approx(real[0], rel=0.2), "by estimates"


def test_a_forecast_that_was_far_too_short_is_put_right_and_noise_is_not_shown():
    pace = Pace()
    assert [pace.shown(seconds) for seconds in (100.0, 90.0, 95.0, 89.0, 120.0, None)] == [100, 90, 90, 89, 120, None]


@pytest.mark.parametrize(
    ("step_seconds", "limit"), [(0.1, MIN_ANSWER_SECONDS), (20.0, 0.05 * 200), (1e4, MAX_ANSWER_SECONDS)]
)
def test_answers_take_a_small_part_of_the_training(step_seconds, limit):
    pace = Pace()
    assert pace.answer_seconds(STAGE) == MAX_ANSWER_SECONDS
    pace.add(TRAIN, step_seconds, 100)
    assert math.isclose(pace.answer_seconds(STAGE), limit)
