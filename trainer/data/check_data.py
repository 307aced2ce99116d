"""The check before the start, as a process of its own, so that the page stays free of torch and survives any file.

    python -m trainer.data.check_data REQUEST.json RESULT.json

REQUEST: {"config": {...}, "rows": 10}. RESULT: the report, or {"error": {"message", "hint"}}; sentences on how far it is go
to stdout, one JSON object a line. Memory and time are bounded by the system: see `trainer/data/checking.py`, which starts it.

Tokenizers need no torch, and importing it takes longer than all the rest: it is kept out, unless a chat template is one that
only TRL knows; then the process starts over `--with-torch`.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path

from common.errors import UserError
from common.files import read_object, write_text
from models import embedded
from models.base import choose_base, fetch_tokenizer
from models.tokenizer import load_tokenizer
from trainer.config import TrainConfig
from trainer.data.findings import CheckedBase
from trainer.data.report import build_report

MORE_MEMORY = 3 * 2**30  # bytes for the data, on top of what the libraries take
MOST_SECONDS = 900
WITH_TORCH = "--with-torch"


def main(arguments: list[str]) -> int:
    request, result = map(Path, arguments[:2])
    if hasattr(signal, "alarm"):
        signal.alarm(MOST_SECONDS)  # also when nobody watches any more
    try:
        answer = check(json.loads(request.read_text(encoding="utf-8")), request.parent, WITH_TORCH in arguments)
    except (ImportError, RuntimeError):
        if WITH_TORCH in arguments:
            raise
        _bound_memory(None)
        os.execv(sys.executable, [sys.executable, "-m", "trainer.data.check_data", *arguments, WITH_TORCH])
    except UserError as error:
        answer = {"error": {"message": error.message, "hint": error.hint}}
    except MemoryError:
        traceback.print_exc()
        words = "The data needs more memory than a check may take."
        answer = {"error": {"message": words, "hint": "Set max_rows to read its first rows, or give a smaller file."}}
    write_text(result, json.dumps(answer))
    return 0


def check(request: dict, folder: Path, with_torch: bool) -> dict:
    """The report on a request. Raises UserError."""
    config = TrainConfig.from_dict(request["config"])
    config.check()
    tell("Looking at the base model")
    base = choose_base(config.base, config.base_revision)
    if not (with_torch or (base.source == "embedded" and not embedded.folder().exists())):
        sys.modules["torch"] = None  # who asks for it is told that it is not there
    files = fetch_tokenizer(base, lambda what, fraction: tell(what))
    tokenizer = load_tokenizer(files, config.chat_template)
    positions = read_object(files / "config.json").get("max_position_embeddings")
    _bound_memory(MORE_MEMORY)
    known = CheckedBase(base.model_id, config.base_reason or base.reason, positions)
    return build_report(config, folder, tokenizer, known, request["rows"], tell)


def tell(sentence: str) -> None:
    print(json.dumps({"progress": sentence}), flush=True)


def _bound_memory(more: int | None) -> None:
    """Let the system refuse memory past `more` bytes from here on (None: not any more).

    A hostile file then ends this process and not the machine. Elsewhere than on Linux the limits of `decoding` are all.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return
    highest = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = highest if more is None else pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (most, highest))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
