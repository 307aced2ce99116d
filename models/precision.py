"""Numbers: which precision a base is loaded in, and the one function that loads it, for training and chat alike.

8bit is bitsandbytes' LLM.int8, 4bit its NF4. `auto` is 8bit on CUDA and fp32 on a CPU: on a CPU without AVX-512, int8 and
bf16 train many times slower than fp32 (measured: bf16 backward 90 times).
"""

import logging
import warnings
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.imports import import_lock
from common.language import _
from models.quantised import check_precision, quantised_in, strange_weights

PRECISIONS = ("auto", "8bit", "4bit", "bf16", "fp16", "fp32")
QUANTISED = ("8bit", "4bit")


def resolve_precision(precision: str, has_cuda: bool) -> str:
    """Return `precision` with 'auto' decided. Raises UserError for an unknown one, and for fp16 on a CPU."""
    if precision not in PRECISIONS:
        raise UserError(
            _("There is no precision '{precision}'.", precision=precision),
            _("Choose one of these: {names}.", names=", ".join(PRECISIONS)),
        )
    if precision == "auto":
        return "8bit" if has_cuda else "fp32"
    if precision == "fp16" and not has_cuda:
        raise UserError(_("fp16 needs a GPU."), _("Choose fp32 or auto on a CPU."))
    return precision


def compute_dtype(precision: str):
    """Return the torch dtype in which the base computes.

    bf16 only where the card has it natively (compute capability 8 or more: torch also counts emulation on older ones), else
    fp16; fp32 on a CPU, whatever is quantised there.
    """
    import torch

    if precision == "fp32" or (precision != "bf16" and not torch.cuda.is_available()):
        return torch.float32
    if not torch.cuda.is_available():
        return torch.bfloat16
    if precision == "fp16" or torch.cuda.get_device_capability()[0] < 8:
        return torch.float16
    return torch.bfloat16


def load_base_model(folder: Path | str, precision: str, device_map=None):
    """Return the causal language model in `folder` in a resolved `precision`; without `device_map` the caller places it.

    Weights that are quantised already are loaded as they are in their own precision; in 16 or 32 bits they are made floats.
    The dtype is always given: without it quantised layers sit in an fp32 model and compute in fp32.
    Safetensors only, no remote code. Raises UserError for a precision that such weights cannot have, and for weights that are
    not those of the config.json: transformers would fill the missing ones with random numbers.
    """
    import torch

    with import_lock:
        from transformers import AutoConfig, AutoModelForCausalLM

    hush_libraries()
    dtype = compute_dtype(precision)
    folder = Path(folder)
    stored, quantising = quantised_in(folder), None
    if stored and precision in QUANTISED:
        check_precision(precision, stored, f"'{folder.name}'")
    config: Any = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
    if stored:
        config.quantization_config["bnb_4bit_compute_dtype"] = str(dtype).removeprefix("torch.")
    else:
        config.__dict__.pop("quantization_config", None)  # of weights that were made floats since
        quantising = quantization_config(precision, dtype)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            str(folder),
            config=config,
            dtype=dtype,
            quantization_config=quantising,
            device_map=device_map,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except RuntimeError as error:
        if "ignore_mismatched_sizes" not in str(error):
            raise
        raise strange_weights(folder.name) from error
    model, found = loaded
    if found["missing_keys"]:
        raise strange_weights(folder.name)
    if stored and precision not in QUANTISED:
        model = model.dequantize()
    for weight in model.parameters() if stored else ():  # they come in the dtype of the file, whatever was asked for
        if type(weight) is torch.nn.Parameter and weight.is_floating_point():
            weight.data = weight.data.to(dtype)
    return model


def quantization_config(precision: str, dtype):
    """Return bitsandbytes' configuration for '8bit' and '4bit', None for the others."""
    with import_lock:
        from transformers import BitsAndBytesConfig

    if precision == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    if precision == "4bit":
        return BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            bnb_4bit_quant_storage=dtype,  # the dtype of the rest, so that FSDP can shard both together
        )
    return None


class _OncePerMessage(logging.Filter):
    """A logging filter that passes each message once, by its template: its values may differ at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True for the first record with this template."""
        if record.msg in self.seen:
            return False
        self.seen.add(record.msg)
        return True


def hush_libraries() -> None:
    """Silence repeated messages of libraries: bitsandbytes' 'inputs will be cast' would come 15,000 times an answer.

    Also the offer of a kernel that is not installed, transformers' bar for loading weights, and its warnings about PEFT's
    calls: the app shows its own progress.
    """
    for noisy in ("bitsandbytes.backends.cpu.ops", "transformers.integrations.bitsandbytes"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\.")
    with import_lock:
        from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    logger = logging.getLogger("bitsandbytes.autograd._functions")
    if not any(isinstance(known, _OncePerMessage) for known in logger.filters):
        logger.addFilter(_OncePerMessage())
