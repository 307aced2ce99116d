"""What the chat's measurements run on: the bases, an answer that does not end, and two sides that take turns."""

import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import median

from chat.engine import Engine
from common.paths import REPOSITORY

TOKENIZER = REPOSITORY / "tests" / "data" / "tinyllama-tokenizer"
QUESTION = [{"role": "user", "content": "Write a long story about a llama who learns to read, with many details."}]


def embedded_base() -> Path:
    """The embedded base, converted on first use."""
    from models.embedded import ensure

    return ensure(lambda what, fraction: print(what, flush=True))


def random_tinyllama(folder: Path, dtype: str = "float32") -> Path:
    """TinyLlama-1.1B's shape in fp32 (4.4 GB on disk): speed does not depend on what the weights say."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=22,
        num_attention_heads=32,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        vocab_size=32000,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    with torch.device("cpu"):
        LlamaForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(folder)
    for file in TOKENIZER.iterdir():
        shutil.copy(file, folder)
    return folder


def endless(engine: Engine) -> Engine:
    """The engine with answers that go on to their longest, so that every run writes the same number of tokens."""
    engine.resident.stop_ids = lambda format: set()
    return engine


def take_turns(runs: dict[str, Callable[[], float]], pairs: int) -> dict[str, float]:
    """The median of what each run returns, in `pairs` rounds of all of them: what else the machine does falls on all alike.

    One round before them is not counted: it loads and warms up.
    """
    found = {name: [] for name in runs}
    for _ in range(pairs + 1):
        for name, run in runs.items():
            found[name].append(run())
    return {name: median(values[1:]) for name, values in found.items()}
