"""While the app is being stopped nothing new starts, in whichever process: a mark in STUDIO_HOME says so.

It names the process that ends, so that it counts for nothing once that is gone, however it went.
"""

import os

from common.files import read_object, write_json
from common.language import _
from common.paths import home
from runs.limits import NoRoom
from runs.processes import is_running, this_process

MARK = "closing.json"


def close() -> None:
    """Let nothing start any more, for as long as this process lives."""
    write_json(home() / MARK, this_process(os.getpid()))


def is_closing() -> bool:
    """Return whether the app of this data folder is being stopped."""
    return is_running(read_object(home() / MARK))


def check_open() -> None:
    """Raise NoRoom while the app is being stopped."""
    if is_closing():
        raise NoRoom(_("The app is being stopped; nothing new is started."), _("Try again once it is back."))
