"""The files of a run that go to the Hub with a checkpoint, and what is checked when they come back.

    config.yaml, events.jsonl, about.json   settings, the curves so far, and its labels
    data/, init_adapter/                    what it trains on, and continues from
    checkpoints/[text/]checkpoint-N/...     the newest checkpoint: safetensors, and the optimiser's state; and the best one
                                            where the run keeps its best step

Only these names travel, either way. The optimiser, the scheduler and the random state are torch files, which are pickles
inside: transformers reads them with `weights_only=True`, and here they are looked through before, without being loaded.
"""

import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

from adapters.library import RECORD
from adapters.trust.check import (
    CONFIG,
    FILES,
    MAX_BYTES,
    MAX_FILE_BYTES,
    WEIGHTS,
    check_adapter,
    known_base_shape,
    require_object,
)
from adapters.trust.config import check_config
from adapters.trust.scan import places
from adapters.trust.weights import check_weights
from adapters.values import read_settings
from common.errors import UserError
from common.files import read_json, write_json
from common.language import _, n_
from common.mix import data_sets
from models import embedded
from models.plain_yaml import MAX_SETTINGS_BYTES
from runs.checkpoints import COMPLETE, step_of
from runs.config import OUTSIDE, ROWS, TrainConfig, marked
from runs.evaluations import STATE, best_beside
from runs.labels import MAX_ABOUT_BYTES

NEEDED = (CONFIG, WEIGHTS, "optimizer.pt", "scheduler.pt", STATE, COMPLETE)
MAX_DATA_BYTES = 2_000_000_000
MAX_EVENTS = 200_000
MAX_EVENTS_BYTES = 10_000_000  # a million steps take 3 MB; all of it is read with every list of runs
_CHECKPOINT = r"checkpoints/(?:text/)?checkpoint-\d{1,9}"
_LIMITS = (  # a pattern of names, and the most bytes of such a file
    (re.compile(r"config\.yaml"), MAX_SETTINGS_BYTES),
    (re.compile(r"events\.jsonl"), MAX_EVENTS_BYTES),
    (re.compile(r"about\.json"), MAX_ABOUT_BYTES),
    (re.compile(rf"data/(?:{'|'.join(marked(ROWS))})(?:-\d{{1,2}})?(?:\.[a-z0-9]{{1,10}}){{0,2}}"), MAX_DATA_BYTES),
    (re.compile(r"data/test-[a-z0-9][a-z0-9._-]{0,79}\.jsonl"), MAX_FILE_BYTES),
    (re.compile(rf"(?:init_adapter|{_CHECKPOINT})/{re.escape(WEIGHTS)}"), MAX_BYTES[WEIGHTS]),
    (re.compile(rf"init_adapter/(?:{'|'.join(map(re.escape, (*FILES, RECORD)))})"), MAX_FILE_BYTES),
    (re.compile(rf"{_CHECKPOINT}/(?:adapter_config\.json|trainer_state\.json|{COMPLETE})"), MAX_FILE_BYTES),
    (re.compile(rf"{_CHECKPOINT}/optimizer\.pt"), 2 * MAX_BYTES[WEIGHTS]),
    (re.compile(rf"{_CHECKPOINT}/(?:scheduler\.pt|scaler\.pt|rng_state(?:_\d{{1,4}})?\.pth)"), MAX_FILE_BYTES),
)
CONTINUES = _("The training itself continues.")
NOT_RESTORED = _("Nothing was brought back.")
NOT_WHOLE = _("The repository is incomplete.")
_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(?:/[A-Za-z0-9][\w.-]{0,95})?")
# what numpy and Python's random need for the random state; all else that torch does not know is refused
_RANDOM_STATE = {"numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct", "numpy.ndarray"}
_RANDOM_STATE |= {"numpy.dtype", "numpy.dtypes.UInt32DType"}


def max_bytes(name: str) -> int:
    """Return the most bytes that a file of this name may have; 0 for a name that does not travel."""
    return next((most for pattern, most in _LIMITS if pattern.fullmatch(name)), 0)


def stage(run_folder: Path, checkpoint: Path, folder: Path) -> list[str]:
    """Fill the empty `folder` with what is sent: links to the large files, so that no clean-up takes them away meanwhile.

    Returns the names. Raises UserError when the checkpoint cannot be taken up elsewhere, or is gone already.
    """
    inside = checkpoint.relative_to(run_folder).as_posix()
    try:
        kept = [run_folder / "config.yaml", run_folder / "events.jsonl", run_folder / "about.json"]
        kept += [*(run_folder / "data").glob("*"), *(run_folder / "init_adapter").glob("*")]
        kept = [path for path in kept if path.is_file() and not path.is_symlink()]
        best = best_beside(checkpoint) if _settings(run_folder / "config.yaml").get("keep") == "best" else None
        kept += [*checkpoint.iterdir(), *(best.iterdir() if best else ())]
        names = [path.relative_to(run_folder).as_posix() for path in kept]
        names = sorted(name for name in names if max_bytes(name))
        missing = [name for name in NEEDED if f"{inside}/{name}" not in names]
        if "optimizer.pt" in missing and any(path.is_dir() for path in checkpoint.iterdir()):
            raise UserError(_("Checkpoints of DeepSpeed and FSDP cannot be sent."), CONTINUES)
        if missing:
            raise UserError(_("The checkpoint cannot be sent: it has no {file}.", file=missing[0]), CONTINUES)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            _put(run_folder / name, folder / name)
    except OSError as error:
        raise UserError(_("The checkpoint was replaced by a newer one."), _("The newer one is sent.")) from error
    _leave_out_places(folder)
    return names


def _put(source: Path, target: Path) -> None:
    """Link a file that never changes, copy one that grows or is changed here."""
    if source.suffix in (".json", ".jsonl", ".yaml") and source.parent.name != "data":
        shutil.copyfile(source, target)
        return
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)


def _leave_out_places(folder: Path) -> None:
    """Take the paths of this machine out of the copies, and name the base by its id. Raises UserError for a base without."""
    settings = _settings(folder / "config.yaml")
    base = embedded.HUB_ID if settings.get("base") == "embedded" else str(settings.get("base"))
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", base):
        raise UserError(
            _("The base model is a folder on this machine."), _("Its checkpoints would be of no use elsewhere.")
        )
    for file in folder.glob(f"checkpoints/**/{CONFIG}"):
        write_json(file, {**require_object(file), "base_model_name_or_path": base})
    record = folder / "init_adapter" / RECORD
    if record.exists():
        known = read_json(record)
        write_json(record, {"origin": known.get("origin") if isinstance(known, dict) else None})
    events = folder / "events.jsonl"
    if events.exists():
        content = events.read_bytes()
        content = content[: content.rfind(b"\n") + 1]
        for place in places():
            content = content.replace(place, b"<path>")
        events.write_bytes(content)


def check_restored(folder: Path) -> Path:
    """Raise UserError unless `folder` holds a run that may be resumed. Returns its newest checkpoint's folder."""
    found = sorted((mark.parent for mark in folder.glob(f"checkpoints/**/{COMPLETE}")), key=step_of)
    if not found or set(found) - {found[-1], best_beside(found[-1])}:
        words = n_("The repository holds {count} checkpoint.", "The repository holds {count} checkpoints.", len(found))
        raise UserError(words, _("It must hold the newest one, and at most the best one with it."))
    check_settings(folder)
    events = folder / "events.jsonl"
    if events.exists() and events.read_bytes().count(b"\n") > MAX_EVENTS:
        raise UserError(_("events.jsonl has more than {limit:,} lines.", limit=MAX_EVENTS), NOT_RESTORED)
    for checkpoint in found:
        _check_checkpoint(checkpoint)
    if (folder / "init_adapter").exists():
        check_adapter(folder / "init_adapter")
    return found[-1]


def _check_checkpoint(checkpoint: Path) -> None:
    """Raise UserError unless a training may go on from `checkpoint`."""
    missing = [name for name in NEEDED if not (checkpoint / name).is_file()]
    if missing:
        raise UserError(_("The checkpoint has no {file}.", file=missing[0]), NOT_WHOLE)
    config = check_config(require_object(checkpoint / CONFIG, MAX_BYTES[CONFIG]))
    check_weights(checkpoint / WEIGHTS, config, known_base_shape(config["base_model_name_or_path"]))
    state = require_object(checkpoint / STATE)
    if state.get("global_step") != step_of(checkpoint):
        raise UserError(
            _("trainer_state.json is from another step than its checkpoint."), _("The files do not belong together.")
        )
    for path in checkpoint.iterdir():
        if path.suffix in (".pt", ".pth"):
            _check_torch_file(path)


def _settings(path: Path) -> dict[str, Any]:
    """Read the settings in a config.yaml. Raises UserError."""
    values = read_settings(path)
    if values is None:
        raise UserError(_("config.yaml is missing, damaged, or holds no settings."), NOT_WHOLE)
    return values


def _check_place(folder: Path, name: str, place: object) -> None:
    """Raise UserError unless `place` is a file of the run in `folder`, or the id of a Hub data set."""
    words = str(place)[:80]
    is_copy = isinstance(place, str) and bool(max_bytes(place)) and place.startswith("data/")
    if is_copy and not (folder / place).is_file():
        raise UserError(_("The data of the run, {file}, is not in the repository.", file=words), NOT_WHOLE)
    if not is_copy and not (isinstance(place, str) and _ID.fullmatch(place) and ".." not in place):
        words = _("{setting} in config.yaml is '{value}'.", setting=name, value=words)
        raise UserError(words, _("Only data of the run itself can be used."))


def check_settings(folder: Path) -> None:
    """Raise UserError when the settings name a file outside of the run: on a server it would be somebody else's."""
    values = _settings(folder / "config.yaml")
    for name in marked(ROWS):
        value = values.get(name)
        may_be_mix = name == "data" and isinstance(value, str)
        for place in [one.place for one in data_sets(value)] if may_be_mix else [value]:
            if place and not (place == "example" and name == "data"):
                _check_place(folder, name, place)
    base = values.get("base")
    if not isinstance(base, str) or not (
        base == "embedded" or ("/" in base and _ID.fullmatch(base) and ".." not in base)
    ):
        words = _("{setting} in config.yaml is '{value}'.", setting="base", value=str(base)[:80])
        raise UserError(words, _("It must be a Hugging Face ID, or embedded."))
    if values.get("init_adapter") and not (folder / "init_adapter" / WEIGHTS).is_file():
        raise UserError(_("The adapter that the run started from is not in the repository."), NOT_WHOLE)
    config = TrainConfig.from_dict(values)  # a rendezvous elsewhere may send pickles, a file is not the run's
    if named := [name for name in config.changed(OUTSIDE) if getattr(config, name) != "static"]:
        words = _("config.yaml changes {settings}.", settings=", ".join(named))
        raise UserError(words, _("A run that was brought back trains on this machine only."))


def _check_torch_file(path: Path) -> None:
    """Raise UserError for a torch file that asks for more than tensors, numbers and the random state. Loads nothing."""
    import torch  # noqa: F401  first: a part of it that is asked for while another thread imports torch makes both fail
    from torch.serialization import get_unsafe_globals_in_checkpoint

    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
        if any(one.compress_type != zipfile.ZIP_STORED for one in parts):
            raise ValueError("compressed parts")
        if sum(one.file_size for one in parts) > path.stat().st_size:
            raise ValueError("parts that are larger than the file")
        asked = set(get_unsafe_globals_in_checkpoint(path))
    except (zipfile.BadZipFile, RuntimeError, ValueError, KeyError, OSError) as error:
        raise UserError(_("{file} of the checkpoint is damaged.", file=path.name), NOT_RESTORED) from error
    asked -= _RANDOM_STATE if path.name.startswith("rng_state") else set()
    if asked:
        words = _("{file} of the checkpoint could run code ({name}).", file=path.name, name=sorted(asked)[0][:60])
        raise UserError(words, NOT_RESTORED)
