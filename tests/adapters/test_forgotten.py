"""What was forgotten, in words, from files that anybody may have written."""

import math

import pytest

from adapters.forgotten import Forgotten, forgotten_in, general_nats


@pytest.mark.parametrize(
    ("rise", "words"),
    [
        (-0.2, "On general text the loss fell by 0.20 nats (3,900 tokens)."),
        (0.004, "On general text the loss stayed as it was (3,900 tokens): nothing was forgotten."),
        (0.03, "On general text the loss rose by 0.03 nats (3,900 tokens): little was forgotten."),
        (0.08, "On general text the loss rose by 0.08 nats (3,900 tokens): some was forgotten."),
        (0.2, "On general text the loss rose by 0.20 nats (3,900 tokens): much was forgotten."),
    ],
)
def test_a_rise_of_the_loss_is_told_with_what_it_means(rise, words):
    assert Forgotten("general", 3.0, 3.0 + rise, 3900).words() == words


def test_what_is_no_measurement_counts_as_none():
    good = {"before": 3.0, "after": 3.5, "tokens": 10}
    wrong = [None, 3, {}, {**good, "before": "3"}, {**good, "after": math.nan}, {**good, "tokens": 0}]
    assert [forgotten_in({"forgotten": {"general": one}}) for one in wrong] == [[]] * len(wrong)
    assert forgotten_in({}) == forgotten_in({"forgotten": [good]}) == []
    found = forgotten_in({"forgotten": {"exam": good, "general": good}})
    assert [one.test_set for one in found] == ["exam", "general"] and found[0].words().startswith("On “exam” the loss")
    assert general_nats({"forgotten": {"general": good}}) == 0.5 and general_nats({"forgotten": {"exam": good}}) is None
