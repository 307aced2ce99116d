"""What precision does to LoRA: the loss after n steps, how many adapter weights moved, what overflowed, underflowed, was lost.

    python -m benchmarks.precision [--steps 40] [--device auto] [--out benchmarks/results]

One small Llama reads the example's text byte by byte; first its weights are trained in fp32, then LoRA continues in each
precision from the same start on the same batches, once at a learning rate of 2e-5 and once at 5e-4. An update is lost when
the gradient of a weight is not zero and the optimiser leaves the weight as it was: bf16 has 8 bits of mantissa, so what is
smaller than about a 256th of the weight is rounded away. What a device cannot do is named as not run.
"""

import argparse
import platform
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from common.paths import REPOSITORY
from models.hardware import describe_hardware, processor_name
from models.precision import hush_libraries, quantization_config

RATES = (2e-5, 5e-4)
ROWS, LENGTH = 8, 96
TEXT = REPOSITORY / "examples" / "study_coach.jsonl"


@dataclass(frozen=True)
class Case:
    """One row: what the base is in, what the adapters are in, what is computed in, and whether the loss is scaled."""

    name: str
    base: str  # float32, bfloat16, float16, 8bit, 4bit
    adapters: str = "float32"
    autocast: str | None = None
    scaler: bool = False


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


@dataclass
class Count:
    """What was seen over all steps: entries of gradients (not in the first step, where half of them are zero by design)."""

    entries: int = 0
    zero: int = 0  # underflow: exactly zero
    infinite: int = 0  # overflow: no number
    overflowed_steps: int = 0
    updates: int = 0
    lost: int = 0  # the gradient was not zero, the weight stayed

    def gradients(self, parameters: list, is_first: bool) -> None:
        flat = torch.cat([parameter.grad.flatten().float() for parameter in parameters])
        self.infinite += int((~flat.isfinite()).sum())
        self.overflowed_steps += int(not flat.isfinite().all())
        if not is_first:
            self.entries += flat.numel()
            self.zero += int((flat == 0).sum())

    def changes(self, before: list, parameters: list) -> None:
        for old, parameter in zip(before, parameters, strict=True):
            has_gradient = (parameter.grad != 0) & parameter.grad.isfinite()
            self.updates += int(has_gradient.sum())
            self.lost += int((has_gradient & (old == parameter)).sum())


def batches(steps: int) -> torch.Tensor:
    """(steps, ROWS, LENGTH) bytes of the example's text."""
    text = torch.tensor(list(TEXT.read_bytes()), dtype=torch.long)
    generator = torch.Generator().manual_seed(0)
    starts = torch.randint(0, len(text) - LENGTH, (steps, ROWS), generator=generator)
    return torch.stack([torch.stack([text[start : start + LENGTH] for start in row]) for row in starts])


def make_base(folder: Path, device: str, steps: int) -> None:
    """A byte model that knows a little, so that what LoRA adds is small, as it is in a real fine-tuning."""
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
    """The base in its precision with fresh adapters in theirs."""
    dtype = getattr(torch, case.base, None) or getattr(torch, case.autocast or "float32")
    quantised = quantization_config(case.base, dtype) if case.base in ("8bit", "4bit") else None
    model = LlamaForCausalLM.from_pretrained(
        folder, dtype=dtype, quantization_config=quantised, device_map={"": device} if quantised else None
    )
    torch.manual_seed(1)
    adapter = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, adapter)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(getattr(torch, case.adapters))
    return model if quantised else model.to(device)


def train(case: Case, folder: Path, rate: float, data: torch.Tensor, device: str) -> dict:
    """Train one case. Returns its row: losses, shares from 0 to 1, counts."""
    model = load(case, folder, device)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    start = [parameter.detach().clone() for parameter in parameters]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
    scaler = torch.amp.GradScaler(device, enabled=case.scaler, init_scale=2.0**16)
    count, began = Count(), time.perf_counter()
    for step, ids in enumerate(data.to(device)):
        in_16 = torch.autocast(device, getattr(torch, case.autocast)) if case.autocast else nullcontext()
        with in_16:
            loss = model(input_ids=ids, labels=ids).loss
        if not loss.isfinite():
            return {"name": case.name, "rate": rate, "broken_at": step + 1, "infinite": count.infinite}
        scaler.scale(loss).backward()
        count.gradients(parameters, is_first=step == 0)
        before = [parameter.detach().clone() for parameter in parameters]
        scaler.unscale_(optimiser)
        scaler.step(optimiser)
        scaler.update()
        if step:
            count.changes(before, parameters)
        optimiser.zero_grad()
    moved = sum(int((old != new).sum()) for old, new in zip(start, parameters, strict=True))
    return {
        "name": case.name,
        "rate": rate,
        "loss": evaluate(model, data.to(device), case, device),
        "moved": moved / sum(parameter.numel() for parameter in parameters),
        "lost": count.lost / max(1, count.updates),
        "zero": count.zero / max(1, count.entries),
        "infinite": count.infinite,
        "overflowed_steps": count.overflowed_steps,
        "seconds": time.perf_counter() - began,
    }


def evaluate(model, data: torch.Tensor, case: Case, device: str) -> float:
    """The mean loss on all batches with the weights as they are now, computed alike for all."""
    in_16 = torch.autocast(device, getattr(torch, case.autocast)) if case.autocast else nullcontext()
    with torch.no_grad(), in_16:
        return sum(float(model(input_ids=ids, labels=ids).loss) for ids in data) / len(data)


def measure(case: Case, folder: Path, rate: float, data: torch.Tensor, device: str) -> dict:
    """The row of one case, or why it could not run on this device."""
    try:
        return train(case, folder, rate, data, device)
    except (RuntimeError, NotImplementedError, ValueError, ImportError) as error:
        return {"name": case.name, "rate": rate, "not_run": str(error).splitlines()[0][:120]}


def table(rows: list[dict]) -> str:
    lines = [
        "| precision | learning rate | loss after | weights that moved | updates lost | gradients that are 0 | overflows |"
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for row in rows:
        head = f"| {row['name']} | {row['rate']:g} "
        if row.get("not_run"):
            lines.append(f"{head}| not run: {row['not_run']} | | | | |")
            continue
        if row.get("broken_at"):
            lines.append(f"{head}| no number from step {row['broken_at']} on | | | | {row['infinite']:,} before it |")
            continue
        overflows = f"{row['infinite']:,} in {row['overflowed_steps']} steps" if row["infinite"] else "0"
        lines.append(
            f"{head}| {row['loss']:.4f} | {row['moved']:.1%} | {row['lost']:.2%} | {row['zero']:.2%} | {overflows} |"
        )
    return "\n".join(lines) + "\n"


REPORT = """# Precision: what was measured

On {hardware} ({processor}), device `{device}`, torch {torch}; {date}. A Llama of two layers, 128 wide, that reads bytes; LoRA r=8
on all linear layers, AdamW, {steps} steps of {rows} x {length} bytes, the same start and the same batches in every row. The loss
before: {before:.4f}. The loss after is the mean over all batches, with the weights as they are at the end.

{table}
An update is *lost* when a weight has a gradient and the optimiser leaves it as it was. Gradients are counted from the second step
on (in the first, those of lora_A are zero by design), scaled where there is a scaler, which is what fp16 has to hold. That fp16
throughout ends in no number is the optimiser's doing, not that of a gradient: AdamW's eps of 1e-8 is 0 in fp16, and a weight
without a gradient becomes 0/0.

{words}Repeat it: `python -m benchmarks.precision`; on a machine with a GPU the same rows run there.
"""
CPU_WORDS = """**Not run: the same rows on a GPU.** A CPU computes 16-bit products with other kernels; what is stored in 16
bits is rounded alike. 8-bit and 4-bit run on bitsandbytes' CPU kernels here.

"""


def main() -> None:
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks" / "results")
    options = parser.parse_args()
    hush_libraries()
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    data, rows = batches(options.steps), []
    with tempfile.TemporaryDirectory() as folder:
        make_base(Path(folder), device, 10 * options.steps)
        before = evaluate(load(CASES[0], Path(folder), device), data.to(device), CASES[0], device)
        for rate in RATES:
            for case in CASES:
                rows.append(measure(case, Path(folder), rate, data, device))
                print(rows[-1], flush=True)
    facts = {
        "hardware": describe_hardware(),
        "processor": processor_name(),
        "torch": torch.__version__,
        "before": before,
    }
    facts |= {"date": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "device": device}
    text = REPORT.format(
        table=table(rows),
        words=CPU_WORDS if device == "cpu" else "",
        steps=options.steps,
        rows=ROWS,
        length=LENGTH,
        **facts,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "precision.md").write_text(text)


if __name__ == "__main__":
    main()
