"""Imports of adapters: staged, checked, then published by rename under a free name of the owner.

`import_adapter` takes a folder or a zip; what is pulled from the Hub goes through `accept`, too. The owner of a Space limits what
each owner may keep (0 is no limit, which is also the default elsewhere):

    STUDIO_MAX_ADAPTERS_PER_USER        adapters                50 on a Space
    STUDIO_MAX_ADAPTER_BYTES_PER_USER   bytes of them together  4000000000 on a Space
"""

import shutil
import time
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapters.library import (
    CONFIG,
    MAX_METRICS_BYTES,
    METRICS,
    Adapter,
    list_adapters,
    read_adapter,
    told_title,
    update_record,
)
from adapters.named_base import BASE, REVISION, look_at_base
from adapters.origin import Origin
from adapters.trust.archive import check_complete, copy_folder, unpack
from adapters.trust.check import MAX_BYTES, check_adapter, require_object, template_note
from adapters.trust.plain import INITIAL, make_plain, plain_config
from adapters.trust.tokens import judge_tokens
from common.errors import UserError
from common.files import folder_bytes, publish, read_object, sweep, undo_half_published, write_json
from common.language import Sentence, _, n_
from common.limits import check_room_of_guests, limit
from common.paths import (
    LOCAL_OWNER,
    adapters_folder,
    as_title,
    contained,
    free_name,
    home,
    runs_folder,
    slug,
    trash_folder,
)
from common.trash import list_trash
from common.visitors import is_visitor

MAX_SHOWN = 5
DELETE_ONE = _("Delete one first.")


@dataclass(frozen=True)
class Imported:
    """The result of an import: the adapter, and notes on what was left out or could not be compared."""

    adapter: Adapter
    notes: list[Sentence]


def import_adapter(
    source: Path, name: str = "", owner: str = LOCAL_OWNER, base: str = "", subfolder: str = ""
) -> Imported:
    """Take the adapter in a folder or a zip into the library of `owner`: of several the topmost, or the one in `subfolder`.

    `base` says which base it belongs to (`named_base.py`). Raises UserError, leaving nothing; SeveralAdapters where somebody
    has to choose.
    """
    hint = _("Choose a folder or a zip with an adapter.")
    if not source.exists():
        raise UserError(_("There is no '{file}'.", file=source.name), hint)
    if source.is_file() and not zipfile.is_zipfile(source):
        raise UserError(_("'{file}' is not a zip.", file=source.name), hint)
    check_room(owner, 0)
    default = source.stem if source.is_file() else source.name
    with staged(name or default, owner) as (partial, final):
        take = unpack if source.is_file() else copy_folder
        left_out = take(source, partial, subfolder.strip().strip("/"))
        check_complete(partial, left_out)
        notes = [left_out_note(left_out)] if left_out else []
        check_room(owner, folder_bytes(partial))
        notes += accept(partial, Origin("imported", source.name, time=time.time()), (name, default), base)
        publish(partial, final)
    return Imported(read_adapter(final), notes)


def left_out_note(names: list[str]) -> Sentence:
    """Return the note on files that do not belong to an adapter."""
    shown = ", ".join(name[:80] for name in names[:MAX_SHOWN])
    return n_(
        "{count} other file was left out: {names}.",
        "{count} other files were left out: {names}.",
        len(names),
        names=shown,
    )


@contextmanager
def staged(wanted: str, owner: str) -> Generator[tuple[Path, Path]]:
    """Yield (an empty folder to fill, the free name that it may be renamed to); remove the folder unless it was renamed."""
    root = adapters_folder(owner)
    root.mkdir(parents=True, exist_ok=True)
    sweep(*root.glob("*.partial"), *home().glob("tmp*"))
    undo_half_published(root)
    while True:
        final = contained(root, free_name(slug(wanted), root, runs_folder(owner)))
        partial = final.with_name(f"{final.name}.partial")  # which keeps the name free
        try:
            partial.mkdir()
            break
        except FileExistsError:  # somebody took the same name in this moment
            continue
    try:
        yield partial, final
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def accept(partial: Path, origin: Origin, names: tuple[str, str], base: str = "") -> list[Sentence]:
    """Check the adapter in `partial` and write title, origin and the base that a person named to its files. Returns notes.

    `names` are the one that was typed, "" for none, and the one where its files tell no title either. Raises UserError.
    """
    said = require_object(partial / CONFIG, MAX_BYTES[CONFIG])
    # a folder is a base on one's own machine only: a visitor's file must not name folders of a server
    is_own = origin.kind != "pulled" and not is_visitor()
    found = look_at_base(plain_config(said, (partial / INITIAL).is_dir()), base, may_be_folder=is_own)
    if found.problem:
        raise found.problem
    named = found.config[BASE]
    if base:
        write_json(partial / CONFIG, {**said, BASE: named, REVISION: found.config.get(REVISION)})
        update_record(partial, base_in_files={"base": said.get(BASE), "revision": said.get(REVISION)})
    notes = make_plain(partial, found.shape)
    shutil.rmtree(partial / INITIAL, ignore_errors=True)
    check_adapter(partial, found.shape)
    tokens, dropped = judge_tokens(partial, found.config, found.shape)
    more = {"tokens": [token.to_json() for token in tokens]} if tokens else {}
    typed, default = names
    title = as_title(typed) or told_title(read_object(partial / METRICS, MAX_METRICS_BYTES)) or as_title(default)
    # "-2" where another has the name
    number = partial.name.removesuffix(".partial").removeprefix(slug(typed or default))
    update_record(partial, title=f"{title}{number}", origin=origin.to_json(), **more)
    notes += dropped
    if not found.shape:
        notes.append(_("{base} is not on this machine, so the shapes were compared with each other only.", base=named))
    return notes + template_note(partial, named)


def check_room(owner: str, more_bytes: int) -> None:
    """Raise UserError when another adapter of `more_bytes` bytes exceeds what an owner may keep on this machine.

    What they deleted stays only while there is room for it beside what they keep.
    """
    check_room_of_guests(owner, more_bytes)
    most, most_bytes = limit("STUDIO_MAX_ADAPTERS_PER_USER", 50), limit("STUDIO_MAX_ADAPTER_BYTES_PER_USER", 4 * 10**9)
    kept = list_adapters(owner) if most or most_bytes else []
    if most and len(kept) >= most:
        words = _("You have {count} adapters; at most {most} are allowed here.", count=len(kept), most=most)
        raise UserError(words, DELETE_ONE)
    size = sum(adapter.size_bytes for adapter in kept) + more_bytes
    deletions = list_trash(trash_folder(owner)) if most_bytes else []  # the last deleted first
    deleted = [folder_bytes(one.folder) for one in deletions]
    while deletions and size + sum(deleted) > most_bytes:
        shutil.rmtree(deletions.pop().folder, ignore_errors=True)
        deleted.pop()
    if most_bytes and size > most_bytes:
        raise UserError(
            _(
                "Your adapters would take {size:.2f} GB; at most {most:.2f} GB are allowed here.",
                size=size / 1e9,
                most=most_bytes / 1e9,
            ),
            DELETE_ONE,
        )
