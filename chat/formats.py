"""The prompt formats of bases and adapters, made once and used by any thread.

A format is a base's tokenizer with a chat template, so all adapters of one family share one. Which template an adapter has is
looked up at every call: one that was trained again, or was given another template, gets another format.
"""

import threading
from collections import OrderedDict
from pathlib import Path

from common.errors import UserError
from common.files import read_json, stamps
from common.language import _
from models.prompt import PromptFormat
from models.templates.choice import Template, template_of
from models.tokenizer import FILES, load_base_tokenizer

MAX_FORMATS = 4
MAX_WAIT_SECONDS = 60


class Formats:
    """At most `most` formats; the longest unused are dropped first."""

    def __init__(self, most: int = MAX_FORMATS) -> None:
        self.most = most
        self._formats: OrderedDict[tuple, PromptFormat] = OrderedDict()
        self._making: dict[tuple, threading.Lock] = {}
        self._lock = threading.Lock()

    def of(self, base_folder: Path, adapter_folder: Path | None = None) -> PromptFormat:
        """Return the format for the base, or for an adapter on it. Raises UserError."""
        template = template_of(base_folder, adapter_folder)
        key = (base_folder, stamps(base_folder, *FILES), template)
        if format := self._find(key):
            return format
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        if not making.acquire(timeout=MAX_WAIT_SECONDS):
            raise UserError(_("The tokenizer of this base is still loading."), _("Try again in a minute."))
        try:
            format = self._find(key) or read_format(base_folder, template)
            with self._lock:
                self._formats[key] = format
                while len(self._formats) > self.most:
                    self._formats.popitem(last=False)
            return format
        finally:
            making.release()
            with self._lock:
                self._making.pop(key, None)

    def _find(self, key: tuple) -> PromptFormat | None:
        """Return the format that is kept under `key` and mark it as used; None without one."""
        with self._lock:
            if key in self._formats:
                self._formats.move_to_end(key)
            return self._formats.get(key)


def read_format(base_folder: Path, template: Template) -> PromptFormat:
    """Return the tokenizer in `base_folder` with a template. Raises UserError."""
    tokenizer = load_base_tokenizer(base_folder, template)
    config = read_json(base_folder / "config.json", {})
    rows = config.get("vocab_size") if isinstance(config, dict) else None
    if isinstance(rows, int) and len(tokenizer) > rows:
        words = _(
            "The tokenizer of '{name}' has {count:,} tokens; the model has {known:,}.",
            name=base_folder.name,
            count=len(tokenizer),
            known=rows,
        )
        raise UserError(words, _("Its files do not belong together."))
    try:
        return PromptFormat(tokenizer, template)
    except UserError:
        raise
    except Exception as error:  # a base's own template raises whatever it likes
        first_line = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        words = _("The chat template of '{name}' fails: {reason}", name=base_folder.name, reason=first_line)
        raise UserError(words, _("Pick another base model.")) from error
