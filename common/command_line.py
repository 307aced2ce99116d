"""The edge of every command line: what a person can fix is a sentence, and the exit code says whether it went well."""

import re
import sys
from collections.abc import Callable

from common.errors import as_user_error
from common.paths import check_home


def exit_code(work: Callable[[], int | None]) -> int:
    """Do `work`; its own exit code, 0 for None, 1 for what a person can fix, 130 for Ctrl-C. `| head` that has enough is no
    failure.
    """
    try:
        check_home()
        return work() or 0
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        known = as_user_error(error)
        if known is None:
            raise
        print(printable(str(known)), file=sys.stderr)
        return 1


def printable(text: str) -> str:
    """The text without what a terminal would obey: a name that comes from elsewhere may hold colours, titles, or worse."""
    return re.sub(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]", "?", text)
