"""A training that SIGKILL ends right before its N-th touch of a file in the checkpoints folder (open, rename, remove).

    python -m tests.trainer.dying N --run FOLDER     0: it lives on

That is a death in the middle of writing, publishing or rotating a checkpoint, at a place that can be repeated.
"""

import os
import signal
import sys

from trainer.train import main

EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir")


def kill_at_touch(folder: str, number: int) -> None:
    """Install the audit hook that kills this process at its `number`-th touch of `folder`."""
    touches = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal touches
        if event in EVENTS and arguments and str(arguments[0]).startswith(folder):
            touches += 1
            if touches == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    if number := int(sys.argv.pop(1)):
        kill_at_touch(os.path.join(sys.argv[2], "checkpoints"), number)
    sys.exit(main())
