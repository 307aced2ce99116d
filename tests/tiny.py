"""A two-layer Llama with random weights and TinyLlama's tokenizer, for tests in which weights do not matter."""

import shutil
from pathlib import Path

TOKENIZER = Path(__file__).parent / "data" / "tinyllama-tokenizer"


def make_tiny_base(folder: Path) -> Path:
    """Write the model and its tokenizer into `folder`; the same weights at every call."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        vocab_size=32000,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    for file in TOKENIZER.iterdir():
        shutil.copy(file, folder)
    return folder
