"""Chat templates: the app's own files, the published texts that are equal to them, and the template of an adapter.

Each file marks the assistant's text, its stop token included, with `{% generation %}`: those tokens are trained. Without the
marks it renders byte for byte like the published template of its family (a test compares them).
"""

import re
from functools import cache
from pathlib import Path

from common.errors import UserError
from common.imports import import_lock
from common.language import _

LABELS = {
    "zephyr": "Zephyr (TinyLlama)",
    "smollm2": "SmolLM2",
    "chatml": "ChatML",
    "llama2": "Llama 2",
    "llama3": "Llama 3",
    "alpaca": "Alpaca",
    "vicuna": "Vicuna",
    "plain": _("Plain (User: / Assistant:)"),
}
NAMES = tuple(LABELS)


@cache
def read_template(name: str) -> str:
    """Return the text of one of the app's templates. Raises UserError for a name that is not in `NAMES`."""
    if name not in NAMES:
        raise UserError(
            _("There is no chat template '{name}'.", name=name),
            _("Choose one of these: {names}.", names=", ".join(NAMES)),
        )
    return (Path(__file__).parent / f"{name}.jinja").read_text(encoding="utf-8")


def without_marks(template: str) -> str:
    """Return the same template for tools that do not know the marks (vLLM, llama.cpp): it renders the same text.

    The newline right after a mark goes with it, as jinja's trim_blocks (which transformers sets) removes it.
    """
    return re.sub(r"{% (end)?generation %}\n?", "", template)


def training_template(tokenizer) -> str:
    """Return the template to train with: it renders like `tokenizer.chat_template`, and marks the trained tokens.

    Raises UserError when the tokenizer's own template is neither marked, nor known here, nor known to TRL.
    """
    from models.templates.known import recognise

    own = tokenizer.chat_template or ""
    if "{% generation %}" in own.replace("{%-", "{%").replace("-%}", "%}"):
        return own
    name = recognise(own)
    return read_template(name) if name in NAMES else _template_of_trl(tokenizer)


def _template_of_trl(tokenizer) -> str:
    """Return the marked copy that TRL keeps for other families (Llama 3.1, ...), chosen by TRL by exact text."""
    with import_lock:
        from trl.chat_template_utils import get_training_chat_template

    try:
        return get_training_chat_template(tokenizer) or tokenizer.chat_template  # None: it is marked already
    except ValueError as error:
        raise UserError(
            _("This base model's chat template does not show where the assistant's words begin and end."),
            _("Choose another template ({names}), or use plain text rows.", names=", ".join(NAMES)),
        ) from error
