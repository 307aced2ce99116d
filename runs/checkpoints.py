"""Checkpoints that survive a kill at any moment: written aside, synced, published by rename; then the older ones go.

The best one stays where the run keeps its best step (see evaluations.py).

checkpoints/checkpoint-12/complete   a whole checkpoint: the mark is the last file written and the first removed
            writing/                 the one being written; whatever a kill left in it is thrown away
            text/                    the same for the first of two stages
"""

import os
import shutil
from pathlib import Path

from common.files import write_text
from common.language import Sentence, _

COMPLETE = "complete"  # the file that marks a checkpoint as wholly written
KEPT = 2  # the newest, and one before it; of whole models, which are large, the newest alone
MAX_KEPT = KEPT + 2  # the best one, and a new one before the older ones go


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint in `folder` that was wholly written, or None."""
    found = _complete(folder)
    return found[-1] if found else None


def kept_words(*folders: Path) -> Sentence:
    """Say from where a run continues: the newest checkpoint in the first of `folders` that has one; a folder for each stage."""
    for folder in folders:
        if found := last_checkpoint(folder):
            return _("The checkpoint of step {step:,} is kept.", step=step_of(found))
    return _("There is no checkpoint yet: it starts over.")


def step_of(checkpoint: Path) -> int:
    """Return the step in a checkpoint's name."""
    return int(checkpoint.name.split("-")[1])


def _complete(folder: Path) -> list[Path]:
    """Return all whole checkpoints, the oldest first."""
    return sorted((mark.parent for mark in folder.glob(f"checkpoint-*/{COMPLETE}")), key=step_of)


def whole_steps(folder: Path) -> list[int]:
    """Return the steps of all whole checkpoints in `folder`."""
    return [step_of(checkpoint) for checkpoint in _complete(folder)]


def discard_after(folder: Path, step: int) -> None:
    """Remove the checkpoints of later steps than `step`."""
    for checkpoint in _complete(folder):
        if step_of(checkpoint) > step:
            (checkpoint / COMPLETE).unlink()
            shutil.rmtree(checkpoint, ignore_errors=True)


def clean(folder: Path) -> None:
    """Remove what a killed process left half-written or half-removed."""
    discard_writing(folder)
    for path in folder.glob("checkpoint-*"):
        if not (path / COMPLETE).exists():
            shutil.rmtree(path, ignore_errors=True)


def discard_writing(folder: Path) -> None:
    """Remove the checkpoint that is being written, if there is one."""
    shutil.rmtree(writing_folder(folder), ignore_errors=True)


def writing_folder(folder: Path) -> Path:
    """Return the folder in which the next checkpoint is written before it has its name."""
    return folder / "writing"


def publish_checkpoint(folder: Path, step: int, best: int | None = None, kept: int = KEPT) -> None:
    """Give the checkpoint in the writing folder its name, once every byte is on the disk; then remove all but the `kept` newest.

    The one of step `best` stays, too.
    Raises OSError when the disk is full; the older checkpoints are untouched then.
    """
    partial = writing_folder(folder) / f"checkpoint-{step}"
    final = folder / partial.name
    (partial / "training_args.bin").unlink(missing_ok=True)  # a pickle that nothing here reads
    write_text(partial / COMPLETE, f"{step}\n")
    for path in [*partial.rglob("*"), partial]:
        _sync(path)
    if not (final / COMPLETE).exists():  # the same step from an earlier life is the same checkpoint
        shutil.rmtree(final, ignore_errors=True)
        os.rename(partial, final)
        _sync(folder)
    for old in _complete(folder)[:-kept]:
        if step_of(old) != best:
            (old / COMPLETE).unlink()
            shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of names, is on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows has no handle for that
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
