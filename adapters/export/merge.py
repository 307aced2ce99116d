"""Merges an adapter into its base in 16 or 32 bits, and measures how far the merged model is from base and adapter.

Never into a quantised base: rounding the sum again costs 3.3 % of the weights' size. The base is
loaded in fp32 for it, whatever precision it was trained in. Torch is imported when called.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.library import Adapter
from common.errors import MAKE_ROOM, UserError
from common.files import check_free, sweep
from common.imports import import_lock
from common.language import Sentence, _
from models.adapter_fit import check_fits
from models.hardware import use_all_cores
from models.hub.fetch import Progress
from models.messages import Message
from models.precision import load_base_model
from models.prompt import PromptFormat
from models.templates.choice import template_of
from models.tokenizer import load_base_tokenizer

DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}  # and what torch calls them
PROMPTS = ("Hello! Who are you?", "Name three fruits.", "Explain in one sentence why the sky is blue.")
STAGING_PREFIX = ".merging-"
ANSWER_TOKENS = 24
SPARE_DISK_BYTES = 200_000_000
MIN_AGREEMENT = 0.9


@dataclass(frozen=True)
class Merged:
    """The merged model's folder, and how far it is from base and adapter over the tokens of some answers.

    `largest_difference` is the largest change of any token's probability (0 to 1), `agreement` the part of the places at
    which both would say the same next token.
    """

    folder: Path
    dtype: str
    largest_difference: float
    agreement: float
    tokens: int

    def sentence(self) -> Sentence:
        """Return how close the merged model is to base and adapter, in words."""
        return _(
            "Merged in {dtype}. Over {tokens} tokens, the merged and the unmerged model choose the same next token in "
            "{agreement:.1%} of the places; the largest difference of a probability is {difference:.2g}.",
            dtype=self.dtype,
            tokens=self.tokens,
            agreement=self.agreement,
            difference=self.largest_difference,
        )


def merge_adapter(
    adapter: Adapter,
    base_folder: Path,
    target: Path,
    dtype: str = "bf16",
    progress: Progress = lambda what, fraction: None,
) -> Merged:
    """Write the merged model to `target`, by rename, after it was compared. Raises UserError.

    The base's tokenizer and the adapter's chat template are written with it. An existing target is never overwritten.
    """
    import torch

    with import_lock:
        from peft import PeftModel

    if dtype not in DTYPES:
        words = _("An adapter cannot be merged in '{dtype}'.", dtype=dtype)
        raise UserError(words, _("Choose one of these: {names}.", names=", ".join(DTYPES)))
    use_all_cores()
    check_free(target)
    template = template_of(base_folder, adapter.folder)
    tokenizer = load_base_tokenizer(base_folder, template)
    _check_room(base_folder, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(*target.parent.glob(f"{STAGING_PREFIX}*"))
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=STAGING_PREFIX))
    partial = staging / target.name
    try:
        progress(_("Loading base and adapter in fp32"), 0.1)
        network = load_base_model(base_folder, "fp32")
        check_fits(adapter.folder, network)
        model: Any = PeftModel.from_pretrained(network, str(adapter.folder)).eval()
        progress(_("Checking answers before merging"), 0.3)
        format = PromptFormat(tokenizer, template)
        expected = [_answer(model, format.encode([Message(role="user", content=one)]).ids) for one in PROMPTS]
        progress(_("Merging"), 0.5)
        model = model.merge_and_unload(safe_merge=True)
        if model.get_input_embeddings().weight is not model.get_output_embeddings().weight:
            model.config.tie_word_embeddings = False  # one of them is the adapter's own now
        model = model.to(getattr(torch, DTYPES[dtype]))
        model.config.dtype = model.dtype
        model.save_pretrained(partial, save_original_format=False)  # of a 4-bit file that was read there is none
        tokenizer.save_pretrained(partial)
        del model
        progress(_("Comparing the answers of the merged model"), 0.8)
        difference, agreement, tokens = _compare(load_base_model(partial, "fp32").eval(), expected)
        if not agreement >= MIN_AGREEMENT:
            words = _("The merged model agrees on only {share:.0%} of the tokens.", share=agreement)
            raise UserError(words, _("It was not kept."))
        check_free(target)
        partial.rename(target)
    except ValueError as error:  # PEFT's safe_merge: the sum is no number
        reason = str(error).splitlines()[0][:150].rstrip(".")
        words = _("'{name}' cannot be merged ({error}).", name=adapter.title, error=reason)
        raise UserError(words, _("It was not kept.")) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    progress(_("Done"), 1.0)
    return Merged(target, dtype, difference, agreement, tokens)


def _check_room(base_folder: Path, target: Path) -> None:
    """Raise UserError when a model of the size of the base does not fit on the disk of `target`."""
    needed = sum(path.stat().st_size for path in base_folder.glob("*.safetensors"))
    free = shutil.disk_usage(next(folder for folder in target.parents if folder.exists())).free
    if free < needed + SPARE_DISK_BYTES:
        words = _(
            "The merged model takes up to {needed:.1f} GB; {free:.1f} GB are free.",
            needed=needed / 1e9,
            free=free / 1e9,
        )
        raise UserError(words, MAKE_ROOM)


def _answer(model, prompt: list[int]):
    """Return (ids of prompt and greedy answer, probabilities of every next token: (tokens, vocabulary))."""
    import torch

    with torch.no_grad():
        ids = torch.tensor([prompt], device=model.device)
        ids = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=ANSWER_TOKENS, do_sample=False
        )
        return ids, model(input_ids=ids).logits[0].float().softmax(-1).cpu()


def _compare(model, expected: list) -> tuple[float, float, int]:
    """Return (largest difference of a probability, part of equal next tokens, number of tokens) over the same texts."""
    import torch

    largest, equal, total = 0.0, 0, 0
    for ids, before in expected:
        with torch.no_grad():
            after = model(input_ids=ids.to(model.device)).logits[0].float().softmax(-1).cpu()
        largest = max(largest, (after - before).abs().max().item())
        equal += (after.argmax(-1) == before.argmax(-1)).sum().item()
        total += len(before)
    return largest, equal / total, total
