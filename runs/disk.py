"""Room on the disk for one more run: what is free, and what its owner keeps already: runs, adapters, data, test sets.

What an owner deleted can be brought back for a day only while nothing else needs its place.
"""

import shutil

from common.errors import UserError
from common.files import folder_bytes
from common.language import _, n_
from common.limits import check_room_of_guests
from common.paths import (
    adapters_folder,
    datasets_folder,
    evaluations_folder,
    experiments_folder,
    home,
    making_folder,
    runs_folder,
    test_sets_folder,
    trash_folder,
)
from common.trash import list_trash
from models.family import ModelShape
from runs.config import TrainConfig
from runs.forecast.memory import OPTIMISER_BYTES, TRAINED_BYTES, trained_parameters
from runs.limits import limits

DISK_NEEDED_BYTES = 300_000_000
DELETE_OLD = _("Delete old runs and adapters.")


def check_disk(owner: str, new_bytes: int) -> None:
    """Raise UserError when a run that brings `new_bytes` of data has no room, as `check_room_on_disk`, or is one too many."""
    check_room_on_disk(owner, new_bytes)
    most, runs = limits().kept_runs, len(list(runs_folder(owner).glob("[!.]*/config.yaml")))
    if most and runs >= most:
        words = n_(
            "You have {count} run; at most {limit} are allowed here.",
            "You have {count} runs; at most {limit} are allowed here.",
            runs,
            limit=most,
        )
        raise UserError(words, DELETE_OLD)


def weights_bytes(config: TrainConfig, shape: ModelShape | None) -> int:
    """Return the bytes that a run writes whose weights are the base's own: its model, and checkpoints with AdamW's two moments.

    0 for an adapter, which is small, and for a base that is not known yet.
    """
    if config.makes_adapter or shape is None:
        return 0
    model = TRAINED_BYTES * shape.parameters
    checkpoint = model + OPTIMISER_BYTES * trained_parameters(config, shape)
    # a new one is whole before the last one goes
    checkpoints = 2 + (config.keep == "best") + bool(config.text_data)
    return model + checkpoints * checkpoint


def check_room_on_disk(owner: str, new_bytes: int = 0) -> None:
    """Raise UserError when `owner` has no room for `new_bytes` more. Empties their trash as far as needed."""
    home().mkdir(parents=True, exist_ok=True)
    allowed, needed = limits(), DISK_NEEDED_BYTES + new_bytes
    deletions = list_trash(runs_folder(owner) / ".trash") + list_trash(trash_folder(owner))
    for deletion in sorted(deletions, key=lambda one: one.time):
        fits = not allowed.kept_bytes or _kept_bytes(owner) + new_bytes <= allowed.kept_bytes
        if fits and _free_bytes() >= needed:
            break
        shutil.rmtree(deletion.folder, ignore_errors=True)
    if (free := _free_bytes()) < needed:
        raise UserError(
            _(
                "Only {free:.0f} MB of disk space are free in {folder}; {needed:.0f} MB are needed.",
                free=free / 1e6,
                folder=str(home()),
                needed=needed / 1e6,
            ),
            _("Free some space, or set STUDIO_HOME to another disk."),
        )
    check_room_of_guests(owner, new_bytes)
    kept = _kept_bytes(owner) if allowed.kept_bytes else 0
    if allowed.kept_bytes and kept + new_bytes > allowed.kept_bytes:
        raise UserError(
            _(
                "You use {used:,.0f} MB, and this takes {new:,.0f} MB more; at most {limit:,.0f} MB are allowed here.",
                used=kept / 1e6,
                new=new_bytes / 1e6,
                limit=allowed.kept_bytes / 1e6,
            ),
            DELETE_OLD,
        )


def _free_bytes() -> int:
    return shutil.disk_usage(home()).free


def _kept_bytes(owner: str) -> int:
    """Return what all of the owner's files take on this disk, the trash too."""
    data = (datasets_folder, test_sets_folder, making_folder)
    made = (runs_folder, adapters_folder, evaluations_folder, experiments_folder, trash_folder)
    return sum(folder_bytes(folder(owner)) for folder in (*data, *made))
