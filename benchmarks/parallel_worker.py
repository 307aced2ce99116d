"""What one process of `benchmarks.parallel` does: a few LoRA steps with plain transformers.Trainer, and one JSON line on stdout.

The loop is the same in every row, so that rows differ in how the work is spread and in precision alone. SFTTrainer refuses
nn.DataParallel; the plain Trainer still falls back to it when several GPUs are visible and nobody launched several processes.
"""

import argparse
import json
import os
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

from models.precision import QUANTISED, load_base_model
from trainer.progress import peak_memory_bytes

SHAPE = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
}  # TinyLlama
VOCABULARY = 32000


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ended: list[float] = []

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ended.append(time.perf_counter())


def make_base(folder: str, layers: int, small: bool) -> None:
    """A model of TinyLlama's shape with random weights and so many layers; `small`: an eighth of its width, for tests."""
    shape = {name: value // 8 if small and "heads" not in name else value for name, value in SHAPE.items()}
    shape |= {"num_attention_heads": 4, "num_key_value_heads": 2} if small else {}
    torch.manual_seed(0)
    config = LlamaConfig(**shape, vocab_size=VOCABULARY, num_hidden_layers=layers, max_position_embeddings=2048)
    LlamaForCausalLM(config).to(torch.float32 if small else torch.bfloat16).save_pretrained(folder)


def build(options: argparse.Namespace) -> Trainer:
    arguments = training_arguments(options)
    _ = arguments.device  # the processes meet, each on its own card: a quantised base is loaded onto the current one
    model = load_base_model(options.base, options.precision)
    adapter = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, adapter)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    rows = torch.randint(0, VOCABULARY, (options.batch * options.steps * 64, options.length), generator=_seeded())
    data = [{"input_ids": row, "labels": row, "attention_mask": torch.ones_like(row)} for row in rows]
    return Trainer(model=model, args=arguments, train_dataset=data, callbacks=[options.clock])


def training_arguments(options: argparse.Namespace) -> TrainingArguments:
    has_cuda = torch.cuda.is_available()
    in_16_bit = has_cuda and options.precision != "fp32"
    native = has_cuda and torch.cuda.get_device_capability()[0] >= 8
    return TrainingArguments(
        output_dir=os.path.join(options.base, "out"),
        max_steps=options.steps,
        per_device_train_batch_size=options.batch,
        learning_rate=1e-4,
        use_cpu=not has_cuda,
        bf16=in_16_bit and native,
        fp16=in_16_bit and not native,
        ddp_find_unused_parameters=False,
        activation_checkpointing=False,
        save_strategy="no",
        logging_steps=options.steps,
        report_to="none",
        disable_tqdm=True,
        seed=0,
    )


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", required=True)
    parser.add_argument("--precision", required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    options = parser.parse_args()
    options.clock = Clock()
    trainer = build(options)
    result = trainer.train()
    ended, warm = options.clock.ended, min(3, options.steps - 2)  # the first steps set things up
    seconds = (ended[-1] - ended[warm]) / (len(ended) - 1 - warm)
    spread = trainer.args.n_gpu if trainer.args.world_size == 1 else trainer.args.world_size  # n_gpu > 1: DataParallel
    memories = [torch.cuda.max_memory_allocated(card) for card in range(torch.cuda.device_count())]
    line = {
        "rank": trainer.args.process_index,
        "step_seconds": seconds,
        "tokens_per_step": options.batch * options.length * max(1, spread),
        "data_parallel": trainer.args.n_gpu > 1,
        "is_quantised": options.precision in QUANTISED,
        "peak_memory_bytes": memories or [peak_memory_bytes()],
        "loss": result.training_loss,
    }
    print("MEASURED " + json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
