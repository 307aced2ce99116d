"""From a file or a part of a Hub data set to a test set, read as a training reads it.

Its shapes are those of the training data, and multiple choice; what cannot be asked is counted and said.
"""

import heapq
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from common.errors import UserError
from common.files import folder_bytes, sweep
from common.language import _, joined, n_
from common.limits import check_room_of_guests
from common.made_by import describe_made
from common.mix import DataShare, data_sets
from common.paths import LOCAL_OWNER, as_title, free_name, slug, test_sets_folder
from data.choices import Choice, first_number, read_choice
from data.conversations import Row
from data.gathering import Gathered, gather
from data.markup import describe_markup
from data.notices import describe, name_bad
from data.reading import read_source
from data.settings import DataSettings
from data.test_sets import BUNDLED_FOLDER, MAX_BYTES, Item, TestSet, item_of, too_large, write_test_set

MAX_ROWS = 100_000  # of one test set; of more a sample is kept
MAX_TEST_SETS = 50  # of one owner
MAX_NAMED = 3  # of the rows that cannot be used


def make_test_set(settings: DataSettings, title: str, owner: str = LOCAL_OWNER) -> TestSet:
    """Read a file or a part of a Hub data set into a test set of `owner`: of `settings` what tells how `data` is read.

    Raises UserError where nothing in it can be asked, and when the owner has no room for it.
    """
    one, *others = data_sets(settings.data) or [DataShare("")]
    if others or one.share is not None:
        raise UserError(_("A test set is read from one file or dataset."), _("Make one of each."))
    root = test_sets_folder(owner)
    root.mkdir(parents=True, exist_ok=True)
    sweep(*root.glob(".new-*"))
    _check_room(root, owner, 0)
    with tempfile.TemporaryDirectory(dir=root, prefix=".new-") as folder:
        made = _read(settings, one, as_title(title), owner, Path(folder))
        with FileLock(root / ".lock"):
            _check_room(root, owner, folder_bytes(made.folder))
            final = root / free_name(slug(made.title), root, BUNDLED_FOLDER)
            made.folder.rename(final)
    return replace(made, id=final.name, folder=final)


def _read(settings: DataSettings, one: DataShare, title: str, owner: str, folder: Path) -> TestSet:
    """Read a data set into a test set inside of `folder`. Raises UserError."""
    revision = one.revision or settings.data_revision
    where = (settings.data_config, settings.data_split, revision)
    most = min(settings.max_rows or MAX_ROWS, MAX_ROWS)
    source = read_source(one.place, *where, most, settings.seed, settings.table(settings.sheet))
    mapping, chosen = settings.mapping(), list[tuple[int, Choice]]()
    characters = 0

    def others() -> Iterator[tuple[int, Row]]:
        """Yield the rows that are not multiple choice."""
        nonlocal characters
        for number, row in source.numbered:
            if not mapping and (choice := read_choice(row)):
                chosen.append((number, choice))
                characters += choice.characters
                if characters > MAX_BYTES:
                    raise too_large()
            else:
                yield number, row

    found = gather(replace(source, numbered=others()), folder, mapping, settings.system_turns, settings.markup)
    first = first_number(choice for _number, choice in chosen)
    is_text = found.kinds == {"text"} and not chosen

    def items() -> Iterator[Item | None]:
        """Yield all rows in their order; None for those that are nothing to ask, and for text among conversations."""
        asked = ((conversation["row"], item_of(conversation)) for conversation in found.conversations.part())
        picked = ((number, _choice_item(choice, first)) for number, choice in chosen)
        for _number, item in heapq.merge(asked, picked, key=lambda pair: pair[0]):
            yield item if item and ("text" in item) == is_text else None

    left_out = sum(item is None for item in items())
    notes = _notes(found, len(chosen), left_out, settings.markup)
    if left_out == len(found.conversations) + len(chosen):
        raise UserError(_("There is no question with an answer, and no text."), joined(notes))
    kept = (item for item in items() if item)
    return write_test_set(folder / "set", kept, title or source.name, source.name, owner, source.revision, notes)


def _notes(found: Gathered, chosen: int, left_out: int, markup: str) -> list[str]:
    """Return sentences on the rows that were read, of which `chosen` more are multiple choice, and on what was left out."""
    notes = found.notes + [told[2] for table in found.tables for told in table.described()]
    if found.bad:
        words = n_(
            "{bad:,} of {count:,} row cannot be used.",
            "{bad:,} of {count:,} rows cannot be used.",
            found.rows + chosen,
            bad=found.bad.count,
        )
        notes.append(joined([words, name_bad(found.bad.first[:MAX_NAMED])]))
    if made := describe_made(found.conversations.part().made(), len(found.conversations)):
        notes.append(made)
    if left_out:
        notes.append(
            n_(
                "{count:,} row is not a question with an answer and is left out.",
                "{count:,} rows are not questions with an answer and are left out.",
                left_out,
            )
        )
    return notes + [told[2] for told in describe(found.noticed)] + describe_markup(found.markup, markup)


def _choice_item(choice: Choice, first: int | None) -> Item | None:
    answer = choice.answer(first)
    return None if answer is None else {"messages": choice.messages, "answer": answer, "choices": choice.choices}


def _check_room(root: Path, owner: str, more_bytes: int) -> None:
    """Raise UserError when `owner` has no room for one more test set of so many bytes."""
    folders = list(root.glob("[!.]*"))
    if len(folders) >= MAX_TEST_SETS:
        words = n_("You have {count} test set, the limit.", "You have {count} test sets, the limit.", MAX_TEST_SETS)
        raise UserError(words, _("Delete one of them."))
    if sum(map(folder_bytes, folders)) + more_bytes > MAX_BYTES:
        raise too_large()
    check_room_of_guests(owner, more_bytes)
