"""How others serve an adapter: the line for vLLM, with its limits checked, and the Modelfile for Ollama."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from adapters.check import CONFIG, read_object
from adapters.library import Adapter
from common.errors import UserError

TEMPLATE = "chat_template.jinja"
VLLM_RANK = 16  # vLLM's default for --max-lora-rank
VLLM_RANKS = (16, 32, 64, 128, 256)
ZEPHYR = """{{- range .Messages }}<|{{ .Role }}|>
{{ .Content }}</s>
{{ end }}<|assistant|>
"""
CHATML = """{{- range .Messages }}<|im_start|>{{ .Role }}
{{ .Content }}<|im_end|>
{{ end }}<|im_start|>assistant
"""


@dataclass(frozen=True)
class VllmLine:
    """The command that serves it, and the reasons why vLLM would refuse; no reasons, no refusal."""

    command: str
    refusals: list[str]


def vllm_line(adapter: Adapter, place: str = "") -> VllmLine:
    """How vLLM serves the adapter from `place`: a repository or a folder. Its limits are those of vllm/lora/peft_helper.py."""
    config = read_object(adapter.folder / CONFIG)
    refusals = []
    if config.get("modules_to_save"):
        refusals.append("it trains whole layers (modules_to_save)")
    if config.get("use_dora"):
        refusals.append("it is a DoRA")
    rank = adapter.lora_r
    base, module = shlex.quote(adapter.base), shlex.quote(f"{adapter.name}={place or adapter.folder}")
    command = f"vllm serve {base} --enable-lora --lora-modules {module}"
    if (adapter.folder / TEMPLATE).is_file():  # vLLM would take the base's
        is_repository = place.count("/") == 1 and not place.startswith(".")
        file = f'"$(hf download -q {shlex.quote(place)} {TEMPLATE})"'
        file = file if is_repository else shlex.quote(f"{place or adapter.folder}/{TEMPLATE}")
        command += f" --chat-template {file}"
    if rank > VLLM_RANK:
        command += f" --max-lora-rank {next((one for one in VLLM_RANKS if one >= rank), rank)}"
    return VllmLine(command, refusals)


def write_modelfile(model_folder: Path, gguf_file: Path, adapter_file: Path | None = None) -> Path:
    """An Ollama Modelfile beside `gguf_file` that carries the chat template, the system prompt it implies, and the stops."""
    from models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(model_folder)
    template, stops, system = _template_of(tokenizer)
    lines = [f"FROM ./{gguf_file.name}"]
    lines += [f"ADAPTER ./{adapter_file.name}"] if adapter_file else []
    if template:
        lines.append(f'TEMPLATE """{template}"""')
    else:
        lines.append("# its chat template is none that is known here: Ollama takes the one inside the GGUF")
    if '"""' in system:  # a template from elsewhere: its words would become lines of this file
        raise UserError("The system prompt of its chat template holds three quotes.", "A Modelfile cannot hold that.")
    lines += [f'SYSTEM """{system}"""'] if system else []
    lines += [f'PARAMETER stop "{stop}"' for stop in stops]
    path = gguf_file.with_name("Modelfile")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _template_of(tokenizer) -> tuple[str, list[str], str]:
    """(Ollama's template, stop words, system prompt that the template adds by itself), recognised by what it renders."""
    messages = [{"role": "user", "content": "QUESTION"}]
    rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    if rendered == "<|user|>\nQUESTION</s>\n<|assistant|>\n":
        return ZEPHYR, ["</s>", "<|user|>", "<|system|>"], ""
    asked = "<|im_start|>user\nQUESTION<|im_end|>\n<|im_start|>assistant\n"
    if rendered == asked:
        return CHATML, ["<|im_end|>", "<|im_start|>"], ""
    opening, closing = "<|im_start|>system\n", "<|im_end|>\n"
    if rendered.startswith(opening) and rendered.endswith(closing + asked):
        return CHATML, ["<|im_end|>", "<|im_start|>"], rendered[len(opening) : -len(closing + asked)]
    return "", [], ""
