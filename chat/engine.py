"""One base in memory, adapters attached and switched in place, replies streamed as growing text.

The base pane is the base: without an adapter the reply is generated with every adapter switched off. Torch is imported when
the first model is loaded, so that the app starts without it.

    engine = Engine()
    for text in engine.reply(Model(base_folder, "fp32", adapter_folder), messages, Sampling()): ...
"""

import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from chat.history import check_messages, fit_history
from common.errors import UserError
from models.precision import load_base_model, resolve_precision
from models.tokenizer import load_tokenizer

LONGEST_WINDOW = 8192


@dataclass(frozen=True)
class Model:
    """What answers: the base's folder, its precision, and an adapter's folder or None for the base itself."""

    base_folder: Path
    precision: str = "auto"
    adapter_folder: Path | None = None


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. Temperature 0 takes the likeliest."""

    max_new_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 0.95
    seed: int = 0

    def check(self) -> None:
        """Raise UserError for values that cannot be used; NaN is one of them."""
        limits = {"max_new_tokens": (1, 4096), "temperature": (0.0, 5.0), "top_p": (0.01, 1.0), "seed": (0, 2**63 - 1)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise UserError(f"{name} is {getattr(self, name)}.", f"It must be between {low} and {high}.")


@dataclass
class Reply:
    """A reply so far. `tokens_used` of `window` are the prompt; `ended` is True when the model stopped by itself."""

    text: str = ""
    tokens_used: int = 0
    window: int = 0
    left_out: int = 0
    new_tokens: int = 0
    ended: bool = False


class Engine:
    """Holds one base model and answers one request at a time; others wait at a lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: tuple[Path, str] | None = None
        self._model = None
        self._tokenizers: dict[Path, object] = {}

    def reply(
        self, model: Model, messages: list[dict], sampling: Sampling, stop: threading.Event | None = None
    ) -> Iterator[Reply]:
        """Stream the reply to `messages`. Closing the generator, or setting `stop`, ends the generation within a token.

        Raises UserError for messages or settings that cannot be used, and for an adapter that cannot be loaded.
        """
        sampling.check()
        messages = check_messages(messages)
        stop = stop or threading.Event()
        with self._lock:
            try:
                yield from self._reply(model, messages, sampling, stop)
            finally:
                stop.set()

    def answers(self, model: Model, conversations: list[list[dict]], sampling: Sampling) -> list[Reply]:
        """Answer many conversations in one batch, greedily or sampled; for comparing models, not for talking."""
        import torch

        sampling.check()
        with self._lock:
            self._load(model)
            tokenizer = self._tokenizer(model)
            prompts = [prompt_ids(tokenizer, check_messages(messages)) for messages in conversations]
            width = max(map(len, prompts))
            padded = [[tokenizer.pad_token_id] * (width - len(ids)) + ids for ids in prompts]
            mask = [[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts]
            arguments = self._arguments(tokenizer, padded, mask, sampling)
            torch.manual_seed(sampling.seed)
            with self._switched_to(model):
                generated = self._model.generate(**arguments)[:, width:].tolist()
        stop_ids = set(self._stop_ids(tokenizer))
        return [_finished(tokenizer, ids, new, stop_ids) for ids, new in zip(prompts, generated, strict=True)]

    def _reply(self, model: Model, messages: list[dict], sampling: Sampling, stop: threading.Event) -> Iterator[Reply]:
        self._load(model)
        tokenizer = self._tokenizer(model)
        window = min(self._model.config.max_position_embeddings, LONGEST_WINDOW)
        budget = window - sampling.max_new_tokens
        fitted = fit_history(messages, lambda part: len(prompt_ids(tokenizer, part)), budget)
        reply = Reply(tokens_used=fitted.tokens, window=window, left_out=fitted.left_out)
        ids = prompt_ids(tokenizer, fitted.messages)
        with self._switched_to(model):
            yield from self._generate(tokenizer, ids, sampling, stop, reply)

    def _switched_to(self, model: Model):
        """The model's adapter made active, or every adapter switched off for as long as the context lasts."""
        if model.adapter_folder:
            self._model.set_adapter(adapter_name(model.adapter_folder))
            return nullcontext()
        return self._model.disable_adapter() if self._has_adapters() else nullcontext()

    def _generate(self, tokenizer, ids: list[int], sampling: Sampling, stop: threading.Event, reply: Reply):
        """Run `generate` in a thread and yield the text as it grows; what the thread raised is raised here."""
        import torch
        from transformers import TextIteratorStreamer

        streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        result: dict = {}

        def work() -> None:
            try:
                torch.manual_seed(sampling.seed)
                arguments = self._arguments(tokenizer, [ids], [[1] * len(ids)], sampling)
                result["ids"] = self._model.generate(**arguments, streamer=streamer, stopping_criteria=[_until(stop)])
            except Exception as error:  # handed to the thread that waits; nobody sees it otherwise
                result["error"] = error
            finally:
                streamer.end()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            for piece in streamer:
                reply.text += piece
                yield reply
        finally:
            stop.set()
            thread.join()
        if "error" in result:
            raise result["error"]
        new = result["ids"][0, len(ids) :].tolist()
        reply.new_tokens, reply.ended = len(new), bool(new) and new[-1] in self._stop_ids(tokenizer)
        yield reply

    def _arguments(self, tokenizer, ids: list[list[int]], mask: list[list[int]], sampling: Sampling) -> dict:
        """What `generate` gets; `ids` and `mask` are (conversations, tokens), padded on the left."""
        import torch

        chosen = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if sampling.temperature > 0:
            chosen = {"do_sample": True, "temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
        return {
            "input_ids": torch.tensor(ids, device=self._model.device),
            "attention_mask": torch.tensor(mask, device=self._model.device),
            "max_new_tokens": sampling.max_new_tokens,
            "eos_token_id": self._stop_ids(tokenizer),
            "pad_token_id": tokenizer.pad_token_id,
            **chosen,
        }

    def _stop_ids(self, tokenizer) -> list[int]:
        """The token that ends an answer, and whatever else the base itself stops at."""
        own = self._model.generation_config.eos_token_id
        return sorted({tokenizer.eos_token_id, *(own if isinstance(own, list) else [own] if own is not None else [])})

    def _load(self, model: Model) -> None:
        """Bring the base and the adapter of `model` into memory; another base replaces the one that is there."""
        import torch

        precision = resolve_precision(model.precision, torch.cuda.is_available())
        if self._loaded != (model.base_folder, precision):
            self._model, self._loaded, self._tokenizers = None, None, {}
            device = {"": 0} if torch.cuda.is_available() else None
            self._model = load_base_model(model.base_folder, precision, device).eval()
            self._loaded = (model.base_folder, precision)
        if model.adapter_folder:
            self._attach(model.adapter_folder)

    def _attach(self, folder: Path) -> None:
        """Load an adapter into the base in memory, once."""
        from peft import PeftModel
        from safetensors import SafetensorError

        name = adapter_name(folder)
        if self._has_adapters() and name in self._model.peft_config:
            return
        try:
            if self._has_adapters():
                self._model.load_adapter(str(folder), adapter_name=name)
            else:
                self._model = PeftModel.from_pretrained(self._model, str(folder), adapter_name=name).eval()
        except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
            self._model, self._loaded = None, None  # half of it may be attached: the next request loads the base anew
            first_line = str(error).splitlines()[0][:200]
            raise UserError(f"The adapter '{folder.name}' does not fit this base: {first_line}") from error

    def _has_adapters(self) -> bool:
        return hasattr(self._model, "peft_config") and hasattr(self._model, "disable_adapter")

    def _tokenizer(self, model: Model):
        """The adapter's own tokenizer and template where it has them, else the base's."""
        folder = model.adapter_folder
        if folder is None or not (folder / "tokenizer_config.json").exists():
            folder = model.base_folder
        if folder not in self._tokenizers:
            self._tokenizers[folder] = load_tokenizer(folder)
        return self._tokenizers[folder]


def _finished(tokenizer, prompt: list[int], new: list[int], stop_ids: set[int]) -> Reply:
    """One answer of a batch, cut at its stop token; what follows it is padding."""
    end = next((place for place, token in enumerate(new) if token in stop_ids), None)
    kept = new if end is None else new[:end]
    text = tokenizer.decode(kept, skip_special_tokens=True)
    return Reply(text, tokens_used=len(prompt), new_tokens=len(kept), ended=end is not None)


def prompt_ids(tokenizer, messages: list[dict]) -> list[int]:
    """The tokens of the prompt: the template's text, opened for an answer."""
    return list(tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)["input_ids"])


def adapter_name(folder: Path) -> str:
    """A name for PEFT: unique for folder and content (a folder trained again is another adapter); no dots allowed in it."""
    return f"{folder.parent.name}_{folder.name}_{int(folder.stat().st_mtime_ns)}".replace(".", "_")


def _until(stop: threading.Event):
    """A stopping criterion that is met once `stop` is set."""
    import torch
    from transformers import StoppingCriteria

    class Stopped(StoppingCriteria):
        def __call__(self, input_ids, scores, **kwargs):
            return torch.full((input_ids.shape[0],), stop.is_set(), device=input_ids.device, dtype=torch.bool)

    return Stopped()
