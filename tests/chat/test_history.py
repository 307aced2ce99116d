"""The history fits: the system prompt stays, the oldest whole turns go, never half a turn."""

import itertools

import pytest

from chat.history import fit_history, turns_left_out
from common.errors import UserError
from models.messages import check_messages
from tests.fakes import conversation

SYSTEM = {"role": "system", "content": "be kind"}
NOW = {"role": "user", "content": "now"}


def words(messages: list[dict]) -> list[int]:
    """One token a word."""
    return [len(message["content"].split()) for message in messages]


def fit(messages, budget, overhead=0):
    return fit_history(messages, words(messages), budget, overhead)


def test_what_fits_is_left_alone():
    messages = [SYSTEM, *conversation(2), NOW]
    fitted = fit(messages, budget=15)
    assert fitted.messages == messages and fitted.left_out == 0 and fitted.tokens == 15


def test_what_the_template_adds_counts():
    assert fit([SYSTEM, *conversation(2), NOW], budget=15, overhead=1).left_out == 1


def test_the_oldest_whole_turns_go_first_and_the_system_prompt_stays():
    messages = [SYSTEM, *conversation(10), NOW]
    fitted = fit(messages, budget=21)
    assert fitted.left_out > 0 and fitted.tokens <= 21
    assert fitted.messages == [SYSTEM, *messages[1 + 2 * fitted.left_out :]]
    assert fitted.messages[1]["role"] == "user"
    assert turns_left_out(messages, fitted.left_out) == conversation(10)[: 2 * fitted.left_out]


def test_the_beginning_changes_once_in_many_turns():
    """Each change of the beginning makes the model read all of it anew."""
    left_out = [fit([SYSTEM, *conversation(turns), NOW], budget=100).left_out for turns in range(200)]
    changes = sum(earlier != later for earlier, later in itertools.pairwise(left_out))
    assert left_out[-1] > 180 and changes < 200 / 3
    assert left_out == sorted(left_out)


def test_one_message_that_is_too_long_is_told_with_the_numbers():
    with pytest.raises(UserError, match=r"has 50 tokens; .* there is room for 18"):
        fit([SYSTEM, {"role": "user", "content": "x " * 50}], budget=20)


def test_an_earlier_message_that_is_too_long_is_left_out_with_its_turn():
    messages = [{"role": "user", "content": "x " * 50}, {"role": "assistant", "content": "y"}, NOW]
    assert fit(messages, budget=20).messages == [NOW]


def test_only_an_answer_can_be_continued():
    assert check_messages(conversation(1), continuing=True) == conversation(1)
    with pytest.raises(UserError, match="no answer to continue"):
        check_messages([NOW], continuing=True)


def test_only_role_and_content_are_kept():
    assert check_messages([{"role": "user", "content": "x", "metadata": None}]) == [{"role": "user", "content": "x"}]
