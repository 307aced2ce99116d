"""One way to load a tokenizer, for training, preview and chat alike. Imports transformers when called, not before."""

from pathlib import Path

from common.errors import UserError
from common.imports import import_lock
from models.templates import read_template, without_marks


def load_tokenizer(folder: Path | str, template: str = "auto"):
    """The tokenizer in `folder`, with a chat template and a pad token. `template`: 'auto' keeps the model's own.

    A model without a chat template gets TinyLlama's. Pad falls back to eos: labels are masked by position, so that the
    stop token stays trained. Raises UserError when the folder holds no tokenizer.
    """
    with import_lock:
        from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"No tokenizer can be read from '{folder}'.", str(error).splitlines()[0]) from error
    if template != "auto":
        tokenizer.chat_template = without_marks(read_template(template))
    elif not tokenizer.chat_template:
        tokenizer.chat_template = without_marks(read_template("zephyr"))
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
