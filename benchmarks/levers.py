"""What is each choice of the app worth, and what would those be worth that it does without? One training with one lever moved.

    python -m benchmarks.levers [--lever NAME] [--profile 12] NAME=VALUE ...

NAME=VALUE are settings of the run. Prints JSON: tokens a second without the first step, peak memory, every loss, and the
dearest operations. `benchmarks.gpu` starts it once for each lever, so that every peak is a process's own. What waits for
a measurement on a GPU lives here and patches the app from outside.
"""

import argparse
import json
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import yaml
from peft.tuners.lora import LoraLayer

from chat.batch import JoinedCaches
from common.paths import home
from runs.config import TrainConfig


@dataclass(frozen=True)
class Lever:
    """`says` is a choice in words. The app makes it, and `settings` and `change` (of the built trainer) undo it.

    `is_new`: the app does without it, and the lever switches it on.
    """

    says: str
    settings: dict = field(default_factory=dict)
    change: Callable[[object], None] = lambda trainer: None
    is_new: bool = False
    only: str = ""  # a precision


def multiply_in_16_bits(trainer) -> None:
    """Make int8 weights 16-bit numbers for their product on a GPU too, as bitsandbytes does on a CPU.

    Its forward on a GPU rounds the inputs to int8 and looks for outliers among them, for which the CPU waits twice at each
    layer (backends/cuda/ops.py: `outliers.any()`, `argwhere`). This way gives other numbers, nearer to the base's own.
    """
    import bitsandbytes
    from bitsandbytes.autograd import _functions

    class In16Bits(_functions.MatMul8bitFp):
        @staticmethod
        def forward(ctx, A, B, out=None, bias=None, state=None):
            result = _functions.MatMul8bitFp.forward(ctx, A, B, out, bias, state)
            ctx.A = None  # a frozen weight does not use it, see trainer/patches/lean_int8.py
            return result

    def matmul(A, B, out=None, state=None, threshold=0.0, bias=None):
        return In16Bits.apply(A, B, out, bias, state)

    bitsandbytes.matmul = matmul


def take_rows_in_random_order(trainer) -> None:
    trainer.args.train_sampling_strategy = "random"


def lay_rows_end_to_end(trainer) -> None:
    trainer.padding_free = trainer.data_collator.collate.padding_free = True


def compile_layers(trainer) -> None:
    for layer in trainer.model.get_base_model().model.layers:
        layer.compile(dynamic=True)


class AddLora(torch.autograd.Function):
    """`result` with `scale * (x @ A.T) @ B.T` added in place. A and B may be fp32 where the others are 16-bit.

    PEFT computes `result + lora_B(lora_A(dropout(x))) * scaling`: the product, the scaled product and the sum are each as large
    as the output and go through memory. Here the scale goes into the small tensor between A and B, and B's product is added
    where the base's output lies; a 16-bit base's inputs are not copied to fp32. Same values but for the order of additions.
    """

    @staticmethod
    def forward(ctx, result, x, a, b, scale: float):
        flat, weight = x.reshape(-1, x.shape[-1]), b.to(result.dtype)
        small = (flat @ a.to(x.dtype).T).mul_(scale)
        result.view(-1, result.shape[-1]).addmm_(small, weight.T)
        ctx.save_for_backward(x, a, b, small)
        ctx.scale = scale
        ctx.mark_dirty(result)
        return result

    @staticmethod
    def backward(ctx, gradient):
        x, a, b, small = ctx.saved_tensors
        flat, over = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
        of_small = (over @ b.to(over.dtype)).mul_(ctx.scale)
        of_x = (of_small @ a.to(of_small.dtype)).view_as(x) if ctx.needs_input_grad[1] else None
        return gradient, of_x, (of_small.T @ flat).to(a.dtype), (over.T @ small).to(b.dtype), None


def add_lora_in_place(trainer) -> None:
    """Let every plain LoRA layer add its branch by `AddLora`; PEFT's own way where it does more than that."""

    def forward(layer, x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        is_plain = not (layer.disable_adapters or layer.merged or layer.lora_variant or args or kwargs)
        if not is_plain or len(layer.active_adapters) != 1 or not torch.is_grad_enabled():
            return type(layer).forward(layer, x, *args, **kwargs)
        (name,) = layer.active_adapters
        if name not in layer.lora_A:
            return layer.base_layer(x)
        a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
        return AddLora.apply(layer.base_layer(x), layer.lora_dropout[name](x), a, b, layer.scaling[name])

    for layer in trainer.model.modules():
        if isinstance(layer, LoraLayer) and not layer.lora_variant:
            layer.forward = types.MethodType(forward, layer)


class CompiledStep:
    """One token of one conversation by a compiled step over keys and values of a fixed size: a CUDA graph instead of launches.

    It computes the plain step's greedy tokens; `benchmarks.gpu` compares them.
    """

    def __init__(self, network, options: dict) -> None:
        from transformers import StaticCache

        self.network, self.cache = network, None
        self.kv = StaticCache(network.config, max_cache_len=network.config.max_position_embeddings)
        self.step = torch.compile(self.forward, **options)

    def forward(self, ids, positions):
        out = self.network(input_ids=ids, position_ids=positions, past_key_values=self.kv, use_cache=True)
        return out.logits[:, -1]

    def __call__(self, cache, token: int) -> torch.Tensor:
        """Read one token behind what `cache` holds; returns the logits, (1, vocabulary)."""
        length, device = len(cache.ids), self.network.device
        if cache is not self.cache:
            self.cache = cache
            for store, own in zip(self.kv.layers, cache.kv.layers, strict=True):
                if not store.is_initialized:
                    store.lazy_initialization(own.keys, own.values)
                store.keys[:, :, :length], store.values[:, :, :length] = own.keys, own.values
                store.cumulative_length.fill_(length)
        ids, positions = torch.tensor([[token]], device=device), torch.tensor([[length]], device=device)
        cache.ids.append(token)
        return self.step(ids, positions).clone()  # a CUDA graph writes the next ones over them


@contextmanager
def compiled_chat(**options) -> Iterator[None]:
    """Let engines that keep no conversation write by `CompiledStep` while one person asks."""
    plain = JoinedCaches.step

    def step(self, caches: list, tokens: list[int]) -> torch.Tensor:
        if len(caches) > 1:
            return plain(self, caches, tokens)
        if "compiled" not in vars(self):
            self.compiled = CompiledStep(self.network, options)
        return self.compiled(caches[0], tokens[0])

    JoinedCaches.step = step
    try:
        yield
    finally:
        JoinedCaches.step = plain


LEVERS = {
    "": Lever("as the app does"),
    "checkpointing": Lever("no gradient checkpointing where there is room", {"gradient_checkpointing": "on"}),
    "int8-products": Lever("int8 weights as 16-bit numbers", change=multiply_in_16_bits, only="8bit", is_new=True),
    "order": Lever("rows of a length together", change=take_rows_in_random_order),
    "packing": Lever("packing", {"packing": True}, is_new=True),
    "end-to-end": Lever("rows end to end without padding", change=lay_rows_end_to_end, is_new=True),
    "fused-lora": Lever("LoRA added in place", change=add_lora_in_place, is_new=True),
    "compile": Lever("compiled layers", change=compile_layers, is_new=True),
}


def build(config: TrainConfig):
    """Build the trainer as the training process does, in a run of its own that writes no event."""
    from data.intake import load_data
    from models.base import choose_base, fetch_base
    from models.family import shape_of
    from models.hardware import find_hardware
    from models.precision import load_base_model, resolve_precision
    from models.tokenizer import load_tokenizer
    from runs.forecast.memory import decided
    from runs.run import EventLog, Run
    from trainer.gradient_checkpointing import facts_of
    from trainer.progress import ProgressCallback
    from trainer.recipe import build_trainer
    from trainer.stop_watch import StopWatch

    run = Run(Path(tempfile.mkdtemp(prefix="levers-")))
    base = fetch_base(choose_base(config.base))
    precision = resolve_precision(config.precision, torch.cuda.is_available())
    tokenizer = load_tokenizer(base)
    data = load_data(config.data_settings(), run.folder, tokenizer)
    config = decided(config, shape_of(base), facts_of(data.train), find_hardware())
    progress = ProgressCallback(EventLog(run, writes=False), StopWatch(run))
    made = (precision, data.train.rows, [], progress)
    return build_trainer(load_base_model(base, precision), tokenizer, config, run, *made)


def train(config: TrainConfig, lever: Lever, operations: int = 0) -> dict:
    """Train as `config` says with the lever moved; `operations` is how many of the dearest are told."""
    from transformers import TrainerCallback

    from trainer.progress import peak_memory_bytes

    trainer = build(replace(config, **lever.settings))
    lever.change(trainer)
    times: list[tuple[float, int]] = []  # (when, tokens) at the first and the last step, where the GPU is waited for

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs) -> None:
            if state.global_step in (1, state.max_steps):
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                times.append((time.perf_counter(), trainer.progress.tokens))

    trainer.add_callback(Clock())
    with torch.profiler.profile() if operations else nullcontext() as seen:
        trainer.train()
    (began, before), (ended, after) = times[0], times[-1]
    return {
        "tokens_per_second": (after - before) / max(ended - began, 1e-9),
        "peak_bytes": peak_memory_bytes(),
        "losses": [logs["loss"] for logs in trainer.state.log_history if "loss" in logs],
        "dearest": dearest(seen, operations) if operations else [],
    }


def dearest(seen, count: int) -> list[tuple[str, float, int]]:
    """Return (operation, part of all time, calls) of those with the most time of their own: kernels where there is a GPU."""
    own = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    events = sorted(seen.key_averages(), key=lambda event: getattr(event, own), reverse=True)
    whole = max(sum(getattr(event, own) for event in events), 1e-9)
    return [(event.key[:60], getattr(event, own) / whole, event.count) for event in events[:count]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lever", default="", choices=LEVERS)
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="tell the N dearest operations")
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="settings of a run")
    options = parser.parse_args()
    home().mkdir(parents=True, exist_ok=True)
    settings = {name: yaml.safe_load(value) for name, value in (pair.split("=", 1) for pair in options.settings)}
    own = {"name": "lever", "base": "embedded", "max_steps": 3, "save_steps": 10**7}
    found = train(TrainConfig.from_dict({**own, **settings}), LEVERS[options.lever], options.profile)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
