"""The base in memory, with adapters attached to it and switched in place; the longest unused adapters are dropped first.

Without an adapter every adapter is switched off, so that the base answers unchanged. Torch and PEFT are imported when something
is loaded.
"""

import gc
import os
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chat.formats import Formats
from chat.patches.lora import is_mixable, is_wrapped_otherwise, set_branches, set_rows
from common.errors import UserError
from common.imports import import_lock
from common.language import _
from models.adapter_fit import check_fits, damaged
from models.hardware import on_zero_gpu
from models.precision import load_base_model, resolve_precision
from models.prompt import PromptFormat
from models.quantised import quantised_in

MAX_ADAPTERS = 4
MAX_ADAPTER_BYTES = 4 * 10**9  # of several together, with embeddings of their own; four LoRAs of rank 256 take 3.2 GB
MAX_WINDOW_TOKENS = 8192
NOTHING = ""  # in place of the active adapter's name: not known to be any, nor the base


@dataclass(frozen=True)
class Model:
    """A model that answers: the base's folder, its precision, and an adapter's folder or None for the base itself."""

    base_folder: Path
    precision: str = "auto"
    adapter_folder: Path | None = None


class Resident:
    """The model in memory. Only the scheduler's thread may use it, but for formats and windows, which are for any thread."""

    def __init__(self, most_adapters: int = MAX_ADAPTERS) -> None:
        self.most_adapters = most_adapters
        self.network: Any = None  # transformers' or PEFT's model
        self.loaded: tuple[Path, str] | None = None
        self.bases_loaded = 0
        self._adapters: OrderedDict[str, Path] = OrderedDict()
        self._active: str | tuple | None = NOTHING
        self._mixable: dict[str, bool] = {}
        self._bytes: dict[str, int] = {}
        self.formats = Formats()

    def load(self, model: Model) -> tuple:
        """Attach the base and adapter of `model`, switch all rows to it, and return its key."""
        key = self.attach(model)
        self.switch([key])
        return key

    def attach(self, model: Model) -> tuple:
        """Load the base and the adapter of `model`; `switch` must follow before anything is computed.

        Return the key of this model: caches made under another key do not fit it. Raises UserError for an adapter that cannot be
        used; the base and the other adapters stay, unless it fails while it is attached: then the next request loads all anew.
        """
        precision = _precision_of(model)
        if self.loaded != (model.base_folder, precision):
            self._load_base(model.base_folder, precision)
        assert self.loaded
        name = None
        if model.adapter_folder:
            name = self._attach(model.adapter_folder)
        return (*self.loaded, name)

    def use(self, key: tuple) -> None:
        """Mark the adapter of `key` as the last used, when an answer begins with it.

        Not with every token: with more adapters at once than fit, the same ones would always be dropped.
        """
        if key[-1] in self._adapters:
            self._adapters.move_to_end(key[-1])

    def is_mixable(self, key: tuple) -> bool:
        """Return whether rows of this model can share a batch with others: the base, and plain LoRAs in memory."""
        return key[-1] is None or self._mixable.get(key[-1], False)

    def holds(self, model: Model) -> bool:
        """Return whether `model` can answer without loading or attaching: the network object stays the same."""
        base = (model.base_folder, _precision_of(model))
        if self.loaded != base or model.adapter_folder is None:
            return self.loaded == base
        try:
            return adapter_name(model.adapter_folder) in self._adapters
        except OSError:
            return True  # it is gone: nothing will be attached

    def window(self, model: Model) -> int:
        """Return the context window in tokens. From any thread; nothing needs to be loaded."""
        return base_sizes(model.base_folder)[0]

    def format_of(self, model: Model) -> PromptFormat:
        """Return the base's tokenizer with the model's chat template. From any thread."""
        return self.formats.of(model.base_folder, model.adapter_folder)

    def stop_ids(self, format: PromptFormat) -> set[int]:
        """Return the ids at which an answer ends: the tokenizer's, the template's, and the base's own."""
        own = self.network.generation_config.eos_token_id
        own = own if isinstance(own, list) else [own] if own is not None else []
        return {format.tokenizer.eos_token_id, *own, *format.stop_ids}

    def _load_base(self, folder: Path, precision: str) -> None:
        """Load the base in `folder`, in the place of the one in memory."""
        import torch

        self.unload()
        if precision == "int8":
            from chat.patches.int8 import load_int8

            self.network = load_int8(folder)
        else:
            device = {"": 0} if torch.cuda.is_available() else None
            self.network = load_base_model(folder, precision, device).eval()
        if not torch.cuda.is_available():
            from chat.patches.attention import install

            install(self.network)
        self.loaded = (folder, precision)
        self.bases_loaded += 1

    def hold(self, folder: Path, precision: str) -> None:
        """Load a base in 16 bits onto the card that ZeroGPU emulates in this thread: forks find it on a real one.

        By way of the CPU: the threads in which transformers loads onto a card have no emulation.
        """
        self.unload()
        self.network = load_base_model(folder, precision).eval().to("cuda")
        self.loaded = (folder, precision)
        self.bases_loaded += 1

    def unload(self) -> None:
        """Free the memory of the base and its adapters."""
        is_loaded = self.network is not None
        self.network, self.loaded, self._active = None, None, NOTHING
        self._adapters.clear()
        self._mixable.clear()
        self._bytes.clear()
        if is_loaded:
            gc.collect()  # PEFT's layers stand in circles: without it the next base would lie beside the last one

    def _attach(self, folder: Path) -> str:
        """Load an adapter into the base in memory, once; returns its name there."""
        with import_lock:
            from peft import PeftConfig, PeftModel

            from chat.patches.tokens import install

        try:
            name = adapter_name(folder)
        except OSError as error:
            raise UserError(_("The adapter '{name}' is gone.", name=folder.name), _("Pick another one.")) from error
        if name in self._adapters:
            return name
        check_fits(folder, self.network)
        if self.loaded and is_wrapped_otherwise(self.network, PeftConfig.from_pretrained(str(folder))):
            self._load_base(*self.loaded)
        self._active = NOTHING  # until it is switched: PEFT activates the first one, and wraps more layers for others
        try:
            if self._has_adapters():
                self.network.load_adapter(str(folder), adapter_name=name)
            else:
                self.network = PeftModel.from_pretrained(self.network, str(folder), adapter_name=name).eval()
            install(self.network)
        except BaseException as error:  # whatever a file brings PEFT or Rust to raise, a panic is no Exception
            self.unload()  # half of it may be attached: the next request loads the base anew
            raise damaged(folder, error) from error
        self._adapters[name] = folder
        self._mixable[name] = is_mixable(self.network, name)
        self._bytes[name] = _bytes_of(self.network, name)
        while self._is_too_much():
            oldest = next(iter(self._adapters))
            del self._adapters[oldest]
            self.network.delete_adapter(oldest)
            del self._mixable[oldest], self._bytes[oldest]
            set_branches(self.network, None)  # a layer's branch would keep the weights
        return name

    def _is_too_much(self) -> bool:
        """Return whether an adapter has to go: one alone stays, whatever it takes."""
        is_large = len(self._adapters) > 1 and sum(self._bytes.values()) > MAX_ADAPTER_BYTES
        return len(self._adapters) > self.most_adapters or is_large

    def switch(self, keys: list[tuple]) -> None:
        """Set the model of row i of a batch to `keys[i]`; when all keys are the same, of every row of any batch."""
        names = tuple(key[-1] for key in keys)
        wanted = names[0] if len(set(names)) == 1 else names
        if wanted == self._active:
            return
        self._active = NOTHING  # until all layers are switched: memory may end in between
        if self._has_adapters():
            if isinstance(wanted, str):
                self.network.set_adapter(wanted)
                self.network.base_model.enable_adapter_layers()
            else:
                self.network.base_model.disable_adapter_layers()  # what is no plain branch is the base's
            if isinstance(wanted, tuple):
                set_rows(self.network, list(names))
            else:
                set_branches(self.network, wanted)
        self._active = wanted

    def _has_adapters(self) -> bool:
        """Return whether the network is a PEFT model."""
        return hasattr(self.network, "peft_config") and hasattr(self.network, "disable_adapter")


def wanted_precision() -> str:
    """Return the precision in which the page's chat loads a base: `CHAT_PRECISION` when it is set, else 8bit; bf16 on ZeroGPU.

    On a CPU 8bit is three times as fast as fp32 and its loss the same within 1 % (benchmarks/chat_speed.py). Only in fp32 are
    the tokens exactly the same with and without a cache, alone and in a batch: in 8bit the sums are rounded to bf16. ZeroGPU
    holds 16 bits only.
    """
    return os.environ.get("CHAT_PRECISION", "bf16" if on_zero_gpu() else "8bit")


def base_sizes(folder: Path) -> tuple[int, int]:
    """Return (context window in tokens, number of embeddings) from the config.json in `folder`. Raises UserError."""
    with import_lock:
        from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)
        return min(int(config.max_position_embeddings), MAX_WINDOW_TOKENS), int(config.vocab_size)
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise UserError(
            _("The base model '{name}' cannot be read.", name=folder.name), _("Download it again.")
        ) from error


def _precision_of(model: Model) -> str:
    """Return the precision to load: of a base that is quantised already its own. Raises UserError for one that cannot answer."""
    import torch

    stored = quantised_in(model.base_folder)
    if stored and stored.precision:
        return stored.precision
    return chat_precision(model.precision, torch.cuda.is_available())


def chat_precision(precision: str, has_cuda: bool) -> str:
    """Return the precision to load: on a CPU '8bit' is torch's int8 kernel, 20 times as fast as bitsandbytes."""
    resolved = resolve_precision(precision, has_cuda)
    return "int8" if resolved == "8bit" and not has_cuda else resolved


def _bytes_of(network, name: str) -> int:
    """Return the bytes that an adapter takes in memory, which may be more than its file."""
    return sum(part.nbytes for path, part in network.named_parameters() if name in path.split("."))


def adapter_name(folder: Path) -> str:
    """Return a name for PEFT, without dots: a folder that was trained again is another adapter."""
    changed = (folder / "adapter_model.safetensors").stat().st_mtime_ns
    return f"{folder.parent.name}_{folder.name}_{changed}".replace(".", "_")
