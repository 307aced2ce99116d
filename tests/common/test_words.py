"""Durations read like a person says them."""

import pytest

from common.words import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 s"), (5, "5 s"), (89, "89 s"), (600, "10 min"), (5_000, "83 min"), (7_200, "2 h"), (12_000, "3 h 20 min")],
)
def test_durations_read_like_a_person_says_them(seconds, words):
    assert duration(seconds) == words
