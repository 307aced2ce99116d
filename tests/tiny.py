"""Two-layer models with random weights, one of each family, for tests in which weights do not matter."""

import shutil
from pathlib import Path

from common.paths import REPOSITORY

TOKENIZER = Path(__file__).parent / "data" / "tinyllama-tokenizer"
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
# what the config.json of Qwen2.5-0.5B-Instruct and of Qwen3-0.6B say, and TRL's file of their chat template
QWEN = {
    "qwen2": ({"tie_word_embeddings": True, "use_sliding_window": False, "sliding_window": 32768}, "qwen2_5.jinja"),
    "qwen3": ({"tie_word_embeddings": True, "head_dim": 32, "sliding_window": None}, "qwen3.jinja"),
}


def make_tiny_base(folder: Path) -> Path:
    """Write a Llama with TinyLlama's tokenizer into `folder`; the same weights at every call."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(**SIZES, vocab_size=32000, bos_token_id=1, eos_token_id=2, pad_token_id=2)
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    for file in TOKENIZER.iterdir():
        shutil.copy(file, folder)
    return folder


def make_tiny_quantised(folder: Path, tiny_base: Path, precision: str) -> Path:
    """Write `tiny_base` as bitsandbytes saves it in '4bit' (NF4, double quantised, as unsloth has it) or '8bit' into `folder`."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    if precision == "8bit":
        how = BitsAndBytesConfig(load_in_8bit=True)
    else:
        how = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    model = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.bfloat16, quantization_config=how)
    model.save_pretrained(folder)
    for file in TOKENIZER.iterdir():
        shutil.copy(file, folder)
    return folder


def make_tiny_qwen(folder: Path, model_type: str) -> Path:
    """Write a 'qwen2' or 'qwen3' into `folder`, biases and norms random too, with a tokenizer of Qwen's kind and 1,000 words."""
    import torch
    import trl
    from transformers import AutoConfig, AutoModelForCausalLM, Qwen2Tokenizer

    settings, template = QWEN[model_type]
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Qwen2Tokenizer().train_new_from_iterator([(REPOSITORY / "README.md").read_text()], 1000)
    tokenizer.add_special_tokens({"extra_special_tokens": specials, "eos_token": "<|im_end|>"})
    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / template).read_text()
    tokenizer.save_pretrained(folder)
    config = AutoConfig.for_model(
        model_type, **SIZES, **settings, vocab_size=1024, eos_token_id=tokenizer.eos_token_id, rope_theta=1_000_000.0
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    for name, weight in model.named_parameters():
        if name.endswith((".bias", "q_norm.weight", "k_norm.weight")):
            weight.data.normal_(1.0, 0.5)
    model.save_pretrained(folder)
    return folder
