"""How other programs serve an adapter: the command for vLLM, with its limits checked, and the Modelfile for Ollama."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from adapters.library import Adapter
from common.language import Sentence, _
from models.templates import NAMES
from models.templates.choice import BASE, chosen
from models.templates.known import recognise

TEMPLATE = "chat_template.jinja"
VLLM_RANK = 16  # vLLM's default for --max-lora-rank
VLLM_RANKS = (16, 32, 64, 128, 256)
ZEPHYR = """{{- range .Messages }}<|{{ .Role }}|>
{{ .Content }}EOS
{{ end }}<|assistant|>
"""
CHATML = """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""
CHATML_STOPS = ("<|im_end|>", "<|im_start|>")
SMOLLM2_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
# of a family: Ollama's template, the stop words, and the system prompt that the family adds by itself; EOS is the stop token
OLLAMA = {
    "zephyr": (ZEPHYR, ("EOS", "<|user|>", "<|system|>"), ""),
    "chatml": (CHATML, CHATML_STOPS, ""),
    "smollm2": (CHATML, CHATML_STOPS, SMOLLM2_SYSTEM),
    "qwen2.5": (CHATML, CHATML_STOPS, QWEN_SYSTEM),
}


@dataclass(frozen=True)
class VllmLine:
    """The command that serves the adapter, and the reasons why vLLM would refuse; empty when it would not."""

    command: str
    refusals: list[Sentence]


def vllm_line(adapter: Adapter, place: str = "") -> VllmLine:
    """Return how vLLM serves the adapter from `place`, a repository or a folder; limits as in vllm/lora/peft_helper.py."""
    config = adapter.config
    refusals = []
    if config.get("modules_to_save") or config.get("trainable_token_indices"):
        refusals.append(_("it has embeddings of its own"))
    if config.get("rank_pattern") or config.get("alpha_pattern"):
        refusals.append(_("its layers have ranks or scales of their own, which vLLM ignores"))
    if config.get("use_dora"):
        refusals.append(_("it is a DoRA adapter"))
    choice = chosen(adapter.folder)
    if choice in NAMES:
        refusals.append(_("it is used with another chat template than its own"))
    rank = adapter.lora_r
    base, module = shlex.quote(adapter.base), shlex.quote(f"{adapter.name}={place or adapter.folder}")
    command = f"vllm serve {base} --enable-lora --lora-modules {module}"
    if (adapter.folder / TEMPLATE).is_file() and choice != BASE:  # vLLM would take the base's
        is_repository = place.count("/") == 1 and not place.startswith(".")
        file = f'"$(hf download -q {shlex.quote(place)} {TEMPLATE})"'
        file = file if is_repository else shlex.quote(f"{place or adapter.folder}/{TEMPLATE}")
        command += f" --chat-template {file}"
    if rank > VLLM_RANK:
        command += f" --max-lora-rank {next((one for one in VLLM_RANKS if one >= rank), rank)}"
    return VllmLine(command, refusals)


def write_modelfile(model_folder: Path, gguf_file: Path) -> Path:
    """Write an Ollama Modelfile beside `gguf_file`, with the chat template, the system prompt it implies, and the stops."""
    from models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(model_folder)
    template, stops, system = OLLAMA.get(recognise(tokenizer.chat_template), ("", (), ""))
    lines = [f"FROM ./{gguf_file.name}"]
    if template:
        lines.append(f'TEMPLATE """{template}"""'.replace("EOS", tokenizer.eos_token))
    else:
        lines.append("# no template is written here: Ollama uses the one inside the GGUF file")
    lines += [f'SYSTEM """{system}"""'] if system else []
    lines += [f'PARAMETER stop "{stop.replace("EOS", tokenizer.eos_token)}"' for stop in stops]
    path = gguf_file.with_name("Modelfile")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
