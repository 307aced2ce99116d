"""The check of the data before a start, in a process of its own: the page stays free of torch and survives any file.

    report = check(settings, rows=10, progress=print, stop=event)       the page's and the command line's end
    python -m data.check REQUEST.json RESULT.json               the process

REQUEST is {"settings": {...}, "rows": 10}, RESULT the report or {"error": {"message", "hint"}}. A test set is read in the same
process: then REQUEST is {"settings": {...}, "title": ..., "owner": ...}, RESULT {"id": ...}; and rows that become a file of
conversations: {"settings": {...}, "file": ...} and {}. Sentences on how far it is go to
stdout, one JSON object a line. All sentences are packed: whoever reads them does so in their own language. Memory and time are
bounded by the system; the process gets the training's environment, without a token. Tokenizers need no torch, and importing it
takes longer than all the rest: it is kept out, unless a chat template is one that only TRL knows; then the process starts over
`--with-torch`.
"""

import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from common.child import bound_memory, run_child
from common.errors import UserError
from common.files import read_json, read_object, write_json, write_text
from common.language import _, packed, unpacked
from data.report import Report
from data.settings import DataSettings
from models.hub.errors import child_environment

MAX_SECONDS = 600
MAX_SECONDS_UNWATCHED = 900  # the process ends itself, also when nobody watches any more
MODULE = "data.check"
MAX_DATA_BYTES = 3 * 2**30  # of memory, on top of what the libraries take
WITH_TORCH = "--with-torch"
TOO_LARGE = _("The data needs more memory than a check may take.")
SMALLER = _("Set max_rows to read only some of its rows, or use a smaller file.")


def check(
    settings: DataSettings,
    rows: int = 10,
    progress: Callable[[str], None] = lambda sentence: None,
    stop: threading.Event | None = None,
) -> Report:
    """Return the report on the data, with a preview of `rows` rows; sentences on the way go to `progress`.

    Raises UserError when the data cannot be read, when `stop` is set, and when it takes too long or too much memory.
    """
    return cast("Report", in_child({"settings": asdict(settings), "rows": rows}, progress, stop))


def write_conversations(settings: DataSettings, file: Path, stop: threading.Event | None = None) -> None:
    """Write the data to `file`, a conversation a line, as a training reads it; what cannot be used is left out.

    Raises UserError as `check` does, and when nothing can be used.
    """
    in_child({"settings": asdict(settings), "file": str(file)}, lambda sentence: None, stop)


def in_child(request: dict[str, Any], progress: Callable[[str], None], stop: threading.Event | None) -> dict[str, Any]:
    """Return what the process answers to a request. Raises UserError as `check` does."""
    deadline = time.monotonic() + MAX_SECONDS

    def watch(lines: list[str]) -> None:
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):  # a library's word, not ours
                progress(unpacked(json.loads(line)["progress"]))
        if stop and stop.is_set():
            raise UserError(_("The check was stopped."))
        if time.monotonic() > deadline:
            raise UserError(_("The check took longer than {minutes} minutes.", minutes=MAX_SECONDS // 60), SMALLER)

    with tempfile.TemporaryDirectory(prefix="studio-check-") as folder:
        asked, result, log = (Path(folder) / name for name in ("request.json", "result.json", "log.txt"))
        write_json(asked, request)
        with open(log, "wb") as stderr:
            code = run_child([MODULE, str(asked), str(result)], child_environment(), stderr, watch)
        answer = unpacked(read_json(result))
        if not isinstance(answer, dict):
            raise _crash(code, log.read_text(encoding="utf-8", errors="replace"))
    if "error" in answer:
        raise UserError(**answer["error"])
    return answer


def _crash(code: int, log: str) -> UserError:
    """Return an error that says why a process with this exit code and log left no result."""
    if code in (-signal.SIGTERM, -9, -signal.SIGSEGV, -signal.SIGABRT) or "MemoryError" in log or "bad_alloc" in log:
        return UserError(TOO_LARGE, SMALLER)
    last = (log.strip().splitlines() or [_("no reason given")])[-1][:300]
    return UserError(_("The check failed: {reason}", reason=last), _("Please report it, with the file if you can."))


def main(arguments: list[str]) -> int:
    """Write the report on a request, or why there is none; the exit code is 0 for both."""
    request, result = map(Path, arguments[:2])
    if hasattr(signal, "alarm"):
        signal.alarm(MAX_SECONDS_UNWATCHED)
    answer: object
    try:
        asked = read_object(request)
        settings = DataSettings(**asked["settings"])
        if "title" in asked:
            answer = _made_test_set(settings, asked["title"], asked["owner"])
        elif "file" in asked:
            answer = _written(settings, Path(asked["file"]), request.parent)
        else:
            answer = _report(settings, asked["rows"], request.parent, WITH_TORCH in arguments)
    except (ImportError, RuntimeError):
        if WITH_TORCH in arguments:
            raise
        bound_memory(None)
        os.execv(sys.executable, [sys.executable, "-m", MODULE, *arguments, WITH_TORCH])
    except UserError as error:
        answer = {"error": {"message": error.message, "hint": error.hint}}
    except MemoryError:
        traceback.print_exc()
        answer = {"error": {"message": TOO_LARGE, "hint": SMALLER}}
    write_text(result, json.dumps(packed(answer)))
    return 0


def _report(settings: DataSettings, rows: int, folder: Path, with_torch: bool) -> Report:
    """Fetch the base's tokenizer, limit the memory, and examine the data. Raises UserError."""
    from data.examine import CheckedBase, build_report
    from models import embedded
    from models.base import choose_base, fetch_tokenizer
    from models.tokenizer import load_tokenizer

    def tell(sentence: str) -> None:
        print(json.dumps({"progress": packed(sentence)}), flush=True)

    tell(_("Looking up the base model"))
    base = choose_base(settings.base, settings.base_revision)
    if not (with_torch or (base.source == "embedded" and not embedded.folder().exists())):
        sys.modules["torch"] = None  # who asks for it is told that it is not there
    files = fetch_tokenizer(base, lambda what, fraction: tell(what))
    tokenizer = load_tokenizer(files, settings.chat_template)
    positions = read_object(files / "config.json").get("max_position_embeddings")
    bound_memory(MAX_DATA_BYTES)
    known = CheckedBase(base.model_id, base.reason, positions)
    return build_report(settings, folder, tokenizer, known, rows, tell)


def _written(settings: DataSettings, file: Path, folder: Path) -> dict[str, str]:
    """Limit the memory, and write the conversations of the data to a file. Raises UserError when there is none."""
    from data.gathering import gather_all, together

    bound_memory(MAX_DATA_BYTES)
    found = together(gather_all(settings, folder))
    if not len(found.conversations):
        reasons = [bad["reason"] for bad in found.bad.first[:1]]
        raise UserError(_("No row of the data can be used."), reasons[0] if reasons else "")
    with open(file, "w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in found.conversations.part())
    return {}


def _made_test_set(settings: DataSettings, title: str, owner: str) -> dict[str, str]:
    """Limit the memory, and make a test set; return its id. Raises UserError."""
    from data.test_set_intake import make_test_set

    bound_memory(MAX_DATA_BYTES)
    return {"id": make_test_set(settings, title, owner).id}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
