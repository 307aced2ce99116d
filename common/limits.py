"""Limits and switches that the owner of a Space or of a shared server sets by environment variables.

A limit is a whole number, 0 for none. Without its variable it is off for the owner of the machine, and has its default on a
Space and for guests.
"""

import os

from common.errors import UserError
from common.files import folder_bytes
from common.language import _
from common.paths import GUEST_PREFIX, home
from common.visitors import is_visitor

YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def limit(variable: str, on_a_space: int) -> int:
    """Return the limit that holds on this machine now, 0 for none. Raises UserError for a variable that is no whole number."""
    text = os.environ.get(variable, "").strip()
    if not text:
        return on_a_space if is_visitor() else 0
    if not text.isascii() or not text.isdigit():
        raise UserError(
            _("{variable} is set to '{value}' on this machine.", variable=variable, value=text[:40]),
            _("The owner of this machine must set a whole number; 0 means no limit."),
        )
    return int(text)


def switch(variable: str) -> bool | None:
    """Return what a variable of this machine's owner says, None where it is not set. Raises UserError for neither yes nor no."""
    text = os.environ.get(variable, "").strip()
    if text.lower() not in ("", *YES, *NO):
        words = _("{variable} is set to '{value}' on this machine.", variable=variable, value=text[:40])
        raise UserError(words, _("It is 1 (on) or 0 (off)."))
    return text.lower() in YES if text else None


def check_room_of_guests(owner: str, more_bytes: int) -> None:
    """Raise UserError when `more_bytes` of a guest exceed what all guests together may keep: `STUDIO_MAX_GUEST_BYTES`.

    Anybody can make any number of guests, so a limit for each alone would be none.
    """
    most = limit("STUDIO_MAX_GUEST_BYTES", 10 * 10**9)
    if not most or not owner.startswith(GUEST_PREFIX):
        return
    if more_bytes + sum(map(folder_bytes, home().glob(f"*/{GUEST_PREFIX}*"))) > most:
        raise UserError(
            _("All guests together may keep {gigabytes:.0f} GB here, and that is used up.", gigabytes=most / 1e9),
            _("Sign in, or try again later."),
        )
