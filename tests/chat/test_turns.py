"""Who can be mixed writes together; who cannot waits a few tokens and no longer."""

import itertools

from chat.turns import TURN_TOKENS, Turns

BASE, RED, BLUE, DORA, OTHER = (("base", "fp32", name) for name in (None, "red", "blue", "dora", "other"))


def is_mixable(key):
    return key in (BASE, RED, BLUE)


def test_all_that_can_be_mixed_write_together_in_the_same_order():
    turns = Turns()
    first = turns.next_keys([RED, BASE, BLUE, RED], is_mixable)
    assert sorted(first, key=str) == sorted([RED, BASE, BLUE], key=str)
    assert turns.next_keys([BLUE, RED, BASE], is_mixable) == first


def test_those_who_cannot_take_turns_of_a_few_tokens():
    turns, all_keys = Turns(), [DORA, RED, OTHER, BASE]
    steps = [tuple(turns.next_keys(all_keys, is_mixable)) for _ in range(12 * TURN_TOKENS)]
    runs = [(keys, len(list(same))) for keys, same in itertools.groupby(steps)]
    assert all(length == TURN_TOKENS for _, length in runs)
    assert {keys for keys, _ in runs[:3]} == {(DORA,), (OTHER,), tuple(sorted([RED, BASE], key=str))}
    assert [keys for keys, _ in runs[:3]] * 4 == [keys for keys, _ in runs]


def test_who_comes_again_and_again_keeps_nobody_waiting():
    """Each turn another newcomer stands in the line; the one who was there waits for two turns at most."""
    turns, waits = Turns(), 0
    for step in range(50 * TURN_TOKENS):
        newcomer = ("base", "fp32", f"new-{step // 3}")
        waits = 0 if turns.next_keys([newcomer, DORA], is_mixable) == [DORA] else waits + 1
        assert waits <= 2 * TURN_TOKENS


def test_who_is_alone_goes_on():
    turns = Turns()
    assert all(turns.next_keys([DORA], is_mixable) == [DORA] for _ in range(3 * TURN_TOKENS))
