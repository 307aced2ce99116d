"""Switching between adapters and the base on the embedded base: seconds to attach, to switch, and back to the base.

    python -m benchmarks.chat_switch

The aim is under half a second. The adapters have random weights; a rank of 16 on all linear layers.
"""

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.chat_bases import embedded_base
from chat.resident import Model, Resident

ROUNDS = 5


def main() -> None:
    folder = embedded_base()
    with tempfile.TemporaryDirectory() as temporary:
        adapters = [random_adapter(folder, Path(temporary) / f"adapter-{number}") for number in range(3)]
        print("\n| precision | attach (s) | switch (s) | to the base (s) |\n|---|---|---|---|")
        for precision in ("fp32", "8bit"):
            rows = measure(folder, precision, adapters)
            print(f"| {precision} | " + " | ".join(f"{seconds:.3f}" for seconds in rows) + " |", flush=True)


def random_adapter(base: Path, folder: Path) -> Path:
    """An adapter of rank 16 for every linear layer."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=16, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder


def measure(folder: Path, precision: str, adapters: list[Path]) -> list[float]:
    """Median seconds of attaching, of switching to another adapter, and of switching all of them off."""
    resident, attach, switch, bare = Resident(), [], [], []
    resident.load(Model(folder, precision))
    for adapter in adapters:
        attach.append(timed(resident, Model(folder, precision, adapter)))
    for _ in range(ROUNDS):
        for adapter in adapters:
            switch.append(timed(resident, Model(folder, precision, adapter)))
        bare.append(timed(resident, Model(folder, precision)))
    return [statistics.median(values) for values in (attach, switch, bare)]


def timed(resident: Resident, model: Model) -> float:
    began = time.perf_counter()
    resident.load(model)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
