"""Which folder of a zip, of a folder on this machine, or of a repository holds the adapter, where checkpoints lie beside it."""

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from adapters.library import CONFIG, WEIGHTS
from common.errors import UserError
from common.language import _, joined

MAX_SHOWN, MAX_NAME_SHOWN = 10, 200


class SeveralAdapters(UserError):
    """Raised when somebody has to choose; `choices` are the folders in `where`, as `choose_folder` takes them."""

    def __init__(self, where: str, choices: list[str]) -> None:
        shown = [choice[-MAX_NAME_SHOWN:] or _("the top folder") for choice in choices[:MAX_SHOWN]]
        shown += [_("and others")] if len(choices) > MAX_SHOWN else []
        super().__init__(
            _("{where} holds {count} adapters: {names}.", where=where, count=len(choices), names=joined(shown, ", ")),
            _("Choose one by its name: 'Which of its folders' on the page, --subfolder on the command line."),
        )
        self.where, self.choices = where, choices


def choose_folder(files: Collection[str], wanted: str, where: str) -> str:
    """Return the folder of the adapter among `files`, paths with '/'; "" is the top.

    With `wanted` it is the folder of that name. Else it is the one that all other adapters lie in, as the checkpoints of a
    training do. `where` begins the sentences. Raises UserError for none, SeveralAdapters where it takes a choice.
    """
    folders = _folders_of(files, CONFIG)
    folders = folders & _folders_of(files, WEIGHTS) or folders
    choices = sorted(folders, key=_by_number)
    if wanted:
        named = [folder for folder in choices if folder == wanted]
        named = named or [folder for folder in choices if folder.endswith(f"/{wanted}")]
        if len(named) == 1:
            return named[0]
        shown = ", ".join(choice[-MAX_NAME_SHOWN:] for choice in choices[:MAX_SHOWN])
        known = _("There are: {names}.", names=shown) if any(choices) else _("It must contain {config}.", config=CONFIG)
        values = {"where": where, "folder": wanted[:80]}
        if named:
            raise UserError(_("{where} holds several adapters in folders named '{folder}'.", **values), known)
        raise UserError(_("{where} holds no adapter in '{folder}'.", **values), known)
    if not choices:
        hint = _("It must contain one, with {config} and {weights}.", config=CONFIG, weights=WEIGHTS)
        raise UserError(_("{where} holds no adapter.", where=where), hint)
    shortest = min(choices, key=len)
    if not all(folder == shortest or not shortest or folder.startswith(f"{shortest}/") for folder in choices):
        raise SeveralAdapters(where, choices)
    return shortest


def initial_folder(files: Collection[str], chosen: str) -> str | None:
    """Return the folder of the weights with which the training of the adapter in `chosen` began, None without one.

    It is named after them (`pissa_init`), and lies in the adapter's folder or beside it.
    """
    around = {chosen, parent_of(chosen)}
    found = [folder for folder in _folders_of(files, WEIGHTS) if "init" in PurePosixPath(folder).name.lower()]
    return min((folder for folder in found if parent_of(folder) in around and folder != chosen), default=None)


def parent_of(path: str) -> str:
    """Return the folder that a path lies in, "" for the top."""
    return path.rpartition("/")[0]


def _by_number(folder: str) -> str:
    """Return what sorts checkpoint-9 before checkpoint-10."""
    return re.sub(r"[0-9]+", lambda found: found[0].zfill(20), folder)


def _folders_of(files: Collection[str], name: str) -> set[str]:
    """Return the folders with a file of this name, without those of a Mac (`__MACOSX`) and hidden ones."""
    folders = {parent_of(file) for file in files if file.rpartition("/")[2] == name}
    return {folder for folder in folders if not re.search(r"(?:^|/)(?:__MACOSX|\.)", folder)}
