"""The bases that the chat's measurements run on: the embedded one, and TinyLlama's shape with random weights."""

import shutil
from pathlib import Path

from common.paths import REPOSITORY

TOKENIZER = REPOSITORY / "tests" / "data" / "tinyllama-tokenizer"


def embedded_base() -> Path:
    """The embedded base, converted on first use."""
    from models.embedded import ensure

    return ensure(lambda what, fraction: print(what, flush=True))


def random_tinyllama(folder: Path) -> Path:
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
        LlamaForCausalLM(config).to(torch.float32).save_pretrained(folder)
    for file in TOKENIZER.iterdir():
        shutil.copy(file, folder)
    return folder
