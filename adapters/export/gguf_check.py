"""Reads GGUF files back and compares them with the source: the tokenizer, every weight, the next tokens.

An adapter is read by the `gguf` package, a model by transformers' own GGUF reader. Heavy imports when called.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.export.merge import PROMPTS
from common.errors import UserError
from common.imports import import_lock
from common.language import _
from models.family import shape_of
from models.precision import load_base_model
from models.tokenizer import load_tokenizer

DIFFERENT, NOT_KEPT = _("The GGUF file does not hold what was written."), _("It was not kept.")


@dataclass(frozen=True)
class Limit:
    """The most by which a file may differ from its model: relative errors, and the least part of equal next tokens.

    f16 keeps 11 bits (2^-11 = 0.05 %), q8_0 127 steps for the largest of 32 numbers (0.5 % of a normal distribution).
    """

    weight: float
    logits: float
    agreement: float


LIMITS = {"f16": Limit(0.001, 0.01, 0.95), "q8_0": Limit(0.02, 0.1, 0.8)}
TEXTS = (*PROMPTS, "Grüße, 3.14 \n\tЖ 日本 🙂 </s>")


def compare_tokenizers(folder: Path, gguf_file: Path) -> None:
    """Raise UserError unless both read the same tokens from texts of many kinds."""
    with import_lock:
        from transformers import AutoTokenizer

    ours = load_tokenizer(folder)
    theirs: Any = AutoTokenizer.from_pretrained(str(gguf_file.parent), gguf_file=gguf_file.name)
    if any(ours(text)["input_ids"] != theirs(text)["input_ids"] for text in TEXTS):
        raise UserError(_("The tokenizer reads texts differently from GGUF."), NOT_KEPT)


def compare_models(folder: Path, gguf_file: Path, outtype: str) -> float:
    """Return the largest difference of a next token's probability between model and file, over the same texts.

    Raises UserError when a weight, the logits, or the next tokens differ by more than rounding (`LIMITS`).
    """
    import torch

    with import_lock:
        from transformers import AutoModelForCausalLM, GgufConfig

    limit = LIMITS[outtype]
    tokenizer = load_tokenizer(folder)
    model, largest = load_base_model(folder, "fp32").eval(), 0.0
    family = shape_of(folder).family
    read = AutoModelForCausalLM.from_pretrained(
        str(gguf_file.parent),
        gguf_file=gguf_file.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
        **({"head_dim": model.config.head_dim} if family.head_dim else {}),  # which transformers reads for a Llama only
    )
    ours, theirs = model.state_dict(), read.state_dict()
    for name, weight in ours.items():
        _check_error(name, weight, theirs[name], limit.weight)
    agreed = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.no_grad():
            expected, found = model(ids).logits, read(ids).logits
        _check_error(_("the logits"), expected, found, limit.logits)
        largest = max(largest, (expected.softmax(-1) - found.softmax(-1)).abs().max().item())
        agreed += (expected.argmax(-1) == found.argmax(-1))[0].tolist()
    if sum(agreed) < limit.agreement * len(agreed):
        raise UserError(
            _("Read back, the GGUF file agrees on only {share:.0%} of the tokens.", share=sum(agreed) / len(agreed)),
            NOT_KEPT,
        )
    return largest


def _check_error(what: str, expected, found, most: float) -> None:
    """Raise UserError when the relative error (of the root mean square) is above `most`, or no number."""
    error = ((found - expected).norm() / expected.norm().clamp(min=1e-9)).item()
    if not error <= most:
        raise UserError(_("Read back from GGUF, {what} differs by {share:.1%}.", what=what, share=error), NOT_KEPT)


def compare_tensors(path: Path, tensors: Mapping[str, Any]) -> float:
    """Return the largest difference between the tensors of the file and `tensors`. Raises UserError unless it is zero."""
    from gguf import GGUFReader

    read = {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}
    if set(read) != set(tensors):
        raise UserError(DIFFERENT, NOT_KEPT)
    largest = max(float(abs(read[name] - values).max()) for name, values in tensors.items())
    if not largest == 0:  # it is written in float32, as it is
        raise UserError(DIFFERENT, NOT_KEPT)
    return largest
