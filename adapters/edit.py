"""Changes of adapters in the library: name, notes, chat template, delete and undo, within the owner's folder."""

import shutil

from adapters.library import MAX_NOTES_CHARACTERS, Adapter, find_adapter, list_adapters, read_adapter, update_record
from common.errors import UserError
from common.language import _
from common.paths import LOCAL_OWNER, adapters_folder, as_title, contained, free_name, runs_folder, slug, trash_folder
from common.trash import Deletion, empty_trash, find_in_trash, move_to_trash, take_back
from models.templates.choice import OWN, own_choice, own_text, template_choices

MAX_TRASH_SECONDS = 7 * 86400


def rename_adapter(name: str, new_name: str, owner: str = LOCAL_OWNER) -> Adapter:
    """Give an adapter another title, and its folder a name to match; `find_adapter` finds it by its former names, too.

    Raises UserError for a title that is empty, or that another adapter has.
    """
    adapter, title = find_adapter(name, owner), as_title(new_name or "")
    if not title:
        raise UserError(_("The name is empty."), _("Enter a name."))
    others = [one for one in list_adapters(owner) if one.folder != adapter.folder]
    if any(one.title.casefold() == title.casefold() for one in others):
        raise UserError(_("There is already an adapter named '{name}'.", name=title), _("Choose another name."))
    update_record(adapter.folder, title=title)
    wanted = slug(title)
    if wanted == slug(adapter.title) or wanted == adapter.name:
        return read_adapter(adapter.folder)
    # a name that nothing has, or a former one of the adapter's that only its own run still has
    run_file = contained(runs_folder(owner), wanted) / "config.yaml"
    is_own = wanted in adapter.former_names and run_file.exists() and run_file.stat().st_mtime <= adapter.created
    taken = [adapters_folder(owner)] if is_own else [adapters_folder(owner), runs_folder(owner)]
    target = adapters_folder(owner) / free_name(wanted, *taken)
    former = [one for one in adapter.former_names if one != target.name]
    update_record(adapter.folder, former_names=[*former, adapter.name])
    adapter.folder.rename(target)
    return read_adapter(target)


def set_notes(name: str, notes: str, owner: str = LOCAL_OWNER) -> Adapter:
    """Keep a note of at most 4,000 characters beside an adapter; it is never pushed."""
    adapter = find_adapter(name, owner)
    if len(notes or "") > MAX_NOTES_CHARACTERS:
        words = _("The note has {count:,} characters.", count=len(notes))
        raise UserError(words, _("At most {most:,} are allowed.", most=MAX_NOTES_CHARACTERS))
    update_record(adapter.folder, notes=notes or "")
    return read_adapter(adapter.folder)


def set_template(name: str, choice: str, owner: str = LOCAL_OWNER) -> Adapter:
    """Set the chat template of an adapter: one of `choices()`, or "" for none. Raises UserError."""
    adapter = find_adapter(name, owner)
    values = [value for _label, value in template_choices()]
    if choice and choice not in values:
        raise UserError(
            _("There is no chat template '{name}'.", name=str(choice)[:40]),
            _("Choose one of these: {names}.", names=", ".join(values)),
        )
    if choice == OWN:
        choice = own_choice(own_text(adapter.folder))
        if not choice:
            raise UserError(_("The adapter has no chat template that could be used."), _("Choose another one."))
    update_record(adapter.folder, template=choice)
    return read_adapter(adapter.folder)


def delete_adapter(name: str, owner: str = LOCAL_OWNER) -> Deletion:
    """Move an adapter to the trash, where it is kept for a week. `undo_delete` takes the entry of the result."""
    adapter = find_adapter(name, owner)
    empty_trash(trash_folder(owner), MAX_TRASH_SECONDS)
    return move_to_trash(trash_folder(owner), adapter.name, adapter=adapter.folder)


def undo_delete(wanted: str, owner: str = LOCAL_OWNER) -> Adapter:
    """Bring a deleted adapter back by its entry in the trash or its name, under a free name when it is taken.

    Raises UserError when it is not in the trash.
    """
    empty_trash(trash_folder(owner), MAX_TRASH_SECONDS)
    deletion = find_in_trash(trash_folder(owner), wanted)
    folder = adapters_folder(owner)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / free_name(deletion.name, folder)
    take_back(deletion, "adapter", target)
    shutil.rmtree(deletion.folder, ignore_errors=True)
    return read_adapter(target)
