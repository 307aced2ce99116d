"""A limit that the owner of a Space or of a shared server sets by an environment variable: a whole number, 0 for none.

A variable that is not set is no limit on one's own machine, and the default on a Space.
"""

import os

from common.errors import UserError


def limit(variable: str, on_a_space: int) -> int:
    """What holds on this machine now; 0 is no limit. Raises UserError for a variable that is no whole number."""
    text = os.environ.get(variable, "").strip()
    if not text:
        return on_a_space if os.environ.get("SPACE_ID") else 0
    if not text.isascii() or not text.isdigit():
        raise UserError(
            f"{variable} is '{text[:40]}' on this machine.", "Its owner must set a whole number; 0: no limit."
        )
    return int(text)
