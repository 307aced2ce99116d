"""Small adapters of the two-layer base, made without a training: real PEFT files, B filled so that they change answers."""

import json
import shutil
from pathlib import Path

from adapters.evaluated import Evaluated, Kind, Measured, Number
from adapters.history import write_curve
from common.files import read_json, read_object, write_json, write_text
from common.paths import adapters_folder
from models.base import DEFAULT_BASE
from runs.config import told_settings


def make_adapter(folder: Path, tiny_base: Path, base: str = DEFAULT_BASE, **settings) -> Path:
    """A whole adapter folder as the trainer publishes it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", **settings)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_base), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.05)
    model.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    values = json.loads((folder / "adapter_config.json").read_text())
    values["target_modules"] = sorted(values["target_modules"])
    write_json(folder / "adapter_config.json", {**values, "base_model_name_or_path": base, "revision": None})
    for path in [*tiny_base.glob("tokenizer*"), *tiny_base.glob("chat_template.jinja")]:
        shutil.copy(path, folder)
    write_text(
        folder / "training_config.yaml", "data: data/data.jsonl\nlearning_rate: 0.0005\nsample_prompts: secret words\n"
    )
    losses = {"loss_before": 2.5, "loss_after": 1.25, "rows": 220, "held_out_rows": 23, "created": 1.79e9}
    facts = {
        "base": base,
        "base_source": "hub",
        "hardware": "CPU <b>",
        "versions": {"peft": "0.21.2"},
        "precision": "fp32",
    }
    facts |= {"trained_tokens": 1000, "step": 10, "train_seconds": 60.0, "settings": told_settings()}
    write_json(folder / "metrics.json", {**losses, **facts})
    return folder


def put(name: str, made: Path, owner: str = "local") -> Path:
    """A copy of a made adapter in the library of `owner`."""
    folder = adapters_folder(owner) / name
    shutil.copytree(made, folder)
    return folder


def write_history(folder: Path) -> None:
    """Add to an adapter's folder what its training leaves: a falling loss, and answers before and after."""
    write_curve(folder, [(step, 2.5 - step / 10) for step in range(1, 11)], [(0, 2.5), (10, 1.25)])
    answers = {"samples_before": "before <script>", "samples_after": "``` after"}
    answers = {name: [{"prompt": "Hi", "answer": text}] for name, text in answers.items()}
    write_json(folder / "metrics.json", {**read_object(folder / "metrics.json"), **answers})


def evaluated(kind: Kind = "held-out", name: str = "run:mine", title: str = "Secret exam", **more) -> Evaluated:
    """A test set on which the loss was lower than the base's, and nothing was decided of exact matches."""

    def numbers(*values: float) -> list[Number]:
        return [Number(value, value - 0.05, value + 0.05, 60) for value in values]

    scores = (
        Measured("loss", "Loss per token", "nats", *numbers(1.7, 2.1, -0.4), "better"),
        Measured("exact", "Exact match", "share", *numbers(0.5, 0.48, 0.02), "undecided"),
    )
    return Evaluated(kind, name, title, "f" * 64, 1.79e9, {"scipy": "1.16.0"}, scores, **more)


def change_of(folder: Path) -> dict:
    """{layer: scaling * B @ A} of an adapter's folder."""
    from safetensors.torch import load_file

    config = read_json(folder / "adapter_config.json")
    weights = load_file(folder / "adapter_model.safetensors")
    scaling = config["lora_alpha"] / config["r"]
    names = {name.partition(".lora_")[0] for name in weights}
    return {name: scaling * weights[f"{name}.lora_B.weight"] @ weights[f"{name}.lora_A.weight"] for name in names}


def differences(one: dict, other: dict) -> list[float]:
    """The largest difference of each layer's change."""
    return [(one[name] - other[name]).abs().max().item() for name in one]
