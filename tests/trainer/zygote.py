"""A warm process that has imported torch and forks a training process on demand: a restart costs a second, not ten.

    python -m tests.trainer.zygote      reads one JSON line a life: {"run": FOLDER, "kill_at": null or N}
                                        answers {"pid": ...}, and {"code": ...} when it has ended (-9: killed)

`kill_at` N ends the life with SIGKILL right before its N-th touch of a file in the checkpoints folder (open, rename, remove):
a death in the middle of writing, publishing or rotating a checkpoint, at a place that can be repeated.
"""

import gc
import json
import os
import signal
import sys

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


def live(order: dict, main) -> None:
    """One life of a training process, in the fork."""
    log = os.open(os.path.join(order["run"], "train.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if order["kill_at"]:
        kill_at_touch(os.path.join(order["run"], "checkpoints"), order["kill_at"])
    sys.argv = ["train", "--run", order["run"]]
    os._exit(main())


def serve() -> None:
    from trainer.train import main  # here, so that a fork is warm

    gc.freeze()  # a fork's collections leave what was imported alone
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            live(json.loads(line), main)
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    serve()
