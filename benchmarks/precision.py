"""What does precision do to LoRA: the loss after n steps, how many weights moved, what overflowed, underflowed, was lost.

    python -m benchmarks.precision [--full]

One small Llama reads the example's text byte by byte; first its weights are trained in fp32, then LoRA continues in each
precision from the same start on the same batches, once at a learning rate of 2e-5 and once at 5e-4; the rival is fp32. An
update is lost when the gradient of a weight is not zero and the optimiser leaves the weight as it was: bf16 has 8 bits of
mantissa, so what is smaller than about a 256th of the weight is rounded away. The loss is the mean over all batches, with the
weights as they are at the end. fp16 throughout ends in no number by the optimiser's doing: AdamW's eps of 1e-8 is 0 in fp16.
"""

import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.rows import Row, main, smaller
from common.paths import REPOSITORY
from models.precision import hush_libraries, quantization_config

RATES = (2e-5, 5e-4)
ROWS, LENGTH = 8, 96
TEXT = REPOSITORY / "examples" / "study_coach.jsonl"


@dataclass(frozen=True)
class Case:
    """What the base is in, what the adapters are in, what is computed in, and whether the loss is scaled."""

    name: str
    base: str  # float32, bfloat16, float16, 8bit, 4bit
    adapters: str = "float32"
    autocast: str | None = None
    scaler: bool = False

    def computing(self, device: str):
        return torch.autocast(device, getattr(torch, self.autocast)) if self.autocast else nullcontext()


CASES = (
    Case("fp32", "float32"),
    Case("bf16 throughout (adapters in bf16 too)", "bfloat16", "bfloat16"),
    Case("bf16 autocast, adapters in fp32", "bfloat16", autocast="bfloat16"),
    Case("fp16 throughout, no scaler", "float16", "float16"),
    Case("fp16 autocast, scaler, adapters in fp32", "float16", autocast="float16", scaler=True),
    Case("8-bit, adapters in bf16 (TRL's own cast)", "8bit", "bfloat16", autocast="bfloat16"),
    Case("8-bit, adapters in fp32 (this app)", "8bit", autocast="bfloat16"),
    Case("4-bit, adapters in fp32 (this app)", "4bit", autocast="bfloat16"),
)


def batches(steps: int) -> torch.Tensor:
    """Draw (steps, ROWS, LENGTH) bytes of the example's text from a fixed seed."""
    text = torch.tensor(list(TEXT.read_bytes()), dtype=torch.long)
    starts = torch.randint(0, len(text) - LENGTH, (steps, ROWS), generator=torch.Generator().manual_seed(0))
    return torch.stack([torch.stack([text[start : start + LENGTH] for start in row]) for row in starts])


def make_base(folder: Path, device: str, steps: int) -> None:
    """Save a byte model that knows a little, so that what LoRA adds is small, as it is in a real fine-tuning."""
    torch.manual_seed(0)
    shape = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(**shape, num_key_value_heads=2, vocab_size=256, pad_token_id=0)).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for ids in batches(steps).flip(0).to(device):
        model(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.save_pretrained(folder)


def load(case: Case, folder: Path, device: str):
    """Load the base in its precision with fresh adapters in theirs."""
    dtype = getattr(torch, case.base, None) or getattr(torch, case.autocast or "float32")
    quantised = quantization_config(case.base, dtype) if case.base in ("8bit", "4bit") else None
    where = {"": device} if quantised else None
    model = LlamaForCausalLM.from_pretrained(folder, dtype=dtype, quantization_config=quantised, device_map=where)
    torch.manual_seed(1)
    adapter = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, adapter)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(getattr(torch, case.adapters))
    return model if quantised else model.to(device)


def train(case: Case, folder: Path, rate: float, data: torch.Tensor, device: str) -> tuple[float, str]:
    """Train; returns the loss after it, and what was seen. Raises ArithmeticError when a loss is no number."""
    model = load(case, folder, device)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    start = [parameter.detach().clone() for parameter in parameters]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    scaler = torch.amp.GradScaler(device, enabled=case.scaler, init_scale=2.0**16)
    infinite = entries = zero = updates = lost = 0
    for step, ids in enumerate(data.to(device)):
        with case.computing(device):
            loss = model(input_ids=ids, labels=ids).loss
        if not loss.isfinite():
            raise ArithmeticError(f"no number from step {step + 1} on; {infinite} overflows before it")
        scaler.scale(loss).backward()
        gradients = torch.cat([parameter.grad.flatten() for parameter in parameters]).float()
        before = torch.cat([parameter.detach().flatten() for parameter in parameters])
        infinite += int((~gradients.isfinite()).sum())
        scaler.unscale_(optimiser)
        scaler.step(optimiser)
        scaler.update()
        if step:  # in the first, the gradients of lora_A are zero by design
            entries, zero = entries + gradients.numel(), zero + int((gradients == 0).sum())
            changeable = (gradients != 0) & gradients.isfinite()
            after = torch.cat([parameter.detach().flatten() for parameter in parameters])
            updates, lost = updates + int(changeable.sum()), lost + int((changeable & (before == after)).sum())
        optimiser.zero_grad()
    moved = sum(int((old != new).sum()) for old, new in zip(start, parameters, strict=True)) / gradients.numel()
    note = f"weights that moved {moved:.1%}, updates lost {lost / max(1, updates):.2%}"
    note += f", gradients that are 0 {zero / max(1, entries):.2%}, overflows {infinite}"
    with torch.no_grad(), case.computing(device):
        return sum(float(model(input_ids=ids, labels=ids).loss) for ids in data.to(device)) / len(data), note


@cache
def exact_loss(folder: Path, rate: float, steps: int, device: str) -> float:
    return train(CASES[0], folder, rate, batches(steps), device)[0]


def measure(case: Case, folder: Path, rate: float, steps: int, device: str) -> Row:
    """Make the row of one case against fp32."""
    name, exact = f"{case.name}, learning rate {rate:g}", exact_loss(folder, rate, steps, device)
    try:
        loss, note = train(case, folder, rate, batches(steps), device)
    except ArithmeticError as error:
        return Row(name, float("nan"), exact, "nats", 0.0, None, str(error))
    return smaller(name, loss, exact, "nats", None, note)


def rows(quick: bool) -> list[Row]:
    steps, device = 40 if quick else 100, "cuda" if torch.cuda.is_available() else "cpu"
    hush_libraries()
    with tempfile.TemporaryDirectory() as name:
        make_base(Path(name), device, 10 * steps)
        return [measure(case, Path(name), rate, steps, device) for rate in RATES for case in CASES]


if __name__ == "__main__":
    main(rows, __doc__)
