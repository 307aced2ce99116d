"""lm-eval's own harness over an adapter and its base: its tasks, prompts and numbers; intervals and verdicts are this program's.

    python -m evaluation lm-eval --adapter NAME --tasks hellaswag,arc_easy --limit 200    ask both
    python -m evaluation lm-eval --adapter NAME                                           what was measured before

An extra: `pip install lm-eval`. The scores stand among the adapter's others; what lm-eval wrote is kept beside them, in
lm-eval.json. Light: `evaluation.harness_process` computes in a process of its own.
"""

import argparse
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from adapters.evaluated import STATED, is_stated, read_evaluated
from adapters.library import Adapter
from adapters.pull import open_adapter
from common.child import Tell, ask_child
from common.command_line import give, progress_on_stderr, say
from common.errors import UserError
from common.language import _
from common.paths import LOCAL_OWNER
from models.hub.client import token_of
from models.hub.errors import child_environment
from models.precision import PRECISIONS

PACKAGE = "lm_eval"
FILE = "lm-eval.json"
PREFIX = "lm-eval:"  # of a task's name among the test sets of an adapter


@dataclass(frozen=True)
class Asked:
    """What lm-eval is asked. `limit` 0: all questions; `shots` None: as many as each task says."""

    tasks: list[str]
    limit: int = 0
    shots: int | None = None
    is_chat: bool = False  # in the chat template, as the chat asks; else as bare text, as published numbers are made
    precision: str = "auto"
    task_folder: str = ""  # of tasks of one's own, "" for none


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the options of `work`."""
    parser.add_argument("--adapter", required=True, metavar="NAME", help=_("an adapter"))
    parser.add_argument(
        "--tasks", default="", metavar="A,B", help=_("tasks of lm-eval; without any: print what was measured before")
    )
    parser.add_argument("--limit", type=int, default=0, help=_("so many questions of each task; 0: all"))
    parser.add_argument("--few-shot", type=int, metavar="N", help=_("examples before each question [the task's own]"))
    parser.add_argument("--chat", action="store_true", help=_("ask in the chat template, not as bare text"))
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument(
        "--task-folder", default="", metavar="FOLDER", help=_("YAML of tasks of your own; their Python is run")
    )


def work(options: argparse.Namespace) -> None:
    """Ask what is asked for, and print all that lm-eval measured of the adapter."""
    adapter = open_adapter(options.adapter, LOCAL_OWNER, token_of(None))
    tasks = list(dict.fromkeys(task.strip() for task in options.tasks.split(",") if task.strip()))
    if tasks:
        folder = str(Path(options.task_folder).resolve()) if options.task_folder else ""
        asked = Asked(tasks, options.limit, options.few_shot, options.chat, options.precision, folder)
        measure(adapter, asked, progress_on_stderr())
    give([one for one in read_evaluated(adapter.folder) if one.name.startswith(PREFIX)])
    for line in lines_of(adapter):
        say(line)


def measure(adapter: Adapter, asked: Asked, tell: Tell = lambda what, fraction: None) -> None:
    """Let lm-eval ask `adapter` and its base, and keep what it found with the adapter. Raises UserError."""
    if find_spec(PACKAGE) is None:
        raise UserError(_("lm-eval is not installed."), _("Install it: `pip install lm-eval`"))
    if asked.limit < 0 or (asked.shots or 0) < 0:
        raise UserError(_("Questions and examples are 0 or more."))
    if asked.task_folder and not Path(asked.task_folder).is_dir():
        raise UserError(_("There is no folder '{name}'.", name=asked.task_folder))
    # metrics whose code is on the Hub are not fetched; HF_ALLOW_CODE_EVAL is not passed on
    variables = child_environment() | {"HF_EVALUATE_OFFLINE": "1"}
    ask_child("evaluation.harness_process", {"adapter": str(adapter.folder), **asdict(asked)}, variables, tell)


def lines_of(adapter: Adapter) -> list[str]:
    """Return what lm-eval measured of an adapter, as lines of a table; a sentence where it measured nothing."""
    lines = []
    for one in read_evaluated(adapter.folder):
        if one.name.startswith(PREFIX):
            lines.append(str(one.words()))
            for score in one.scores:
                title, base, own, difference, verdict = score.row()
                lines.append(f"  {title:24} {base:30} {own:30} {difference:32} {verdict}".rstrip())
    if not lines:
        return [_("lm-eval has measured nothing of '{name}'.", name=adapter.title)]
    return [*lines, STATED] if is_stated(adapter) else lines
