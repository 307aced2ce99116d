"""Renders a chat template once, in a process of its own with little memory and little time: `python -m adapters.try_template`.

The template comes on stdin. Exit code 0: it renders conversations as they are; anything else: it does not, or it is too
hungry. jinja's sandbox stops neither `{{ 'a'|center(9999999999) }}` nor a text that doubles with every message.
"""

import json
import os
import subprocess
import sys

from common.errors import UserError
from common.paths import REPOSITORY

MEMORY_BYTES = 512_000_000
CPU_SECONDS = 5
WALL_SECONDS = 30
MOST_CHARACTERS = 1_000_000
TURNS = 40  # enough for what doubles with each of them


def try_template(text: str) -> None:
    """Raise UserError unless the template renders within the limits."""
    command = [sys.executable, "-m", "adapters.try_template"]
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "VIRTUAL_ENV") if name in os.environ}
    try:
        ended = subprocess.run(
            command,
            input=text.encode("utf-8", "replace"),
            cwd=REPOSITORY,
            env=kept,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UserError("The chat template takes too long.", "Such templates are not run here.") from error
    if ended.returncode:
        raise UserError(
            "The chat template fails, or takes too much time or memory.", "Such templates are not run here."
        )


def _limit() -> None:
    try:
        import resource
    except ImportError:  # Windows has none; the parent's clock is left
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _render(text: str) -> None:
    """Raise unless one of the conversations renders: many templates refuse a system prompt, or what does not alternate."""
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False)
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda pattern: "2026-01-01"
    template, failures = environment.from_string(text), []
    turns = [{"role": ("user", "assistant")[number % 2], "content": f"word {number} " * 20} for number in range(TURNS)]
    conversations = [turns[:1], [{"role": "system", "content": "Be kind."}, *turns[:1]], turns[:3], [*turns, turns[0]]]
    for messages in conversations:
        facts = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
        try:
            written = 0
            for piece in template.generate(messages=messages, add_generation_prompt=True, **facts):
                written += len(piece)
                if written > MOST_CHARACTERS:
                    sys.exit(3)
        except TemplateError as error:
            failures.append(error)
    if len(failures) == len(conversations):
        raise failures[0]


def _refuse(message: str):
    from jinja2 import TemplateError

    raise TemplateError(message)


if __name__ == "__main__":
    _limit()
    _render(sys.stdin.buffer.read().decode("utf-8"))
