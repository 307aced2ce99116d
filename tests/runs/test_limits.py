"""The owner of a machine says how much of it one user gets; on a laptop nothing is limited."""

import pytest

from common.errors import UserError
from runs import resolve as module
from runs.config import TrainConfig
from runs.limits import Limits, NoRoom, check_room, limits
from runs.resolve import capped, resolve


def test_a_laptop_has_no_limits_and_a_space_has_sane_ones(monkeypatch):
    assert limits() == Limits(0, 0, 0, 0)
    assert capped(TrainConfig()) == TrainConfig()
    check_room(mine=99, waiting=99)
    monkeypatch.setenv("SPACE_ID", "me/space")
    assert limits() == Limits(3, 20, 120, 100_000, 20, 5 * 10**9)


def test_the_owner_sets_limits_and_lifts_them(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "me/space")
    monkeypatch.setenv("STUDIO_MAX_MINUTES", "15")
    monkeypatch.setenv("STUDIO_MAX_ROWS", "0")
    assert capped(TrainConfig()).max_minutes == 15 and capped(TrainConfig()).max_rows == 0
    assert capped(TrainConfig(max_minutes=5)).max_minutes == 5
    with pytest.raises(UserError, match="16 is too high; the maximum on this machine is 15"):
        capped(TrainConfig(max_minutes=16))


def test_what_was_resolved_is_not_checked_capped_or_chosen_again(monkeypatch):
    monkeypatch.setenv("STUDIO_MAX_MINUTES", "15")
    resolved = resolve(TrainConfig(base="embedded"))
    assert resolved.config.max_minutes == 15 and resolved.base.source == "embedded"
    monkeypatch.setattr(module, "capped", lambda config: pytest.fail("once is enough"))
    assert resolve(resolved) is resolved


@pytest.mark.parametrize("value", ["many", "-1", "1.5", "²"])
def test_a_limit_that_is_no_number_is_named(monkeypatch, value):
    monkeypatch.setenv("STUDIO_MAX_QUEUE", value)
    with pytest.raises(UserError, match="STUDIO_MAX_QUEUE"):
        limits()


def test_a_full_queue_and_a_busy_user_are_refused(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "me/space")
    check_room(mine=2, waiting=19)
    for mine, waiting, words in ((3, 0, "3 of your runs"), (0, 20, "queue is full")):
        with pytest.raises(NoRoom, match=words):
            check_room(mine=mine, waiting=waiting)
