"""The library of finished adapters of one owner: what lies in `STUDIO_HOME/adapters/<owner>/`, read from the files alone."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.files import read_json
from common.paths import LOCAL_OWNER, adapters_folder, contained

UNFINISHED = (".partial", ".old")


@dataclass(frozen=True)
class Adapter:
    """One adapter: its folder, its base as recorded in adapter_config.json, and the metrics of its training."""

    folder: Path
    base: str
    base_revision: str | None
    lora_r: int
    metrics: dict

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def base_choice(self) -> str:
        """What `models.base.choose_base` takes to get the very base it was trained on."""
        return "embedded" if self.metrics.get("base_source") == "embedded" else self.base


def read_adapter(folder: Path) -> Adapter:
    """The adapter in `folder`. Raises UserError when it is not a complete one."""
    config = read_json(folder / "adapter_config.json")
    if not isinstance(config, dict) or not (folder / "adapter_model.safetensors").is_file():
        raise UserError(
            f"'{folder.name}' is not an adapter.", "It needs adapter_config.json and adapter_model.safetensors."
        )
    metrics = read_json(folder / "metrics.json", {})
    return Adapter(
        folder=folder,
        base=str(config.get("base_model_name_or_path")),
        base_revision=config.get("revision"),
        lora_r=int(config.get("r") or 0),
        metrics=metrics if isinstance(metrics, dict) else {},
    )


def list_adapters(owner: str = LOCAL_OWNER) -> list[Adapter]:
    """All complete adapters of `owner`, the newest first."""
    root = adapters_folder(owner)
    found = []
    for folder in root.iterdir() if root.is_dir() else []:
        if folder.is_dir() and not folder.name.endswith(UNFINISHED):
            try:
                found.append(read_adapter(folder))
            except UserError:
                continue
    return sorted(found, key=lambda adapter: adapter.metrics.get("created", 0.0), reverse=True)


def find_adapter(name: str, owner: str = LOCAL_OWNER) -> Adapter:
    """The adapter of `owner` with this name. Raises UserError when there is none."""
    folder = contained(adapters_folder(owner), name)
    if not folder.is_dir():
        known = ", ".join(adapter.name for adapter in list_adapters(owner)[:5]) or "none yet"
        raise UserError(f"There is no adapter '{name}'.", f"There are: {known}.")
    return read_adapter(folder)
