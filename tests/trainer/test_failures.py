"""A failure is a sentence that a person understands."""

import errno

import pytest

from common.errors import UserError
from trainer.failures import explain


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "Out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "Out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), "Out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
        (RuntimeError("SafetensorError: I/O error: No space left on device (os error 28)"), "The disk is full"),
        (UserError("No row is left.", "Give more."), "No row is left"),
        (KeyError("surprise"), "Unexpected error: KeyError"),
    ],
)
def test_a_known_failure_has_its_sentence(error, words):
    assert words in explain(error).message and explain(error).hint


def test_the_cause_behind_an_error_is_found():
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as inner:
            raise RuntimeError("saving failed") from inner
    except RuntimeError as outer:
        assert explain(outer).message == "The disk is full."
