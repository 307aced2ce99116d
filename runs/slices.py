"""A run that is trained in slices by the program that its owner looks at: a third way beside the queue and jobs, for ZeroGPU.

A slice has the GPU for SLICE_SECONDS at most, counts against the owner's quota, and leaves a checkpoint, from which
the next one goes on. The run's process is this program while it asks for slices: when it no longer does, the run is interrupted.
"""

import math
import os
import time
from collections.abc import Callable
from contextlib import suppress

from common.errors import UserError
from common.files import write_json
from common.language import Sentence, _, joined, n_
from common.words import duration
from runs.processes import this_process
from runs.queue import lock
from runs.run import CONTINUE, EventLog, Run, read_state
from runs.state import state_of

SLICE_SECONDS = 60
LOADING_SECONDS = 20  # of each slice: the base and the checkpoint are loaded anew
SPARE_SECONDS = 15  # beyond a slice: a step, a checkpoint or an evaluation may take longer than those before it


def train_in_slices(run: Run, train_slice: Callable[[Run, float], object], is_left: Callable[[], bool]) -> None:
    """Train a run that `enqueue` has let in, slice after slice, until it has ended or `is_left` says that nobody waits any more.

    `train_slice` gets the seconds that the slices before took, and has the GPU for SLICE_SECONDS. A UserError of it, such as an
    exhausted quota, ends the run until it is resumed, and is raised; so is one for a run that does not wait for its start.
    """
    events, number, used_seconds = EventLog(run), 0, 0.0
    with lock():
        if state_of(run.events_file, with_curves=False).status != "queued":
            raise UserError(_("'{name}' is not waiting to start.", name=run.id), _("Press Resume."))
        _mark(run, number)
        events.write("preparing")
    try:
        while not is_left() and run.folder.exists():
            if run.stop_file.exists():
                words = _("Stopped between two slices.")
                events.write("stopped", message=words, hint=joined([run.kept_words(), CONTINUE]))
                return
            number += 1
            _mark(run, number)
            events.write("preparing", message=_("Waiting for a GPU (slice {number})", number=number))
            began = time.monotonic()
            train_slice(run, used_seconds)
            used_seconds += time.monotonic() - began
            if not read_state(run, with_curves=False).is_running:
                return
    except UserError as error:
        if not run.folder.exists():  # deleted, which has ended the slice
            return
        events.write("stopped", message=error.message, hint=joined([error.hint, run.kept_words(), CONTINUE]))
        raise
    finally:
        _mark(run, number, is_over=True)


def _mark(run: Run, number: int, is_over: bool = False) -> None:
    """Write this program down as the one that trains `run`, or that did: the fork of its last slice may live on, idle."""
    mark = this_process(os.getpid())
    if is_over:
        mark["started"], mark["ticks"] = 0.0, -1
    with suppress(FileNotFoundError):  # it was deleted
        write_json(run.process_file, {"launcher": mark | {"slice": number}})


def slices_words(seconds: float | None) -> Sentence:
    """Say in how many slices a training of so many seconds is done, and what that takes of its owner's quota."""
    if seconds is None:
        return _(
            "ZeroGPU: trains in slices of up to {seconds} s from your quota, while this page is open.",
            seconds=SLICE_SECONDS,
        )
    count = max(1, math.ceil(seconds / (SLICE_SECONDS - LOADING_SECONDS)))
    return n_(
        "ZeroGPU: about {count} slice of up to {seconds} s ({quota} of your quota), while this page is open.",
        "ZeroGPU: about {count} slices of up to {seconds} s ({quota} of your quota), while this page is open.",
        count,
        seconds=SLICE_SECONDS,
        quota=duration(seconds + count * LOADING_SECONDS),
    )
