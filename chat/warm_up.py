"""Imports what the first answer needs, while somebody reads the Chat tab and types: 3 seconds that they need not wait for.

The app starts without torch; whoever opens the Chat tab will want it.
"""

import logging
import threading

from common.collection import without_collection
from common.errors import UserError
from common.imports import import_lock

_lock = threading.Lock()
_thread: threading.Thread | None = None


def start_importing() -> threading.Thread:
    """Import in a thread of its own, once; returns that thread."""
    global _thread
    with _lock:
        if _thread is None:
            _thread = threading.Thread(target=_import_early, name="chat-imports", daemon=True)
            _thread.start()
        return _thread


def import_packages() -> None:
    """Import what an answer needs, or wait until another thread has. Raises UserError for what is missing."""
    try:
        with import_lock, without_collection():
            import peft  # noqa: F401
            import torch  # noqa: F401
            from transformers import AutoModelForCausalLM, DynamicCache, generation  # noqa: F401
            from transformers.models.llama import modeling_llama  # noqa: F401
    except ImportError as error:
        words = f"A package that the chat needs cannot be imported: {error}."
        raise UserError(words, "Install the app again: `make setup`.") from error


def _import_early() -> None:
    try:
        import_packages()
    except Exception:  # the edge of a thread: the answer says what is wrong, in its place
        logging.getLogger(__name__).warning("The chat's packages cannot be imported.", exc_info=True)
