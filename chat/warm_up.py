"""Imports what the first answer needs while the Chat tab is read; the app itself starts without torch.

Saves 3 s of the first answer, see benchmarks/README.md.
"""

import gc
import logging
import threading
from functools import cache

from common.errors import UserError
from common.imports import import_lock
from common.language import _

_lock = threading.Lock()
_thread: threading.Thread | None = None


def start_importing() -> threading.Thread:
    """Import in a thread of its own, once; return that thread."""
    global _thread

    def work() -> None:
        try:
            import_packages()
        except Exception:  # the edge of a thread: the answer says what is wrong, in its place
            logging.getLogger(__name__).warning("The chat's packages cannot be imported.", exc_info=True)

    with _lock:
        if _thread is None:
            _thread = threading.Thread(target=work, name="chat-imports", daemon=True)
            _thread.start()
        return _thread


@cache
def import_packages() -> None:
    """Import what an answer needs, or wait for another thread that does. Raises UserError for a missing package."""
    try:
        with import_lock:
            import peft  # noqa: F401
            import torch  # noqa: F401
            from transformers import AutoModelForCausalLM, DynamicCache, generation  # noqa: F401
            from transformers.models.llama import modeling_llama  # noqa: F401
    except ImportError as error:
        words = _("A package that the chat needs cannot be imported: {reason}.", reason=error)
        raise UserError(words, _("Install the app again: `make setup`.")) from error
    gc.freeze()  # modules stay: a collection while the first adapter is attached would walk them, 0.3 s
