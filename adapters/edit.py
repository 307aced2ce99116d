"""Changes to the library: rename, notes, chat template, delete and its undo. Names are checked against the owner's folder."""

import shutil
import time
from pathlib import Path

from adapters.library import MOST_NOTES, Adapter, find_adapter, read_adapter, update_record
from common.errors import UserError
from common.paths import LOCAL_OWNER, adapters_folder, contained, free_name, home, runs_folder, slug
from models.templates.choice import OWN, choices, own_choice, own_text

KEPT_SECONDS = 7 * 86400


def rename_adapter(name: str, new_name: str, owner: str = LOCAL_OWNER) -> Adapter:
    """Give an adapter another name; its runs and chats find it by the old one too. Raises UserError when it is taken."""
    adapter = find_adapter(name, owner)
    if not new_name or not new_name.strip():
        raise UserError("There is no new name.", "Write one.")
    wanted = slug(new_name)
    if wanted == adapter.name:
        return adapter
    target = contained(adapters_folder(owner), wanted)
    if not _is_free(adapter, wanted, owner):
        raise UserError(f"There is an adapter or a run '{wanted}' already.", "Choose another name.")
    former = [one for one in adapter.record.get("former_names") or [] if one != wanted]
    update_record(adapter.folder, former_names=[*former, adapter.name])
    adapter.folder.rename(target)
    return read_adapter(target)


def _is_free(adapter: Adapter, name: str, owner: str) -> bool:
    """True for a name that nothing has, and for a former one of the adapter's that only its own run still has."""
    runs = runs_folder(owner)
    own_run = contained(runs, name) / "config.yaml"
    is_former = name in (adapter.record.get("former_names") or [])
    is_own = is_former and own_run.exists() and own_run.stat().st_mtime <= adapter.created
    return free_name(name, adapters_folder(owner), *([] if is_own else [runs])) == name


def set_notes(name: str, notes: str, owner: str = LOCAL_OWNER) -> Adapter:
    """Keep a note of at most 4,000 characters beside an adapter; it is never pushed."""
    adapter = find_adapter(name, owner)
    if len(notes or "") > MOST_NOTES:
        raise UserError(f"The note has {len(notes):,} characters.", f"{MOST_NOTES:,} are the most.")
    update_record(adapter.folder, notes=notes or "")
    return read_adapter(adapter.folder)


def set_template(name: str, choice: str, owner: str = LOCAL_OWNER) -> Adapter:
    """Choose the chat template that an adapter is read in: one of `choices()`, or "" for none. Raises UserError."""
    adapter = find_adapter(name, owner)
    values = [value for _, value in choices()]
    if choice and choice not in values:
        raise UserError(f"'{str(choice)[:40]}' is no chat template to choose.", f"Choose one of {', '.join(values)}.")
    if choice == OWN:
        choice = own_choice(own_text(adapter.folder))
        if not choice:
            raise UserError("The adapter brings no chat template that could be used.", "Choose another one.")
    update_record(adapter.folder, template=choice)
    return read_adapter(adapter.folder)


def delete_adapter(name: str, owner: str = LOCAL_OWNER) -> str:
    """Take an adapter out of the library. Returns what `undo_delete` takes; it is kept for a week."""
    adapter = find_adapter(name, owner)
    trash = _trash(owner)
    trash.mkdir(parents=True, exist_ok=True)
    _empty(trash)
    kept = free_name(adapter.name, trash)
    adapter.folder.rename(trash / kept)
    (trash / kept).touch()  # its week begins now
    return kept


def undo_delete(kept: str, owner: str = LOCAL_OWNER) -> Adapter:
    """Bring a deleted adapter back, under a free name when its own was taken since. Raises UserError when it is gone."""
    folder = contained(_trash(owner), kept)
    if not folder.is_dir():
        raise UserError(f"'{kept}' cannot be brought back.", "Deleted adapters are kept for a week.")
    target = adapters_folder(owner) / free_name(kept, adapters_folder(owner))
    target.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(target)
    return read_adapter(target)


def _trash(owner: str) -> Path:
    return contained(home() / "trash", owner)


def _empty(trash: Path) -> None:
    """Remove for good what was deleted more than a week ago."""
    for folder in trash.iterdir():
        if time.time() - folder.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
