"""The finished adapters of an owner, read from the files in `STUDIO_HOME/adapters/<owner>/` alone.

`studio.json` in an adapter's folder keeps its history on this machine: notes, former names, origin, pushes. It is never sent. Any
value in these files may have any type, because an adapter may come from anyone: values of a wrong type are ignored.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.origin import Origin, PrivateSource
from adapters.values import Setting, ToldSetting, number, read_setting, read_settings, text
from common.errors import UserError
from common.files import read_json, read_object, write_json
from common.language import _, joined, n_
from common.made_by import name_teachers, read_made_by, teachers_of
from common.mix import DataShare, split_line
from common.paths import LOCAL_OWNER, adapters_folder, as_title, contained, is_name, slug
from models import embedded
from models.base import MAX_ADAPTER_CONFIG_BYTES
from models.templates.choice import MAX_RECORD_BYTES

UNFINISHED = (".partial", ".old")
RECORD = "studio.json"
MAX_NOTES_CHARACTERS = 4000
MAX_METRICS_BYTES = 100_000
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
METRICS, SETTINGS = "metrics.json", "training_config.yaml"


@dataclass(frozen=True)
class Adapter:
    """One adapter: its folder, its base as recorded in adapter_config.json, and the metrics of its training.

    `metrics`, `config` and `record` are as the files have them: of any type.
    """

    folder: Path
    base: str
    base_revision: str | None
    lora_r: int
    metrics: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the name of its folder: what it is found by."""
        return self.folder.name

    @property
    def title(self) -> str:
        """Return the name as a person typed it: what is shown."""
        return as_title(text(self.record.get("title"))) or told_title(self.metrics) or self.name

    @property
    def base_choice(self) -> str:
        """Return what `models.base.choose_base` takes to get the same base as in the training."""
        is_embedded = self.base == embedded.HUB_ID and self.metrics.get("base_source") == "embedded"
        return "embedded" if is_embedded else self.base

    @property
    def created(self) -> float:
        """Return when it was trained, else when it came here, in seconds since 1970."""
        known = self.metric("created") or self.origin.time
        return known or self.folder.stat().st_mtime  # the folder changes with every note

    @property
    def damaged(self) -> list[str]:
        """Return those of metrics.json and studio.json that are there and cannot be read."""
        there = [name for name in (METRICS, RECORD) if (self.folder / name).exists()]
        return [name for name in there if not isinstance(read_json(self.folder / name), dict)]

    @property
    def loss_before(self) -> float | None:
        """Return the held-out loss before the training, None when it is not known."""
        return self.metric("loss_before")

    @property
    def loss_after(self) -> float | None:
        """Return the held-out loss after the training, None when it is not known."""
        return self.metric("loss_after")

    @property
    def seconds(self) -> float | None:
        """Return how long the training took, of its steps alone where no more was told; None when it is not known."""
        total = self.metric("total_seconds")
        return self.metric("train_seconds") if total is None else total

    def metric(self, name: str) -> float | None:
        """Return a number of the training's metrics, None when there is none."""
        return number(self.metrics.get(name))

    @property
    def size_bytes(self) -> int:
        """Return the size of all its files."""
        size = 0
        with suppress(OSError):  # deleted, or a note is replaced, at this moment
            for path in self.folder.iterdir():
                size += path.stat().st_size if path.is_file() else 0
        return size

    @property
    def notes(self) -> str:
        """Return the owner's note."""
        return text(self.record.get("notes"))

    @property
    def former_names(self) -> list[str]:
        """Return the names that it had before it was renamed."""
        names = self.record.get("former_names")
        return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []

    @property
    def origin(self) -> Origin:
        """Return where it is from."""
        return Origin.from_json(self.record.get("origin"))

    @property
    def private_sources(self) -> list[PrivateSource]:
        """Return the private repositories that it is from: pulled, trained further, made of several, or a copy of any."""
        found, origin = [], self.origin
        while origin:
            if origin.kind == "pulled" and not origin.is_public:
                found.append(PrivateSource(origin.repo_id, origin.by))
            found += origin.made_of
            origin = origin.init_origin
        named = text(self.metrics.get("private_source"))  # of a zip, or of what was pulled from a private copy
        return found + [PrivateSource(repo_id) for repo_id in named.split()]

    @property
    def pushed_to(self) -> list[str]:
        """Return the ids of the repositories that it was pushed to, the last one last."""
        pushed = self.record.get("pushed")
        return [text(one.get("repo_id")) for one in pushed if isinstance(one, dict)] if isinstance(pushed, list) else []

    def training_config(self) -> dict[str, Setting]:
        """Return the settings it was trained with; {} when they are not known."""
        return read_settings(self.folder / SETTINGS) or {}

    def told_settings(self) -> list[ToldSetting]:
        """Return the settings that may be published, as the training marked them in metrics.json."""
        config, told = self.training_config(), self.metrics.get("settings")
        names = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
        return [
            ToldSetting(name, text(one.get("label")), value, one.get("on_card") is True)
            for one in names
            if (name := text(one.get("name"))) and isinstance(value := config.get(name), int | float | str)
        ]

    def data_sets(self) -> list[DataShare]:
        """Return the data sets of the training as its settings name them; [] when they are not known."""
        return split_line(read_setting(self.folder / SETTINGS, "data"))

    def data(self) -> str:
        """Return the data of the training in words, never as a path."""
        rows = self.metric("rows")
        named = [_data_words(one) for one in self.data_sets()] or [_("not known")]
        counts = [n_("{count:,} row", "{count:,} rows", round(rows))] if rows else []
        if made := teachers_of(read_made_by(self.metrics.get("made"))):
            counts.append(_("{made:,} made by {teachers}", made=sum(made.values()), teachers=name_teachers(made)))
        return joined([*dict.fromkeys(named), *counts], ", ")


def _data_words(one: DataShare) -> str:
    is_file = one.place.startswith(("data/", "/", ".", "~")) or "\\" in one.place
    return _("the study coach example") if one.place == "example" else _("a file") if is_file else one.place


def told_title(metrics: Mapping[str, Any]) -> str:
    """Return the title in the metrics of a training, "" without one."""
    return as_title(text(metrics.get("title")))


def read_adapter(folder: Path) -> Adapter:
    """Return the adapter in `folder`. Raises UserError when it is not a complete one."""
    config = read_object(folder / CONFIG, MAX_ADAPTER_CONFIG_BYTES)
    if not config or not (folder / WEIGHTS).is_file():
        raise UserError(
            _("'{name}' is not an adapter.", name=folder.name),
            _("It must contain {config} and {weights}.", config=CONFIG, weights=WEIGHTS),
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


def sources_of_copy(adapter: Adapter) -> list[PrivateSource]:
    """Return the private sources of an adapter beside this one that has the very same weights."""
    mine = adapter.folder / WEIGHTS
    for weights in adapter.folder.parent.glob(f"*/{WEIGHTS}"):
        is_alike = weights.stat().st_size == mine.stat().st_size and weights.read_bytes() == mine.read_bytes()
        if is_alike and (sources := read_adapter(weights.parent).private_sources):
            return sources
    return []


def list_adapters(owner: str = LOCAL_OWNER) -> list[Adapter]:
    """Return the complete adapters of `owner`, the newest first."""
    return read_some(adapter_names(owner), owner)


def read_some(names: list[str], owner: str, most: int | None = None) -> list[Adapter]:
    """Return the adapters of these names, at most `most`; those that are missing or damaged are left out."""
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
    """Return the names of the adapters of `owner` that hold every word, the newest first.

    One whose whole name was typed comes before all. Damaged adapters are included.
    """
    root, wanted = str(adapters_folder(owner)), words.lower().split()
    try:
        with os.scandir(root) as entries:
            folders = [entry.name for entry in entries if not entry.name.endswith(UNFINISHED)]
    except OSError:
        return []
    found = []
    for name in folders:
        path = f"{root}/{name}"
        created = _created(path)
        if created is None:
            continue
        known = _known(Path(path)) if wanted else ""
        if not all(word in known for word in wanted):
            continue
        found.append((name == slug(words), created, name))
    return [name for *_, name in sorted(found, reverse=True)]


def _created(path: str) -> float | None:
    """Return `Adapter.created`, None for an incomplete adapter; reads fewer files than `read_adapter`."""
    if not (os.path.exists(f"{path}/{CONFIG}") and os.path.isfile(f"{path}/{WEIGHTS}")):
        return None
    if trained := number(read_object(Path(path, METRICS), MAX_METRICS_BYTES).get("created")):
        return trained
    origin = Origin.from_json(read_object(Path(path, RECORD), MAX_RECORD_BYTES).get("origin"))
    try:
        return origin.time or os.stat(path).st_mtime
    except OSError:  # deleted meanwhile
        return None


def _known(folder: Path) -> str:
    """Return the text for searches of the adapter in `folder`; "" for an incomplete one."""
    try:
        adapter = read_adapter(folder)
    except UserError:
        return ""
    origin = adapter.origin
    words = [adapter.title, adapter.name, adapter.base, adapter.data(), adapter.notes, *adapter.pushed_to]
    words += [origin.kind, origin.source, origin.repo_id, origin.revision, origin.by]
    return " ".join(words).lower()


def find_adapter(name: str, owner: str = LOCAL_OWNER) -> Adapter:
    """Return the adapter of `owner` with this name, or the one that had it before it was renamed, else the one of this title.

    Raises UserError.
    """
    if not name:
        raise UserError(_("No adapter is selected."), _("Select one in the list."))
    root = adapters_folder(owner)
    if is_name(name) and not name.endswith(UNFINISHED) and (folder := contained(root, name)).is_dir():
        return read_adapter(folder)
    adapters = list_adapters(owner)
    found = [one for one in adapters if name in one.former_names] or [one for one in adapters if name == one.title]
    if found:
        return found[0]
    known = ", ".join(adapter.title for adapter in adapters[:5])
    hint = _("There are: {names}.", names=known) if known else _("There are none yet.")
    raise UserError(_("There is no adapter '{name}'.", name=str(name)[:80]), hint)


def adapter_title(name: str, owner: str = LOCAL_OWNER) -> str:
    """Return the title of the adapter that `find_adapter` finds by this name; the name itself where it finds none."""
    try:
        return find_adapter(name, owner).title
    except UserError:
        return name


def update_record(folder: Path, **values) -> None:
    """Set values in the `studio.json` of the adapter in `folder`."""
    write_json(folder / RECORD, {**read_object(folder / RECORD, MAX_RECORD_BYTES), **values})
