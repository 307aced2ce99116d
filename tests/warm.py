"""Processes that begin warm: forks of one that has imported what trains and evaluates start in a moment, not in ten seconds.

`Popen` stands in for subprocess's and turns `python -m MODULE` into such a fork, where the tests start it and where a launcher or
an experiment does. The forks are real processes with ids, command lines, sessions, files and ends of their own, and see their
launcher's death. What they do not have is a start from nothing: tests that are about it start processes the plain way.
"""

import ctypes
import gc
import importlib
import json
import os
import runpy
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

LAUNCHERS = {"accelerate.commands.launch", "evaluation.experiments.process", "trainer"}
IN_NAMESPACE = ["ip", "netns", "exec"]  # of the network, by its name
MODULES = LAUNCHERS | {"trainer.train", "trainer.calibrate", "evaluation.process", "data.check", "tests.trainer.dying"}
REAL = subprocess.Popen
POLL_SECONDS = 0.05
MAX_ORDER_BYTES = 2**17
ROOM = "-" * 8000  # behind the nurse's words, for those of its forks

place: Path = Path()  # the socket of the nurse: a warm process that forks what this one starts


class Popen(REAL):
    """A process; one of MODULES is a fork that the nurse makes, and `_nurse` is where it tells how the fork ended."""

    _nurse: socket.socket | None = None

    def _execute_child(self, args, *more) -> None:
        words = [str(word) for word in args] if isinstance(args, list | tuple) else []
        words = words[words.index("-m") + 1 :] if "-m" in words else [""]
        if words[0] not in MODULES:
            return super()._execute_child(args, *more)
        cwd, env, pipes, is_leader = more[4], more[5], more[9:15], more[20]
        namespace = args[3] if args[:3] == IN_NAMESPACE else ""
        order = {
            "words": words,
            "namespace": namespace,
            "cwd": str(cwd or os.getcwd()),
            "env": dict(os.environ if env is None else env),
        }
        fds = [number if fd == -1 else fd for number, fd in enumerate((pipes[0], pipes[3], pipes[5]))]
        self._nurse = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._nurse.connect(str(place))
        socket.send_fds(self._nurse, [json.dumps({**order, "is_leader": is_leader}).encode()], fds)
        self.pid = int(self._nurse.recv(100))
        self._child_created = True
        self._close_pipe_fds(*pipes)

    def _try_wait(self, wait_flags):
        if self._nurse is None:
            return super()._try_wait(wait_flags)
        try:
            status = self._nurse.recv(100, socket.MSG_DONTWAIT if wait_flags & os.WNOHANG else 0)
        except BlockingIOError:
            return 0, 0
        return self.pid, int(status or 0)

    def _internal_poll(self, *given, **more):
        if self._nurse is None:
            return super()._internal_poll(*given, **more)
        if self.returncode is None and self._waitpid_lock.acquire(False):
            try:
                pid, status = (0, 0) if self.returncode is not None else self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


def start(folder: Path) -> subprocess.Popen:
    """Start the nurse of this process, with its files in `folder`; returns once it is warm. It ends with this process."""
    from common.paths import REPOSITORY
    from models.hub.errors import child_environment

    global place
    place = folder / "nurse"
    command = [sys.executable, "-m", "tests.warm", str(place), ROOM]
    process = REAL(command, cwd=REPOSITORY, env=child_environment(), stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout.readline() == b"warm\n"
    return process


def nurse(ready) -> tuple[dict, list[int]]:
    """Fork on demand and tell how each fork ended, as long as the process that asks lives. Returns the order, in a fork."""
    parent, asked = os.getppid(), {}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(place))
        listener.listen(64)
        listener.settimeout(POLL_SECONDS)
        ready()
        while os.getppid() == parent:
            while asked and (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with suppress(OSError):  # nobody may wait for it
                    asked.pop(ended[0]).send(str(ended[1]).encode())
            try:
                asking = listener.accept()[0]
            except TimeoutError:
                continue
            order, fds, *_ = socket.recv_fds(asking, MAX_ORDER_BYTES, 3)
            pid = os.fork()
            if pid == 0:
                for one in (asking, *asked.values()):
                    one.close()
                return json.loads(order), fds
            asking.send(str(pid).encode())
            asked[pid] = asking
            for fd in fds:
                os.close(fd)
    os._exit(0)


def live(order: dict, fds: list[int]) -> None:
    """Be the process that was asked for, with a nurse of its own if it starts others."""
    if order["is_leader"]:
        os.setsid()
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    if order["namespace"]:
        with open(f"/run/netns/{order['namespace']}") as namespace:
            assert ctypes.CDLL(None).setns(namespace.fileno(), 0) == 0
    if order["words"][0] in LAUNCHERS:
        global place
        place = place.with_name(f"nurse-{os.getpid()}")
        read, write = os.pipe()
        if os.fork() == 0:
            os.close(read)
            return live(*nurse(lambda: os.close(write)))
        os.close(write)
        os.read(read, 1)
        os.close(read)
    if threads := os.environ.get("OMP_NUM_THREADS"):  # OpenMP has looked before
        import torch

        torch.set_num_threads(int(threads))
    _take_words([sys.executable, "-m", *order["words"]])
    module, *sys.argv[1:] = order["words"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _take_words(words: list[str]) -> None:
    """Take these words for the command line that /proc shows."""
    begin, end = map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:47])
    text = "\0".join(words).encode()[: end - begin - 1]
    ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)


def main() -> None:
    """Be the first nurse, and all that is forked of it."""
    import torch.distributed.run  # noqa: F401
    from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

    for module in MODULES - {"tests.trainer.dying", "trainer"}:
        importlib.import_module(module)
        del sys.modules[module]  # it is run anew, as the main one
    subprocess.Popen = subprocess_handler.Popen = Popen
    gc.freeze()  # a fork's collections leave what was imported alone
    live(*nurse(lambda: print("warm", flush=True)))


if __name__ == "__main__":
    from tests import warm  # where those who import it find the class and the place

    warm.place = Path(sys.argv[1])
    warm.main()
