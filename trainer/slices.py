"""A training in slices: a process that somebody lends for a while trains until its time is over, and leaves a checkpoint.

The next slice goes on from there as any resume does, with the same losses. For ZeroGPU, where a call has a GPU for seconds: the
process is another program's, so the trainer runs in it, without `accelerate launch`.
"""

import gc
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from runs.run import Run


def import_trainer() -> None:
    """Import what a slice needs, so that a fork has it."""
    import trainer.train  # noqa: F401


def train_slice(folder: Path, seconds: float, used_seconds: float = 0) -> None:
    """Train the run in `folder` for at most about `seconds`, one step at least; the slices before took `used_seconds`.

    All that it reports are the run's events: without a last one among them the run is to be gone on with.
    """
    from trainer.stop_watch import StopWatch
    from trainer.train import train_to_a_stop

    run = Run(folder)
    with open(run.log_file, "a", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
        train_to_a_stop(run, StopWatch(run, seconds, used_seconds))
    gc.collect()  # the process may serve the next slice, too: nothing of this one stays on its GPU
