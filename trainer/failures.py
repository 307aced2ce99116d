"""What went wrong, in words: turns an exception into a sentence and a cure for the person who started the run."""

import errno

from common.errors import UserError

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def explain(error: BaseException) -> UserError:
    """The same failure as a UserError. What is not known keeps its type and first line, and points to the log."""
    for cause in _chain(error):
        if isinstance(cause, UserError):
            return cause
        text = f"{type(cause).__name__}: {cause}"
        if isinstance(cause, MemoryError) or any(words in text.lower() for words in _OUT_OF_MEMORY):
            return UserError(
                "Out of memory.",
                "Lower per_device_train_batch_size or max_length, switch gradient_checkpointing on, or use 8bit.",
            )
        if getattr(cause, "errno", None) == errno.ENOSPC or "no space left on device" in text.lower():
            return UserError("The disk is full.", "Free some space, then resume: the last checkpoint is kept.")
    first_line = (str(error).splitlines() or [""])[0][:300]
    return UserError(f"Unexpected error: {type(error).__name__}: {first_line}", "The log below has the whole story.")


def _chain(error: BaseException | None):
    """The error and what caused it, from the outside in."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
