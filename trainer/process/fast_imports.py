"""Makes the imports of the training process take 2.7 s instead of 4.5: no garbage collection meanwhile, no bitsandbytes for
nothing.

The collector walks all that was imported again and again, which takes 1.2 s. bitsandbytes pulls torch's compiler in, 0.7 s;
PEFT imports it wherever it is installed, and only a quantised base needs it. Only for a process of its own: `begin` before the
heavy imports, `end` after them.
"""

import gc
import sys
from pathlib import Path

from common.errors import UserError
from models.precision import QUANTISED, resolve_precision
from trainer.run import Run


def begin(run_folder: str) -> None:
    """Hold the collector, and leave bitsandbytes out where the run in this folder does not quantise its base."""
    gc.disable()
    if not _is_quantised(Run(Path(run_folder))):
        sys.modules["bitsandbytes"] = (
            None  # Python's own way to say "not there": importing it fails, finding it gives None
        )


def end() -> None:
    """Collect again, without ever walking what was imported."""
    gc.freeze()
    gc.enable()


def _is_quantised(run: Run) -> bool:
    import torch

    try:
        return resolve_precision(run.config().precision, torch.cuda.is_available()) in QUANTISED
    except UserError:  # the process itself tells
        return True
