"""Loads a base's tokenizer in a process with limits and encodes a little: `python -m models.try_tokenizer FOLDER`.

Its exit code is 0 when it stays within the limits. A tokenizer.json may put a million letters for one, pad every text to
gigabytes, or split by a pattern that takes for ever.
"""

import os
import subprocess
import sys
from pathlib import Path

from common.language import _
from common.paths import REPOSITORY

MAX_MEMORY_BYTES = 4_000_000_000  # of addresses; transformers alone takes a good part of them
MAX_SECONDS = 60
MAX_TOKENS_PER_CHARACTER = 8  # one that is unknown becomes its bytes, with what surrounds it
SURROUNDING_TOKENS = 64
ASCII = "".join(map(chr, range(32, 127)))
PROBES = (
    ASCII,
    "a" * 2000,
    "1" * 2000,
    " " * 2000,
    "\n" * 2000,
    "a" * 2000 + "!",
    " a" * 1000 + "\n1",
    "한국어 🙂 Ж" * 50,
)


def try_tokenizer(folder: Path) -> str:
    """Say what is wrong with the tokenizer in `folder`; "" for nothing."""
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "VIRTUAL_ENV") if name in os.environ}
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "models.try_tokenizer", str(folder)],
            cwd=REPOSITORY,
            env={**kept, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=MAX_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _("The tokenizer of this base takes too long.")
    return _("The tokenizer of this base cannot be read, or takes too much memory.") if ended.returncode else ""


def main(folder: str) -> int:
    """Load the tokenizer in `folder` within limits and encode PROBES; return 3 when it makes too many tokens, else 0."""
    _limit()
    sys.modules["torch"] = None  # not needed, and it takes seconds
    from models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(folder)
    for text in PROBES:
        ids = tokenizer.encode(text, add_special_tokens=True, split_special_tokens=True)
        decoded = tokenizer.decode(ids)
        most = SURROUNDING_TOKENS + MAX_TOKENS_PER_CHARACTER * len(text)
        if max(len(ids), len(decoded)) > most:
            return 3
    return 0


def _limit() -> None:
    """Limit the memory and the CPU time of this process."""
    try:
        import resource
    except ImportError:  # Windows has none; the parent's clock is left
        return
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
