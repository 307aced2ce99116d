"""Loads a base's tokenizer, in the same way for training, preview and chat. Imports transformers when called, not before.

The tokenizer files of an adapter are kept and sent, never loaded.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.files import stamps
from common.imports import import_lock
from common.language import _
from common.visitors import has_visitors
from models.templates import read_template, without_marks
from models.templates.choice import OwnToken, Template
from models.try_tokenizer import try_tokenizer

FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json")


def load_tokenizer(folder: Path | str, template: str = "auto"):
    """Return the tokenizer in `folder`, with a chat template and a pad token. `template`: 'auto' keeps the model's own.

    A model without a chat template gets TinyLlama's. Pad falls back to eos: labels are masked by position, so that the
    stop token stays trained. Raises UserError when no tokenizer can be read there.
    """
    with import_lock:
        from transformers import AutoTokenizer

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise _unreadable(folder, error) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's, which is no Exception
            raise
        raise _unreadable(folder, error) from error
    if template != "auto":
        tokenizer.chat_template = without_marks(read_template(template))
    elif not tokenizer.chat_template:
        tokenizer.chat_template = without_marks(read_template("zephyr"))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base_tokenizer(folder: Path, template: Template):
    """Return the tokenizer of the base in `folder` for the app's own process, with the text and the tokens of `template`.

    Where visitors name bases it is first tried in a process with limits, once while its files stay the same.
    """
    if has_visitors() and (problem := _trial(folder, stamps(folder, *FILES))):
        raise UserError(problem, _("Choose another base."))
    tokenizer = load_tokenizer(folder)
    tokenizer.chat_template = template.text
    for token in template.tokens:
        _add(tokenizer, token)
    return tokenizer


def _add(tokenizer, token: OwnToken) -> None:
    """Add a token with its number, unless the tokenizer has it. Raises UserError where another one has that number."""
    with import_lock:
        from transformers import AddedToken

    if len(tokenizer) == token.number:
        tokenizer.add_tokens([AddedToken(token.content, normalized=False, special=token.is_control)])
    if tokenizer.convert_ids_to_tokens(token.number) != token.content:
        raise UserError(
            _(
                "The adapter's token '{token}' has the number {number:,}, which is another token's here.",
                token=token.content,
                number=token.number,
            ),
            _("Get the adapter again, or the base that it was trained on."),
        )


@lru_cache(maxsize=100)
def _trial(folder: Path, stamps: tuple) -> str:
    """Say what is wrong with the tokenizer, "" for nothing; cached by the `stamps` of its files."""
    return try_tokenizer(folder)


def _unreadable(folder: Path | str, error: BaseException) -> UserError:
    """Return the error for a tokenizer that cannot be read, without a path of the server."""
    first_line = next(iter(str(error).splitlines()), type(error).__name__)
    words = first_line.replace(str(folder), Path(folder).name)[:200]
    return UserError(
        _("The tokenizer of '{name}' cannot be read ({error}).", name=Path(folder).name, error=words.rstrip(".")),
        _("Get the base again."),
    )
