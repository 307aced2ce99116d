"""Chat templates with `{% generation %}` marks around what the assistant says, its stop token included.

Each renders byte for byte like the model's own template (a test compares them); the marks only tell which tokens are
trained. `zephyr` is TinyLlama-Chat's, `smollm2` SmolLM2-Instruct's (ChatML with its default system prompt), `chatml` plain.
"""

import re
from functools import cache
from pathlib import Path

from common.errors import UserError
from common.imports import import_lock

NAMES = ("zephyr", "smollm2", "chatml")
_PROBES = (
    [{"role": "user", "content": "a"}],
    [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
    [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c\n"},
        {"role": "assistant", "content": "d"},
    ],
)


@cache
def read_template(name: str) -> str:
    """The text of one of our templates. Raises UserError for a name that is not in `NAMES`."""
    if name not in NAMES:
        raise UserError(f"There is no chat template '{name}'.", f"Choose one of {', '.join(NAMES)}.")
    return (Path(__file__).parent / f"{name}.jinja").read_text(encoding="utf-8")


def without_marks(template: str) -> str:
    """The same template for tools that do not know the marks (vLLM, llama.cpp): it renders the same text.

    The newline right after a mark goes with it, as jinja's trim_blocks (which transformers sets) takes it away.
    """
    return re.sub(r"{% (end)?generation %}\n?", "", template)


def training_template(tokenizer) -> str:
    """The template to train `tokenizer`'s model with: it renders like `tokenizer.chat_template` and marks what is trained.

    Raises UserError when the tokenizer's own template is neither marked, nor one of ours, nor one that TRL knows.
    """
    own = tokenizer.chat_template
    if own and "{% generation %}" in own.replace("{%-", "{%").replace("-%}", "%}"):
        return own
    for name in NAMES:
        if own and _renders_alike(tokenizer, own, read_template(name)):
            return read_template(name)
    return _template_of_trl(tokenizer)


def _renders_alike(tokenizer, first: str, second: str) -> bool:
    """True when both templates give the same text for every probe, with and without the opening of an answer."""
    return all(
        _render(tokenizer, first, messages, opening) == _render(tokenizer, second, messages, opening)
        for messages in _PROBES
        for opening in (False, True)
    )


def _render(tokenizer, template: str, messages: list[dict], opening: bool) -> str | None:
    """The text of a conversation, or None where the template refuses it (some allow no system message)."""
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, add_generation_prompt=opening
        )
    except (TemplateError, TypeError):
        return None


def _template_of_trl(tokenizer) -> str:
    """The marked copy that TRL keeps for other families (Llama 3, ...), chosen by TRL by exact text."""
    with import_lock:
        from trl.chat_template_utils import get_training_chat_template

    try:
        return get_training_chat_template(tokenizer)
    except ValueError as error:
        raise UserError(
            "This base model's chat template is not one that shows where the assistant's words begin and end.",
            f"Choose the template yourself ({', '.join(NAMES)}), or use plain text rows.",
        ) from error
