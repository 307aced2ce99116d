"""A command line tells a person what went wrong, and the shell that it did."""

import errno

import pytest

from common.command_line import exit_code
from common.errors import ERRORS, UserError, as_user_error

FULL = "The disk is full. Free some space, then try again.\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UserError("No file.", "Give one."), 1, "No file. Give one.\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (BrokenPipeError(), 0, ""),
        (OSError(errno.ENOSPC, "x", "/data/a"), 1, FULL),
        (RuntimeError("I/O error: No space left on device (os error 28)"), 1, FULL),
        (MemoryError(), 1, "There is not enough memory. Close other programs, or use less data, then try again.\n"),
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


def test_what_the_system_refuses_names_the_file_and_a_page_only_its_name():
    for number, (message, hint) in ERRORS.items():
        error = OSError(number, "words of the system", "/data/owner/file")
        for said, file in (
            (as_user_error(error), "'/data/owner/file'"),
            (as_user_error(error, with_paths=False), "'file'"),
        ):
            assert (said.message, said.hint) == (message.format(file=file), hint) and hint
    assert as_user_error(ValueError("a bug")) is None and as_user_error(ConnectionError("the Hub")) is None
