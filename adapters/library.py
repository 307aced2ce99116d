"""The library of finished adapters of one owner: what lies in `STUDIO_HOME/adapters/<owner>/`, read from the files alone.

`studio.json` in an adapter's folder keeps what happened to it here: notes, former names, where it came from, where it was
pushed. It never leaves this machine. What a file says is believed only as far as its type is right: it may come from anyone.
"""

from dataclasses import dataclass, field
from pathlib import Path

import yaml

from common.errors import UserError
from common.files import read_json, write_json
from common.paths import LOCAL_OWNER, adapters_folder, contained
from models import embedded

UNFINISHED = (".partial", ".old")
RECORD = "studio.json"
MOST_CONFIG_BYTES = 100_000
MOST_NOTES = 4000
MOST_STEPS_BACK = 20


@dataclass(frozen=True)
class Adapter:
    """One adapter: its folder, its base as recorded in adapter_config.json, and the metrics of its training."""

    folder: Path
    base: str
    base_revision: str | None
    lora_r: int
    metrics: dict
    config: dict = field(default_factory=dict)
    record: dict = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def base_choice(self) -> str:
        """What `models.base.choose_base` takes to get the very base it was trained on."""
        is_embedded = self.base == embedded.HUB_ID and self.metrics.get("base_source") == "embedded"
        return "embedded" if is_embedded else self.base

    @property
    def created(self) -> float:
        """Seconds since 1970: when it was trained, else when it came here."""
        return _number(self.metrics.get("created")) or self.folder.stat().st_mtime

    @property
    def loss_before(self) -> float | None:
        return _number(self.metrics.get("loss_before"))

    @property
    def loss_after(self) -> float | None:
        return _number(self.metrics.get("loss_after"))

    @property
    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())

    @property
    def notes(self) -> str:
        return _text(self.record.get("notes"))

    @property
    def origin(self) -> dict:
        """{'kind': 'trained' | 'imported' | 'pulled', 'from': ...}; of a pulled one also repo_id, revision, public, by.

        'init_origin' is that of the adapter that a training went on from.
        """
        origin = self.record.get("origin")
        return origin if isinstance(origin, dict) else {"kind": "trained", "from": "this machine"}

    @property
    def private_sources(self) -> list[dict]:
        """[{'repo_id', 'by'}] of the repositories, not open to everybody, that this is from: pulled, trained further, a copy."""
        origin, found = self.origin, []
        for _ in range(MOST_STEPS_BACK):
            if origin.get("kind") == "pulled" and not origin.get("public"):
                found.append({"repo_id": _text(origin.get("repo_id")), "by": _text(origin.get("by"))})
            origin = origin.get("init_origin") if isinstance(origin.get("init_origin"), dict) else {}
        named = _text(self.metrics.get("private_source"))  # of a zip, or of what was pulled from a private copy
        return found + ([{"repo_id": named, "by": ""}] if named else [])

    @property
    def pushed(self) -> list[dict]:
        """Where it was pushed: [{'repo_id', 'url', 'revision', 'time'}], the last one last."""
        pushed = self.record.get("pushed")
        return [one for one in pushed if isinstance(one, dict)] if isinstance(pushed, list) else []

    def training_config(self) -> dict:
        """The settings it was trained with, {} when they are not known."""
        path = self.folder / "training_config.yaml"
        try:
            if path.stat().st_size > MOST_CONFIG_BYTES:
                return {}
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError, RecursionError):
            return {}
        return values if isinstance(values, dict) else {}

    def data(self) -> str:
        """What it was trained on, in words and never as a path."""
        named = _text(self.training_config().get("data"))
        rows = _number(self.metrics.get("rows"))
        is_file = named.startswith(("data/", "/", ".", "~")) or "\\" in named
        words = {"": "not known", "example": "the study coach example"}.get(named, "a file" if is_file else named)
        return f"{words}, {rows:.0f} rows" if rows else words


def read_adapter(folder: Path) -> Adapter:
    """The adapter in `folder`. Raises UserError when it is not a complete one."""
    config = read_json(folder / "adapter_config.json")
    if not isinstance(config, dict) or not (folder / "adapter_model.safetensors").is_file():
        raise UserError(
            f"'{folder.name}' is not an adapter.", "It needs adapter_config.json and adapter_model.safetensors."
        )
    revision, rank = config.get("revision"), config.get("r")
    return Adapter(
        folder=folder,
        base=str(config.get("base_model_name_or_path")),
        base_revision=revision if isinstance(revision, str) else None,
        lora_r=rank if isinstance(rank, int) else 0,
        metrics=_object(folder / "metrics.json"),
        config=config,
        record=_object(folder / RECORD),
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
    return sorted(found, key=lambda adapter: adapter.created, reverse=True)


def search_adapters(words: str, owner: str = LOCAL_OWNER) -> list[Adapter]:
    """The adapters of `owner` in whose name, base, data, notes or repositories every word is found."""
    wanted = words.lower().split()
    return [adapter for adapter in list_adapters(owner) if all(word in _searched(adapter) for word in wanted)]


def _searched(adapter: Adapter) -> str:
    pushed = " ".join(_text(one.get("repo_id")) for one in adapter.pushed)
    origin = " ".join(str(value) for value in adapter.origin.values())
    return f"{adapter.name} {adapter.base} {adapter.data()} {adapter.notes} {pushed} {origin}".lower()


def find_adapter(name: str, owner: str = LOCAL_OWNER) -> Adapter:
    """The adapter of `owner` with this name, or the one that had it before it was renamed. Raises UserError."""
    if not name:
        raise UserError("No adapter is picked.", "Pick one of the list.")
    folder = contained(adapters_folder(owner), name)
    if folder.is_dir() and not name.endswith(UNFINISHED):
        return read_adapter(folder)
    adapters = list_adapters(owner)
    for adapter in adapters:
        if name in (adapter.record.get("former_names") or []):
            return adapter
    known = ", ".join(adapter.name for adapter in adapters[:5]) or "none yet"
    raise UserError(f"There is no adapter '{name}'.", f"There are: {known}.")


def update_record(folder: Path, **values) -> None:
    """Change what `studio.json` says of the adapter in `folder`."""
    write_json(folder / RECORD, {**_object(folder / RECORD), **values})


def _object(path: Path) -> dict:
    value = read_json(path, {})
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    return float(value) if usable else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
