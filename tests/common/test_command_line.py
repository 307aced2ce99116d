"""A command line tells a person what went wrong, and the shell that it did."""

import pytest

from common.command_line import exit_code
from common.errors import UserError


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("No file.", "Give one."), 1, "No file. Give one.\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_what_a_person_can_fix_is_a_sentence_and_an_exit_code(capsys, error, code, said):
    def work():
        raise error

    assert exit_code(work) == code and capsys.readouterr().err == said


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: 1 / 0)


def test_the_works_own_code_is_kept():
    assert [exit_code(lambda given=given: given) for given in (None, 0, 3)] == [0, 0, 3]
