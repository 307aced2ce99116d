"""The history fits: the system prompt stays, the oldest whole turns go, never half a turn."""

import pytest

from chat.history import check_messages, fit_history
from common.errors import UserError
from tests.fakes import FakeTokenizer, conversation

count = FakeTokenizer().count
SYSTEM = {"role": "system", "content": "be kind"}


def test_what_fits_is_left_alone():
    messages = [SYSTEM, *conversation(2), {"role": "user", "content": "now"}]
    fitted = fit_history(messages, count, budget=100)
    assert fitted.messages == messages and fitted.left_out == 0 and fitted.tokens == 15


def test_the_oldest_whole_turns_go_first_and_the_system_prompt_stays():
    messages = [SYSTEM, *conversation(10), {"role": "user", "content": "now"}]
    fitted = fit_history(messages, count, budget=2 + 1 + 6 * 3)
    assert fitted.left_out == 7
    assert fitted.messages == [SYSTEM, *messages[15:]]
    assert fitted.messages[1]["role"] == "user"


def test_one_message_that_is_too_long_is_told_with_the_numbers():
    with pytest.raises(UserError, match="takes 52 tokens; 20 fit"):
        fit_history([SYSTEM, {"role": "user", "content": "x " * 50}], count, budget=20)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "assistant", "content": "x"}],
        [{"role": "user", "content": "  "}],
        [{"role": "user", "content": ["x"]}],
        [{"role": "tool", "content": "x"}, {"role": "user", "content": "x"}],
        [*conversation(1), SYSTEM, {"role": "user", "content": "x"}],
        [{}],
    ],
)
def test_a_forged_history_is_refused(messages):
    with pytest.raises(UserError):
        check_messages(messages)


def test_only_role_and_content_are_kept():
    assert check_messages([{"role": "user", "content": "x", "metadata": None}]) == [{"role": "user", "content": "x"}]
