"""One training of the recipe in this process with one lever moved, as a JSON line: tokens a second, peak memory, every loss.

    python -m benchmarks.train_levers FILE.json      {"config": ..., "lever": "", "profile": 0}

`benchmarks.train_gpu` starts it once for each lever, so that every peak is a process's own. A lever is moved away from what
the app does: its row says what the app's choice is worth. The first step, with its set-up, is not timed.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from common.files import read_json
from trainer.config import TrainConfig


@dataclass(frozen=True)
class Lever:
    """`says` is the app's choice, in words; `settings` and `patch` (before the trainer is built) and `change` (after) undo it.

    `is_new`: the app does without it, and the lever switches it on.
    """

    says: str
    settings: dict = field(default_factory=dict)
    patch: Callable[[], None] = lambda: None
    change: Callable[[object], None] = lambda trainer: None
    is_new: bool = False
    only: str = ""  # a precision


def keep_int8_inputs() -> None:
    from trainer.process import lean_int8

    lean_int8.install = lambda: None


def multiply_in_16_bits() -> None:
    from trainer.process import lean_int8

    lean_int8.install = partial(lean_int8.install, in_16_bits=True)


def take_trls_loss() -> None:
    from trl import SFTTrainer

    from trainer.process.studio_trainer import StudioTrainer

    def loss(self, model, inputs, places, targets, count):
        return SFTTrainer.compute_loss(self, model, inputs, num_items_in_batch=count)

    StudioTrainer._lean_loss = loss


def lay_rows_end_to_end() -> None:
    from trainer.process import recipe

    arguments_of = recipe.training_arguments

    def arguments(*given):
        made = arguments_of(*given)
        made.padding_free = True
        return made

    recipe.training_arguments = arguments


def set_argument(trainer, name: str, value) -> None:
    setattr(trainer.args, name, value)


def add_lora_in_place(trainer) -> None:
    from benchmarks import fused_lora

    fused_lora.install(trainer.model)


def compile_layers(trainer) -> None:
    for layer in trainer.model.get_base_model().model.layers:
        layer.compile(dynamic=True)


LEVERS = {
    "": Lever("as the app does"),
    "checkpointing": Lever("no gradient checkpointing where there is room", {"gradient_checkpointing": "on"}),
    "int8-inputs": Lever("int8 layers keep no inputs", patch=keep_int8_inputs, only="8bit"),
    "int8-products": Lever(
        "int8 weights are multiplied as 16-bit numbers", patch=multiply_in_16_bits, only="8bit", is_new=True
    ),
    "trl-loss": Lever("the loss of trained positions, nothing read back", patch=take_trls_loss),
    "optimiser": Lever("fused AdamW", change=partial(set_argument, name="optim", value="adamw_torch")),
    "order": Lever(
        "rows of a length together", change=partial(set_argument, name="train_sampling_strategy", value="random")
    ),
    "packing": Lever("packing", {"packing": True}, is_new=True),
    "end-to-end": Lever("rows end to end without padding", patch=lay_rows_end_to_end, is_new=True),
    "fused-lora": Lever("LoRA added in place", change=add_lora_in_place, is_new=True),
    "compile": Lever("compiled layers", change=compile_layers, is_new=True),
}


def train(config: TrainConfig, lever: Lever, profiled: int = 0) -> dict:
    """Train as `config` says with the lever moved. Returns tokens_per_second, peak_bytes, losses and the dearest operations."""
    from contextlib import nullcontext
    from dataclasses import replace

    import torch

    from benchmarks.profile_step import build, dearest, profiler
    from trainer.progress import peak_memory_bytes

    lever.patch()
    trainer = build(replace(config, **lever.settings))
    lever.change(trainer)
    clock = _clock(torch, trainer)
    with profiler() if profiled else nullcontext() as seen:
        trainer.train()
    return {
        "tokens_per_second": clock.tokens / max(clock.seconds, 1e-9),
        "peak_bytes": peak_memory_bytes(),
        "losses": [logs["loss"] for logs in trainer.state.log_history if "loss" in logs],
        "checkpointing": trainer.args.activation_checkpointing,
        "dearest": dearest(seen, profiled) if profiled else [],
    }


def _clock(torch, trainer):
    """Seconds and tokens from the end of the first step on; the GPU is waited for at the first and the last step only."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        seconds, tokens, began, before = 0.0, 0, 0.0, 0

        def on_step_end(self, args, state, control, **kwargs) -> None:
            if state.global_step not in (1, state.max_steps):
                return
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            now, tokens = time.perf_counter(), trainer.progress.tokens
            if state.global_step == 1:
                self.began, self.before = now, tokens
            self.seconds, self.tokens = now - self.began, tokens - self.before

    clock = Clock()
    trainer.add_callback(clock)
    return clock


def main() -> None:
    job = read_json(Path(sys.argv[1]))
    print(json.dumps(train(TrainConfig.from_dict(job["config"]), LEVERS[job["lever"]], job["profile"])), flush=True)


if __name__ == "__main__":
    main()
