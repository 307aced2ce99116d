"""Finds an answer that repeats itself: the last tokens are one piece, written again and again.

A small model that takes the likeliest token gets into such a loop and never leaves it. Lists, code and tables repeat a little,
too: a piece counts only after MIN_REPEATS times and MIN_TOKENS tokens, one without letters (a rule of dashes, a board of zeros)
after MIN_SIGN_TOKENS.
"""

from collections.abc import Callable, Sequence

MAX_PIECE_TOKENS = 60
MIN_REPEATS = 4
MIN_TOKENS, MIN_SIGN_TOKENS = 48, 240


def repeats_itself(tokens: Sequence, text_of: Callable[[Sequence], str]) -> bool:
    """Return whether the answer's `tokens` end in repetitions of one piece; `text_of` turns a piece into text."""
    for size in range(1, MAX_PIECE_TOKENS + 1):
        length = max(MIN_REPEATS * size, MIN_TOKENS)
        if length > len(tokens):
            return False
        if _is_periodic(tokens, size, length):
            has_letters = any(letter.isalpha() for letter in text_of(tokens[-size:]))
            return has_letters or _is_periodic(tokens, size, max(length, MIN_SIGN_TOKENS))
    return False


def _is_periodic(tokens: Sequence, size: int, length: int) -> bool:
    """Return whether each of the last `length` tokens is the one `size` places before it."""
    if length > len(tokens) or tokens[-1] != tokens[-1 - size]:
        return False
    return tokens[size - length :] == tokens[-length:-size]
