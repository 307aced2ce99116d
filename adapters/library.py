"""The library of finished adapters of one owner: what lies in `STUDIO_HOME/adapters/<owner>/`, read from the files alone.

`studio.json` in an adapter's folder keeps what happened to it here: notes, former names, where it came from, where it was
pushed. It never leaves this machine. What a file says is believed only as far as its type is right: it may come from anyone.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from adapters.settings_file import MOST_BYTES, read_settings
from common.errors import UserError
from common.files import plain_value, read_json, read_object, write_json
from common.paths import LOCAL_OWNER, adapters_folder, contained
from models import embedded
from models.base import MAX_ADAPTER_CONFIG_BYTES
from models.templates.choice import MAX_RECORD_BYTES

UNFINISHED = (".partial", ".old")
RECORD = "studio.json"
MOST_NOTES = 4000
MAX_METRICS_BYTES = 100_000
MOST_STEPS_BACK = 20
CONFIG, WEIGHTS, METRICS, SETTINGS = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "metrics.json",
    "training_config.yaml",
)


@dataclass(frozen=True)
class ToldSetting:
    """A setting of a training that others may know: its name, its name for people, and whether the card shows it."""

    name: str
    label: str
    value: int | float | str
    on_card: bool


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
        came = _number(self.metrics.get("created")) or _number(self.origin.get("time"))
        return came or self.folder.stat().st_mtime  # the folder changes with every note

    @property
    def damaged(self) -> list[str]:
        """The files of what is known of it that are there and cannot be read."""
        there = [name for name in (METRICS, RECORD) if (self.folder / name).exists()]
        return [name for name in there if not isinstance(read_json(self.folder / name), dict)]

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
            before = origin.get("init_origin")
            origin = before if isinstance(before, dict) else {}
        named = _text(self.metrics.get("private_source"))  # of a zip, or of what was pulled from a private copy
        return found + ([{"repo_id": named, "by": ""}] if named else [])

    @property
    def pushed(self) -> list[dict]:
        """Where it was pushed: [{'repo_id', 'url', 'revision', 'time'}], the last one last."""
        pushed = self.record.get("pushed")
        return [one for one in pushed if isinstance(one, dict)] if isinstance(pushed, list) else []

    def training_config(self) -> dict:
        """The settings it was trained with, {} when they are not known."""
        return read_settings(self.folder / SETTINGS) or {}

    def told_settings(self) -> list[ToldSetting]:
        """Those of its settings that may leave this machine, as its training has marked them in metrics.json."""
        config, told = self.training_config(), self.metrics.get("settings")
        names = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
        return [
            ToldSetting(name, _text(one.get("label")), value, one.get("on_card") is True)
            for one in names
            if (name := _text(one.get("name"))) and isinstance(value := config.get(name), int | float | str)
        ]

    def _settings(self) -> bytes:
        """The text of the settings it was trained with, empty when there is none, or far too much."""
        try:
            with open(self.folder / SETTINGS, "rb") as file:
                text = file.read(MOST_BYTES + 1)
        except OSError:
            return b""
        return text if len(text) <= MOST_BYTES else b""

    def data(self) -> str:
        """What it was trained on, in words and never as a path."""
        named = plain_value(self._settings(), "data") or _text(self.training_config().get("data"))
        rows = _number(self.metrics.get("rows"))
        is_file = named.startswith(("data/", "/", ".", "~")) or "\\" in named
        words = {"": "not known", "example": "the study coach example"}.get(named, "a file" if is_file else named)
        return f"{words}, {rows:.0f} rows" if rows else words


def read_adapter(folder: Path) -> Adapter:
    """The adapter in `folder`. Raises UserError when it is not a complete one."""
    config = read_object(folder / CONFIG, MAX_ADAPTER_CONFIG_BYTES)
    if not config or not (folder / WEIGHTS).is_file():
        raise UserError(
            f"'{folder.name}' is not an adapter.", "It needs adapter_config.json and adapter_model.safetensors."
        )
    revision, rank = config.get("revision"), config.get("r")
    return Adapter(
        folder=folder,
        base=str(config.get("base_model_name_or_path")),
        base_revision=revision if isinstance(revision, str) else None,
        lora_r=rank if isinstance(rank, int) else 0,
        metrics=read_object(folder / METRICS, MAX_METRICS_BYTES),
        config=config,
        record=read_object(folder / RECORD, MAX_RECORD_BYTES),
    )


def list_adapters(owner: str = LOCAL_OWNER, most: int | None = None) -> list[Adapter]:
    """The complete adapters of `owner`, the newest first; `most` of them when it is given."""
    return read_some(adapter_names(owner), owner, most)


def read_some(names: list[str], owner: str = LOCAL_OWNER, most: int | None = None) -> list[Adapter]:
    """The adapters of these names, `most` of them; what is none, or gone meanwhile, is passed over."""
    root, found = adapters_folder(owner), []
    for name in names:
        if len(found) == most:
            break
        try:
            found.append(read_adapter(root / name))
        except UserError:
            continue
    return found


def adapter_names(owner: str = LOCAL_OWNER, words: str = "") -> list[str]:
    """List the names of the adapters of `owner` in which every word is found, the newest first but one that is called just so.

    Whether the config of one can be read is not known yet.
    """
    root, wanted = str(adapters_folder(owner)), words.lower().split()
    found = []
    for name in _folders(root):
        path = f"{root}/{name}"
        created = _date(path)
        if created is None or (wanted and not all(word in _known(Path(path))[0] for word in wanted)):
            continue
        found.append((name == words.strip(), created or _changed(path), name))
    return [name for *_, name in sorted(found, reverse=True)]


def _folders(root: str) -> list[str]:
    try:
        with os.scandir(root) as entries:
            return [entry.name for entry in entries if not entry.name.endswith(UNFINISHED)]
    except OSError:
        return []


def _date(path: str) -> float | None:
    """`Adapter.created` as far as the files tell it, else 0; None for what is no whole adapter."""
    if not (os.path.exists(f"{path}/{CONFIG}") and os.path.isfile(f"{path}/{WEIGHTS}")):
        return None
    trained = _number(read_object(Path(path, METRICS), MAX_METRICS_BYTES).get("created"))
    origin = read_object(Path(path, RECORD), MAX_RECORD_BYTES).get("origin")
    return trained or _number(origin.get("time") if isinstance(origin, dict) else None) or 0.0


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:  # deleted meanwhile
        return 0.0


def _known(folder: Path) -> tuple[str, tuple]:
    """(what a search looks through, former names) of the adapter in the folder, empty for what is none."""
    try:
        adapter = read_adapter(folder)
    except UserError:
        return "", ()
    pushed = " ".join(_text(one.get("repo_id")) for one in adapter.pushed)
    origin = " ".join(str(value) for value in adapter.origin.values())
    former = adapter.record.get("former_names")
    text = f"{adapter.name} {adapter.base} {adapter.data()} {adapter.notes} {pushed} {origin}".lower()
    return text, tuple(former) if isinstance(former, list) else ()


def find_adapter(name: str, owner: str = LOCAL_OWNER) -> Adapter:
    """The adapter of `owner` with this name, or the one that had it before it was renamed. Raises UserError."""
    if not name:
        raise UserError("No adapter is picked.", "Pick one of the list.")
    folder = contained(adapters_folder(owner), name)
    if folder.is_dir() and not name.endswith(UNFINISHED):
        return read_adapter(folder)
    root, names = adapters_folder(owner), adapter_names(owner)
    for one in names:
        if name in _known(root / one)[1]:
            return read_adapter(root / one)
    known = ", ".join(names[:5]) or "none yet"
    raise UserError(f"There is no adapter '{name}'.", f"There are: {known}.")


def update_record(folder: Path, **values) -> None:
    """Change what `studio.json` says of the adapter in `folder`."""
    write_json(folder / RECORD, {**read_object(folder / RECORD, MAX_RECORD_BYTES), **values})


def _number(value: object) -> float | None:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    return float(value) if usable else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
