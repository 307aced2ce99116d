"""Room on the disk for one more run: what is free, and what its owner keeps already (runs, adapters, rows from the chat).

What an owner deleted can be brought back for a day only while nothing else needs its place.
"""

import shutil

from common.errors import UserError
from common.files import folder_bytes
from common.limits import check_room_of_guests
from common.paths import adapters_folder, datasets_folder, home, runs_folder, trash_folder
from common.trash import list_trash
from runs.limits import limits

DISK_NEEDED_BYTES = 300_000_000


def check_disk(owner: str, new_bytes: int) -> None:
    """Raise UserError when a run that brings `new_bytes` of data has no room. Empties the owner's trash as far as needed."""
    home().mkdir(parents=True, exist_ok=True)
    allowed = limits()
    deletions = list_trash(runs_folder(owner) / ".trash") + list_trash(trash_folder(owner))
    for deletion in sorted(deletions, key=lambda one: one.time):
        fits = not allowed.kept_bytes or _kept_bytes(owner) + new_bytes <= allowed.kept_bytes
        if fits and _free_bytes() >= DISK_NEEDED_BYTES:
            break
        shutil.rmtree(deletion.folder, ignore_errors=True)
    if (free := _free_bytes()) < DISK_NEEDED_BYTES:
        raise UserError(
            f"Only {free / 1e6:.0f} MB of disk are free in {home()}; a run needs {DISK_NEEDED_BYTES / 1e6:.0f} MB.",
            "Free some, or set STUDIO_HOME to another disk.",
        )
    check_room_of_guests(owner, new_bytes)
    runs = len(list(runs_folder(owner).glob("[!.]*/config.yaml")))
    if allowed.kept_runs and runs >= allowed.kept_runs:
        raise UserError(f"You keep {runs} runs; {allowed.kept_runs} are the most here.", "Delete old ones.")
    kept = _kept_bytes(owner) if allowed.kept_bytes else 0
    if allowed.kept_bytes and kept + new_bytes > allowed.kept_bytes:
        raise UserError(
            f"You keep {kept / 1e6:,.0f} MB, and this run's data has {new_bytes / 1e6:,.0f} MB; "
            f"{allowed.kept_bytes / 1e6:,.0f} MB are the most here.",
            "Delete old runs and adapters.",
        )


def _free_bytes() -> int:
    return shutil.disk_usage(home()).free


def _kept_bytes(owner: str) -> int:
    """Return what all of the owner's files take on this disk, the trash too."""
    return sum(folder_bytes(folder(owner)) for folder in (runs_folder, adapters_folder, datasets_folder, trash_folder))
