"""The edge of every command line: a UserError becomes a sentence and an exit code, a result JSON where `--json` asks for it."""

import argparse
import io
import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import fields, is_dataclass
from typing import Any, TextIO

from common.errors import as_user_error
from common.language import _, language_of_system, speak
from common.paths import check_home

MAX_KEPT_CHARACTERS = 100_000  # of what a job says


def exit_code(work: Callable[[], int | None], as_json: bool = False) -> int:
    """Do `work` and return its exit code: 0 for None, 1 for what a person can fix, 130 for Ctrl-C.

    It speaks the language of the shell's locale. A pipe that was closed (`| head`) is no failure. Raises any other error,
    a bug, as it is. With `as_json` stdout gets JSON alone (see `give`), and what is said goes to stderr.
    """
    speak(language_of_system())
    with _Json() if as_json else nullcontext() as output:
        try:
            check_home()
            code = work() or 0
        except KeyboardInterrupt:
            print(file=sys.stderr)
            code = 130
        except BrokenPipeError:
            return 0
        except Exception as error:
            known = as_user_error(error)
            if known is None:
                raise
            print(printable(str(known)), file=sys.stderr)
            code = 1
            if output:
                output.fail(known.message, known.hint, code)
        except SystemExit as error:  # argparse has said on stderr what is wrong
            if not output:
                raise
            code = error.code if isinstance(error.code, int) else 2
            if code:
                output.fail(output.last_error(), "", code)
        if output:
            output.end()
        return code


def give(value: object, is_line: bool = False) -> None:
    """Print the result of a job as JSON where `--json` asks for it; `is_line`: one of several, each on a line of its own."""
    if _outputs:
        _outputs[-1].give(value, is_line)


_outputs: list["_Json"] = []  # of the job that runs with --json


class _Json:
    """stdout for JSON alone: what the job prints goes to stderr, and is its answer where it gives none."""

    def __init__(self) -> None:
        self.stdout, self.stderr = sys.stdout, sys.stderr
        self.said, self.errors = _Tee(self.stderr), _Tee(self.stderr)
        self.has_answer = False

    def __enter__(self) -> "_Json":
        sys.stdout, sys.stderr = self.said, self.errors
        _outputs.append(self)
        return self

    def __exit__(self, *_exception: object) -> None:
        sys.stdout, sys.stderr = self.stdout, self.stderr
        _outputs.pop()

    def give(self, value: object, is_line: bool = False) -> None:
        """Print a value on the real stdout."""
        self.has_answer = True
        text = json.dumps(_plain(value), ensure_ascii=False, indent=None if is_line else 2)
        print(text, file=self.stdout, flush=True)

    def fail(self, message: str, hint: str, code: int) -> None:
        """Print an error, unless there is an answer already."""
        if not self.has_answer:
            self.give({"error": {"message": printable(message), "hint": printable(hint)}, "exit_code": code})

    def last_error(self) -> str:
        """Return the last line on stderr."""
        return (self.errors.getvalue().strip().splitlines() or [""])[-1]

    def end(self) -> None:
        """Print what was said as the answer of a job that gave none."""
        if not self.has_answer:
            self.give({"message": self.said.getvalue().strip()})


class _Tee(io.StringIO):
    """A stream that keeps the last of what is written to it, and passes it on."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream

    def write(self, text: str) -> int:
        """Write to both."""
        if self.tell() > MAX_KEPT_CHARACTERS:
            self.seek(0)
            self.truncate()
        self.stream.write(text)
        return super().write(text)

    def flush(self) -> None:
        """Flush the stream that it is passed on to."""
        self.stream.flush()


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: dataclasses and mappings as objects, paths as text, numbers that are none as null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int | None) else str(value)


def run_job(parser_of: Callable[[], argparse.ArgumentParser], arguments: list[str] | None) -> int:
    """Parse the command line, do the job that it names (`options.work`), and return the exit code.

    The parser is made here, so that its help speaks the language of the shell's locale.
    """

    def work() -> int | None:
        options = parser_of().parse_args(arguments)
        return options.work(options)

    return exit_code(work, asks_for_json(arguments))


def asks_for_json(arguments: list[str] | None) -> bool:
    """Return whether `--json` is on the command line."""
    return "--json" in (sys.argv[1:] if arguments is None else arguments)


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add `--json`, which `exit_code` looks for."""
    parser.add_argument("--json", action="store_true", help=_("the result as JSON on stdout, all else on stderr"))


def add_job(
    jobs, name: str, work: Callable[[argparse.Namespace], object], text: str, named: str = ""
) -> argparse.ArgumentParser:
    """Add a job that `run_job` can do to the subparsers `jobs`, and return its parser; `named` is the METAVAR of its one name."""
    parser = jobs.add_parser(name, help=text, description=text)
    parser.set_defaults(work=work)
    add_json(parser)
    if named:
        parser.add_argument("name", metavar=named)
    return parser


def printable(text: str) -> str:
    """Replace control characters by `?`: a name from elsewhere could colour the terminal, set its title, or worse."""
    return re.sub(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]", "?", text)


def say(words: object) -> None:
    """Print `words`, without control characters."""
    print(printable(str(words)))


def progress_on_stderr() -> Callable[[str, float | None], None]:
    """Return a function that prints on stderr what is done, the same words once."""
    last = ""

    def show(what: str, fraction: float | None) -> None:
        nonlocal last
        if what != last:
            print(printable(what), file=sys.stderr, flush=True)
        last = what

    return show
