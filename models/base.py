"""The choice of the base model: TinyLlama from the Hub or the cache, a folder, or the embedded one, and the reason for it.

`choose_base` is light (no torch, seconds at most) and never changes the model silently: the reason is part of the result.
`fetch_base` downloads the files, on a Space up to STUDIO_MAX_BASE_BYTES (12 GB unless set; 0 is no limit).
Tokens are never sent: a gated model must be in the local cache already.
"""

import json
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError, causes
from common.files import read_json, read_object
from common.language import Sentence, _, joined
from common.limits import limit
from models import embedded
from models.family import EMBEDDED_SHAPE, MODULES, TINYLLAMA_SHAPE, ModelShape, family_of, shape_of
from models.hub.errors import errors_explained
from models.hub.fetch import Progress, download, size_of
from models.quantised import MAX_CONFIG_BYTES, Quantised, quantised_in, quantised_of

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

AUTO = "auto"
EMBEDDED = "embedded"
DEFAULT_BASE = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
# (label, choice) of what every list of bases offers
BASE_CHOICES = [
    (_("Auto (TinyLlama, or the built-in small model when offline)"), AUTO),
    ("TinyLlama 1.1B Chat (2.2 GB)", DEFAULT_BASE),
    (_("SmolLM2 135M Instruct (built-in, small and fast)"), EMBEDDED),
]
HUB_TIMEOUT_SECONDS = 5
MAX_SPACE_BASE_BYTES = 12_000_000_000
TOKENIZER_FILES = ["config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja"]
FILES = ["generation_config.json", "*.safetensors", "*.safetensors.index.json", *TOKENIZER_FILES]
# of PEFT's init_lora_weights: those that leave the base as it is; "pissa", "olora" and others change it, also when loaded
KEEPING_THE_BASE = (True, False, "gaussian")
# of an adapter_config.json: PEFT compares every name in it with every layer. No base here has 256 layers
MAX_ADAPTER_CONFIG_BYTES = 200_000
MAX_TARGET_MODULES = len(MODULES) * 256


@dataclass(frozen=True)
class Base:
    """A base: `source` is 'hub', 'cache', 'folder' or 'embedded'; `model_id` is what an adapter records.

    `reason` is a sentence on why it was taken; `quantised` is how its weights are stored, None in 16 or 32 bits.
    """

    source: str
    model_id: str
    revision: str | None
    reason: str
    quantised: Quantised | None = None

    @property
    def choice(self) -> str:
        """Return the value of `base` in a config that gives this base again."""
        return EMBEDDED if self.source == EMBEDDED else self.model_id

    def __str__(self) -> str:
        return f"{self.model_id}. {self.reason}"


def choose_base(choice: str = AUTO, revision: str | None = None) -> Base:
    """Decide on the base for `choice`: 'auto', 'embedded', a Hub id or a folder. Raises UserError with what to do instead.

    'auto' is TinyLlama when it is cached or the Hub answers; else the embedded base, with the reason.
    """
    choice = choice.strip() or AUTO
    if choice == EMBEDDED:
        return Base(EMBEDDED, embedded.HUB_ID, None, _("The built-in model was chosen."))
    if choice == AUTO:
        try:
            return _choose_from_hub(DEFAULT_BASE, None)
        except UserError as error:
            return Base(EMBEDDED, embedded.HUB_ID, None, _why_embedded(error))
    if os.path.isdir(choice):
        quantised = check_folder(Path(choice))
        return _base("folder", str(Path(choice).resolve()), None, _("A folder on this machine."), quantised)
    return _choose_from_hub(choice, revision)


def _why_embedded(error: UserError) -> Sentence:
    """Return why TinyLlama could not be had, as the reason for the embedded base."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    if any(isinstance(cause, OfflineModeIsEnabled) for cause in causes(error)):
        return _("Using the built-in SmolLM2-135M: TinyLlama could not be downloaded (offline).")
    return joined([_("Using the built-in SmolLM2-135M: TinyLlama could not be downloaded."), error.message])


def _choose_from_hub(model_id: str, revision: str | None) -> Base:
    """Return the base `model_id` from the cache, else from the Hub. Raises UserError."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(model_id)
    except HFValidationError as error:
        raise UserError(
            _("'{model}' is neither a folder on this machine nor a Hugging Face ID.", model=model_id[:100]),
            _("IDs look like owner/name."),
        ) from error
    cached = _cached(model_id, revision)
    if cached:
        return _base("cache", model_id, cached.name, _("From the local cache."), check_folder(cached, model_id))
    info = _ask_hub(model_id, revision)
    config = _config_on_hub(info)
    family_of(config, model_id)
    quantised = quantised_of(config, model_id, made_from(info))
    if quantised and quantised.precision is None:
        raise quantised.refusal(model_id)
    return _base("hub", model_id, info.sha, _("From the Hugging Face Hub."), quantised)


def _base(source: str, model_id: str, revision: str | None, reason: str, quantised: Quantised | None) -> Base:
    """Return a base whose reason says how its weights are stored, where they are quantised."""
    return Base(source, model_id, revision, joined([reason, quantised.reason()]) if quantised else reason, quantised)


def _cached(model_id: str, revision: str | None) -> Path | None:
    """Return the folder of a complete copy in the Hub cache of this machine, named by its commit, or None.

    With `revision` None: the one that main points to, else the newest (a download by commit names no main).
    """
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.file_download import repo_folder_name

    config = try_to_load_from_cache(model_id, "config.json", revision=revision)
    folders = [Path(config).parent] if isinstance(config, str) else []
    if revision is None:
        repository = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=model_id, repo_type="model")
        folders += sorted(repository.glob("snapshots/*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in folders:
        if (folder / "config.json").exists() and not _missing_weights(folder) and any(folder.glob("tokenizer*")):
            return folder
    return None


def _ask_hub(model_id: str, revision: str | None) -> "ModelInfo":
    """Return what the Hub says of `revision` (default: main) now, with its commit. Raises UserError without safetensors."""
    from huggingface_hub import HfApi

    try:
        with errors_explained(model_id, has_token=False):
            info = HfApi(token=False).model_info(
                model_id, revision=revision, files_metadata=True, timeout=HUB_TIMEOUT_SECONDS
            )
    except UserError as error:
        other = _("Or choose the built-in model ('{choice}') or a local folder.", choice=EMBEDDED)
        raise UserError(error.message, joined([error.hint, other])) from error.__cause__
    names = {file.rfilename for file in info.siblings or []}
    if not any(name.endswith(".safetensors") for name in names):
        words = _("{model} has no safetensors weights.", model=model_id)
        raise UserError(words, _("Other formats can run code and are not loaded."))
    assert info.sha
    return info


def _config_on_hub(info: "ModelInfo") -> dict[str, Any]:
    """Return the config.json at the commit of `info`, kept in the cache. Raises UserError without one."""
    from huggingface_hub import hf_hub_download

    file = next((file for file in info.siblings or [] if file.rfilename == "config.json"), None)
    if file is None or (file.size or 0) > MAX_CONFIG_BYTES:
        words = _("{model} has no config.json that names its architecture.", model=info.id)
        raise UserError(words, _("Choose another model."))
    with errors_explained(info.id, has_token=False):
        return read_object(Path(hf_hub_download(info.id, "config.json", revision=info.sha, token=False)))


def made_from(info: "ModelInfo") -> str:
    """Return the model that this one was made from, as the Hub reads its card; "" without one."""
    named = [tag.rsplit(":", 1)[-1] for tag in info.tags or [] if tag.startswith("base_model:")]
    return named[0] if named else ""


def transport_error() -> type[Exception]:
    """Return the exception of huggingface_hub 2 for an unreachable network or Hub: it uses httpx2."""
    import httpx2

    return httpx2.TransportError


def _missing_weights(folder: Path) -> bool:
    """Return True unless every safetensors file that the folder's index names (or `model.safetensors`) is there."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        return not all((folder / name).exists() for name in names)
    return not (folder / "model.safetensors").exists()


def check_folder(folder: Path, name: str = "") -> Quantised | None:
    """Return how the weights in `folder` are stored, None in 16 or 32 bits; `name` is what people know the model by.

    Raises UserError unless it holds a model in safetensors of a known architecture, in a way that can be loaded here.
    """
    config = read_json(folder / "config.json", None, MAX_CONFIG_BYTES)
    if not isinstance(config, dict):
        words = _("'{folder}' has no readable config.json.", folder=str(folder))
        raise UserError(words, _("Enter the folder that holds the model."))
    family_of(config, f"'{name or folder.name}'")
    if _missing_weights(folder):
        words = _("'{folder}' has no complete safetensors weights.", folder=str(folder))
        raise UserError(words, _("Save or download it as safetensors."))
    return quantised_in(folder, name)


def fetch_base(
    base: Base, progress: Progress = lambda what, fraction: None, stop: threading.Event | None = None
) -> Path:
    """Return the folder with the base's files, downloaded or converted first when needed. `stop` ends a download.

    Raises UserError with the reason of a failure (network, disk, a stop, an unknown architecture).
    """
    if base.source == "folder":
        return Path(base.model_id)
    if base.source == EMBEDDED:
        return embedded.ensure(progress)
    folder = _download(base, progress, stop=stop)
    check_folder(folder, base.model_id)
    return folder


def shape_for(base: Base) -> ModelShape | None:
    """Return the shape of a base without a download; None when its config.json is not on this machine."""
    if base.source == EMBEDDED:
        return EMBEDDED_SHAPE
    if base.source == "folder":
        return shape_of(base.model_id)
    if base.model_id == DEFAULT_BASE:
        return TINYLLAMA_SHAPE
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(base.model_id, "config.json", revision=base.revision)
    return shape_of(Path(config).parent) if isinstance(config, str) else None


def fetch_tokenizer(base: Base, progress: Progress = lambda what, fraction: None) -> Path:
    """Return a folder with the base's tokenizer and config.json; weights are not downloaded for it.

    Raises UserError like `fetch_base`.
    """
    if base.source != "hub":
        return fetch_base(base, progress)
    return _download(base, progress, TOKENIZER_FILES)


def _download(base: Base, progress: Progress, patterns: list[str] = FILES, stop: threading.Event | None = None) -> Path:
    """Return the folder with the files of a Hub base that match `patterns`, downloaded unless they are cached."""
    from huggingface_hub import snapshot_download

    loading, downloading = _("Loading {model}", model=base.model_id), _("Downloading {model}", model=base.model_id)
    progress(loading if base.source == "cache" else downloading, None)
    if base.source != "cache":
        _check_size(base, patterns)
        if patterns == FILES:
            return download(base.model_id, base.revision, patterns, progress, stop)
    with errors_explained(base.model_id, has_token=False):
        folder = snapshot_download(
            base.model_id,
            revision=base.revision,
            allow_patterns=patterns,
            token=False,
            local_files_only=base.source == "cache",
        )
    return Path(folder)


def _check_size(base: Base, patterns: list[str]) -> None:
    """Raise UserError for a download beyond this machine's limit, because visitors may name any base."""
    most = limit("STUDIO_MAX_BASE_BYTES", MAX_SPACE_BASE_BYTES)
    size = size_of(base.model_id, base.revision, patterns) if most else 0
    if size > most:
        words = _(
            "{model} is {size:.1f} GB; at most {most:.1f} GB are allowed here.",
            model=base.model_id,
            size=size / 1e9,
            most=most / 1e9,
        )
        raise UserError(words, _("Choose a smaller base."))
