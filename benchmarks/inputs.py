"""Makes what benchmarks run on: bases with random weights, rows, and the files that a person has after years."""

import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.paths import LOCAL_OWNER, REPOSITORY, adapters_folder, bases_folder, runs_folder
from models.embedded import HUB_ID
from runs.config import TrainConfig
from runs.run import EventLog, Run

TOKENIZER = REPOSITORY / "tests" / "data" / "tinyllama-tokenizer"
STEPS = 20  # of a run in a library
NUMBERS = {"learning_rate": 1e-4, "grad_norm": 1.25, "tokens_per_second": 99.5, "peak_memory_bytes": 2**30}


@contextmanager
def home_of_its_own() -> Iterator[Path]:
    """Set STUDIO_HOME to a temporary folder with this home's bases in it; processes that are started inherit it."""
    before, bases = os.environ.get("STUDIO_HOME"), bases_folder()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["STUDIO_HOME"] = folder
        if bases.exists():
            (Path(folder) / "bases").symlink_to(bases)
        try:
            yield Path(folder)
        finally:
            os.environ.pop("STUDIO_HOME")
            if before is not None:
                os.environ["STUDIO_HOME"] = before


def embedded_base() -> Path:
    """Return the folder of the embedded base, converted on first use."""
    from models.embedded import ensure

    return ensure(lambda what, fraction: print(what, flush=True))


def make_base(folder: Path, layers: int = 22, dtype: str = "bfloat16", **shape: int) -> Path:
    """Save a model of TinyLlama's shape with random weights: speed and memory do not depend on them. `shape` changes it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    numbers = {"hidden_size": 2048, "intermediate_size": 5632, "num_attention_heads": 32, "num_key_value_heads": 4}
    tokens = {"vocab_size": 32000, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    torch.manual_seed(0)
    config = LlamaConfig(**numbers | tokens | shape, num_hidden_layers=layers, max_position_embeddings=2048)
    LlamaForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(folder)
    for file in TOKENIZER.iterdir():
        shutil.copy(file, folder)
    return folder


def make_adapter(base: Path, folder: Path) -> Path:
    """Save an adapter of rank 16 with random weights for every linear layer of `base`."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=16, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder


def make_rows(file: Path, count: int) -> Path:
    """Write `count` different rows of about 150 characters as JSONL."""
    with open(file, "w") as out:
        for number in range(count):
            prompt = f"What is {number} plus {number}, and why does it matter to anybody?"
            answer = f"It is {2 * number}, because that is how the addition of whole numbers has been defined."
            out.write(f'{{"prompt": "{prompt}", "completion": "{answer}"}}\n')
    return file


def make_instructions(file: Path, count: int) -> str:
    """Write `count` questions and answers with the lengths of an instruction set, from a fixed seed.

    The number of words is log-normal around 130 with a deviation of 0.8 (a sixth over 290), cut to 12 to 800; a quarter of
    them are the question.
    """
    numbers = random.Random(0)
    with open(file, "w") as out:
        for _ in range(count):
            words = round(min(800, max(12, numbers.lognormvariate(0, 0.8) * 130)))
            text = [f"w{numbers.randrange(10)}" for _ in range(words)]
            row = {"prompt": " ".join(text[: words // 4]), "completion": " ".join(text[words // 4 :])}
            out.write(json.dumps(row) + "\n")
    return str(file)


def make_library(count: int, owner: str = LOCAL_OWNER) -> None:
    """Make `count` finished runs with titles, and their adapters; the last one is the newest.

    Only the files that lists, searches and the run's view read are there; weights are empty.
    """
    settings = TrainConfig(name="run", base="embedded").to_yaml()
    metrics = {"loss_before": 3.0, "loss_after": 2.0, "rows": 220}
    events = [{"event": "queued", "base": "embedded"}, {"event": "training"}, {"event": "eval", "step": 0, "loss": 3.0}]
    events += [{"event": "step", **_step(step, STEPS)} for step in range(1, STEPS + 1)]
    events += [{"event": "eval", "step": STEPS, "loss": 2.0}]
    adapter = {"base_model_name_or_path": HUB_ID, "revision": None, "r": 16, "target_modules": ["q_proj", "v_proj"]}
    began = time.time() - 86400 - count
    for number in range(count):
        run, created = Run(runs_folder(owner) / f"run-{number}"), began + number
        done = {"event": "done", "adapter": run.id}
        done["metrics"] = {**metrics, "tokens_per_second": 99.5, "base": "another"}
        files = {
            run.events_file: "".join(json.dumps({"time": created, **event}) + "\n" for event in [*events, done]),
            run.about_file: json.dumps({"title": f"Attempt {number}", "notes": "with small batches"}),
            run.process_file: json.dumps({"trainer": {"pid": 4_000_000 + number, "started": 1.0}}),
            run.log_file: "done\n",
            run.config_file: settings,
        }
        folder = adapters_folder(owner) / run.id
        files |= {
            folder / "adapter_config.json": json.dumps(adapter),
            folder / "metrics.json": json.dumps({**metrics, "created": created, "base_source": "embedded"}),
            folder / "training_config.yaml": settings,
        }
        files |= {folder / name: "" for name in ("adapter_model.safetensors", "tokenizer.json", "chat_template.jinja")}
        run.folder.mkdir(parents=True)
        folder.mkdir(parents=True)
        for file, text in files.items():
            file.write_text(text)
            os.utime(file, (created, created))


def make_long_run(steps: int, owner: str = LOCAL_OWNER) -> Run:
    """Make a run that trains, with `steps` steps behind it and an evaluation at every thousandth."""
    run = Run(runs_folder(owner) / "long")
    run.folder.mkdir(parents=True)
    run.config_file.write_text(TrainConfig(name="long").to_yaml())
    run.process_file.write_text(json.dumps({"trainer": {"pid": 4_000_000, "started": 1.0}}))
    events = EventLog(run)
    events.write("training")
    for step in range(1, steps + 1):
        events.write_step(**_step(step, steps))
        if not step % 1000:
            events.write("eval", step=step, loss=2.0)
    return run


def _step(step: int, total: int) -> dict:
    """A step as `trainer.progress` writes it."""
    return {"step": step, "total_steps": total, "epoch": 0.1, "loss": 3 - step / total, **NUMBERS}
