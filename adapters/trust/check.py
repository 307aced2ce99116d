"""Checks the files of an adapter from elsewhere before anything loads it: sizes here, settings and weights beside it.

Tokenizer files are kept as they are and never loaded; only the text of the chat template is read and compared with known ones
(`models/templates/choice.py`).
"""

from pathlib import Path
from typing import Any

from adapters.evaluated import EVALUATION, MAX_EVALUATION_BYTES
from adapters.library import CONFIG, MAX_METRICS_BYTES, METRICS, SETTINGS, WEIGHTS
from adapters.trust.config import NOT_IMPORTED, check_config, is_hub_id
from adapters.trust.weights import GET_AGAIN, check_weights
from common.errors import UserError
from common.files import parse_json
from common.language import Sentence, _, joined
from models import embedded
from models.base import DEFAULT_BASE, MAX_ADAPTER_CONFIG_BYTES
from models.family import TINYLLAMA_SHAPE, ModelShape, shape_from
from models.templates.choice import WHERE, own_text, recognise_for

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json")
TOKENIZER_FILES += ("added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja")
OUR_FILES = (SETTINGS, METRICS, EVALUATION, "samples.json", "README.md", "loss.png", "LICENSE")
FILES = (CONFIG, WEIGHTS, *TOKENIZER_FILES, *OUR_FILES)
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz")
MAX_FILE_BYTES = 20_000_000
# of one file; those that are not named here may have MAX_FILE_BYTES
MAX_BYTES = {
    WEIGHTS: 2_000_000_000,
    CONFIG: MAX_ADAPTER_CONFIG_BYTES,
    SETTINGS: 100_000,
    METRICS: MAX_METRICS_BYTES,
    EVALUATION: MAX_EVALUATION_BYTES,
    "samples.json": 1_000_000,
    "README.md": 1_000_000,
    "LICENSE": 200_000,
}


def check_adapter(folder: Path, base: ModelShape | None = None) -> None:
    """Raise UserError unless `folder` holds a whole, harmless LoRA; with `base`, of that base."""
    for name, most in MAX_BYTES.items():
        if (folder / name).exists():
            _check_size(folder / name, most)
    config = check_config(require_object(folder / CONFIG, MAX_BYTES[CONFIG]))
    if (folder / METRICS).exists():  # read whenever the library is shown
        require_object(folder / METRICS, MAX_METRICS_BYTES)
    check_weights(folder / WEIGHTS, config, base)


def template_note(folder: Path, model_id: str) -> list[Sentence]:
    """Return a sentence when the adapter's chat template is not known here; [] for any other."""
    if recognise_for(own_text(folder), known_base_template(model_id)) is not None:
        return []
    return [joined([_("It has a chat template that is not known here, so it cannot be used in a chat yet."), WHERE])]


def max_bytes(name: str) -> int:
    """Return the most bytes that a file of this name may have."""
    return MAX_BYTES.get(name, MAX_FILE_BYTES)


def _check_size(path: Path, most: int) -> None:
    """Raise UserError for a file of more than `most` bytes."""
    if path.stat().st_size > most:
        words = _("{file} is {size:.1f} MB, more than any adapter's.", file=path.name, size=path.stat().st_size / 1e6)
        raise UserError(words, NOT_IMPORTED)


def require_object(path: Path, max_bytes: int = MAX_FILE_BYTES) -> dict[str, Any]:
    """Return the JSON object in `path`. Raises UserError when it is missing, too large, or no object."""
    try:
        _check_size(path, max_bytes)
        value = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(_("{file} is missing or damaged.", file=path.name), GET_AGAIN) from error
    if not isinstance(value, dict):
        raise UserError(_("{file} does not hold a JSON object.", file=path.name), GET_AGAIN)
    return value


def known_base_shape(model_id: str) -> ModelShape | None:
    """Return the shape of a base whose config.json is on this machine, None without one. Raises UserError like `shape_from`."""
    for folder in _base_folders(model_id):
        if (folder / "config.json").is_file():
            return shape_from(require_object(folder / "config.json"), model_id)
    return TINYLLAMA_SHAPE if model_id == DEFAULT_BASE else None


def known_base_template(model_id: str) -> str | None:
    """Return the chat template of a base that is on this machine, None without one."""
    return next((text for folder in _base_folders(model_id) if (text := own_text(folder)) is not None), None)


def _base_folders(model_id: str) -> list[Path]:
    """Return the folders on this machine that may hold the files of a base."""
    from huggingface_hub import try_to_load_from_cache

    folders = [embedded.folder()] if model_id == embedded.HUB_ID else []
    cached = try_to_load_from_cache(model_id, "config.json") if is_hub_id(model_id) else None
    folders += [Path(cached).parent] if isinstance(cached, str) else []
    return folders + ([Path(model_id)] if Path(model_id).is_absolute() else [])
