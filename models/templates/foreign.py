"""Renders an unknown chat template in one process of its own with limits: the only place where it runs.

jinja's sandbox stops neither `{{ 'a'|center(9999999999) }}` nor a text that doubles with every message. So the process has a
memory limit, and is killed when a call takes too long; the next call starts it again. It reads one JSON object a line on stdin
and answers with one a line on stdout. Of the environment it gets PATH and nothing else.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from common.child import bound_time
from common.errors import UserError
from common.language import _
from common.paths import REPOSITORY

ANOTHER_ONE = _("Choose another one for it in the Adapters tab.")
MAX_MEMORY_BYTES = 512_000_000
MAX_CALL_SECONDS = 5
MAX_START_SECONDS = 60
MAX_OUTPUT_CHARACTERS = 1_000_000
MAX_ANSWER_BYTES = 12 * MAX_OUTPUT_CHARACTERS + 1000  # JSON writes a character in at most 12 bytes


class TemplateProcess:
    """The process, started when it is needed. One call at a time, from any thread."""

    def __init__(self) -> None:
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()

    def render(self, template: str, variables: Mapping[str, Any]) -> str:
        """Return the text that `template` makes of `variables`. Raises UserError when it fails or is over a limit."""
        request = json.dumps({"template": template, "variables": variables}).encode() + b"\n"
        with self._lock:
            self._start()
            answer = self._ask(request, MAX_CALL_SECONDS)
        if answer is None:
            raise UserError(_("The adapter's own chat template takes too much time or memory."), ANOTHER_ONE)
        if "text" not in answer:
            words = _(
                "The adapter's own chat template fails ({error}).", error=str(answer.get("error"))[:200].rstrip(".")
            )
            raise UserError(words, ANOTHER_ONE)
        return str(answer["text"])

    def close(self) -> None:
        """End the process; the next call starts another."""
        if self._process:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> None:
        """Start the process unless it runs. Raises UserError when it does not answer."""
        if self._process and self._process.poll() is None:
            return
        self.close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "models.templates.foreign"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=REPOSITORY,
            env={name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "VIRTUAL_ENV") if name in os.environ},
        )
        if self._ask(b"", MAX_START_SECONDS) is None:
            raise UserError(_("The process for unknown chat templates does not start."), _("Try again."))

    def _ask(self, request: bytes, seconds: float) -> dict[str, Any] | None:
        """Return the answer to one request; None, and the process is killed, without an answer within `seconds`."""
        process = self._process
        assert process and process.stdin and process.stdout
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            process.stdin.write(request)
            process.stdin.flush()
            line = process.stdout.readline(MAX_ANSWER_BYTES)
            if line.endswith(b"\n") and isinstance(answer := json.loads(line), dict):
                return answer
        except (OSError, ValueError, RecursionError):
            pass
        finally:
            timer.cancel()
        self.close()
        return None


_process = TemplateProcess()


def render_foreign(template: str, variables: Mapping[str, Any]) -> str:
    """Call `TemplateProcess.render` of the app's one process."""
    return _process.render(template, variables)


def main() -> None:
    """Answer the requests on stdin until it ends."""
    _limit_memory()
    _write({})
    for line in sys.stdin.buffer:
        bound_time(MAX_CALL_SECONDS)
        try:
            answer = {"text": _render(**json.loads(line))}
        except MemoryError:
            os._exit(3)
        except Exception as error:  # whatever a template from elsewhere raises
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        _write(answer)


def _write(answer: Mapping[str, str]) -> None:
    """Write one JSON line to stdout."""
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _limit_memory() -> None:
    """Limit this process's memory, and let it write no file."""
    try:
        import resource
    except ImportError:  # Windows has none; the parent's clock is left
        return
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _render(template: str, variables: Mapping[str, Any]) -> str:
    """Return the rendered text. Raises ValueError for more than MAX_OUTPUT_CHARACTERS, and what the template raises."""
    pieces, characters = [], 0
    for piece in _compile(template).generate(**variables):
        characters += len(piece)
        if characters > MAX_OUTPUT_CHARACTERS:
            raise ValueError(f"it writes more than {MAX_OUTPUT_CHARACTERS:,} characters")
        pieces.append(piece)
    return "".join(pieces)


@lru_cache(maxsize=8)
def _compile(template: str):
    """Return the template with the functions and filters that transformers gives to templates."""
    from datetime import datetime

    from jinja2 import TemplateError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Marks(Extension):
        """`{% generation %}` marks what is trained; here it changes nothing."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser):
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def refuse(message: str):
        raise TemplateError(message)

    def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Marks, loopcontrols])
    environment.filters["tojson"] = to_json
    given = {"raise_exception": refuse, "strftime_now": lambda pattern: datetime.now().strftime(pattern)}
    return environment.from_string(template, globals=given)


if __name__ == "__main__":
    main()
