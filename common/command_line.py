"""The edge of every command line: a UserError becomes a sentence and an exit code."""

import argparse
import re
import sys
from collections.abc import Callable

from common.errors import as_user_error
from common.language import language_of_system, speak
from common.paths import check_home


def exit_code(work: Callable[[], int | None]) -> int:
    """Do `work` and return its exit code: 0 for None, 1 for what a person can fix, 130 for Ctrl-C.

    It speaks the language of the shell's locale. A pipe that was closed (`| head`) is no failure. Raises any other error,
    a bug, as it is.
    """
    speak(language_of_system())
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


def run_job(parser_of: Callable[[], argparse.ArgumentParser], arguments: list[str] | None) -> int:
    """Parse the command line, do the job that it names (`options.work`), and return the exit code.

    The parser is made here, so that its help speaks the language of the shell's locale.
    """

    def work() -> int | None:
        options = parser_of().parse_args(arguments)
        return options.work(options)

    return exit_code(work)


def add_job(
    jobs, name: str, work: Callable[[argparse.Namespace], object], text: str, named: str = ""
) -> argparse.ArgumentParser:
    """Add a job that `run_job` can do to the subparsers `jobs`, and return its parser; `named` is the METAVAR of its one name."""
    parser = jobs.add_parser(name, help=text, description=text)
    parser.set_defaults(work=work)
    if named:
        parser.add_argument("name", metavar=named)
    return parser


def printable(text: str) -> str:
    """Replace control characters by `?`: a name from elsewhere could colour the terminal, set its title, or worse."""
    return re.sub(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]", "?", text)


def progress_on_stderr() -> Callable[[str, float | None], None]:
    """Return a function that prints on stderr what is done, the same words once."""
    last = ""

    def show(what: str, fraction: float | None) -> None:
        nonlocal last
        if what != last:
            print(printable(what), file=sys.stderr, flush=True)
        last = what

    return show
