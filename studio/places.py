"""Where a notebook runs (Colab, Kaggle, or a machine of one's own), where it keeps everything there, and the app's page in it."""

import atexit
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from importlib import import_module
from pathlib import Path
from typing import Any

from common import paths
from common.errors import UserError
from common.hosted import on_colab, on_kaggle
from common.language import _

FOLDER = "tinyllama-studio"
DRIVE = Path("/content/drive")
KAGGLE_OUTPUT, KAGGLE_INPUT = Path("/kaggle/working"), Path("/kaggle/input")
LETS_IN = ("door", "keys")  # folders of the app with what lets somebody in
START_SECONDS = 120
LAST_LINES = 15  # of what the page's process printed, when it ended


def is_hosted() -> bool:
    """Return whether the machine was lent to this notebook alone, and goes when its session ends."""
    return on_colab() or on_kaggle()


def home(drive: bool = True) -> Path:
    """Choose where runs, checkpoints and adapters are kept, say it, and return it; a STUDIO_HOME that is set stays.

    On Colab it is a folder of one's Drive, unless `drive` is False: then all is lost when the session ends. On Kaggle it is the
    notebook's output; an empty one begins with the newest copy among the inputs: an earlier version's output, or a data set made
    of one. That may be a stranger's: nothing of it starts by itself, and it lets nobody in. Elsewhere it is where it always is.
    Raises UserError when the Drive is not connected.
    """
    if not os.environ.get("STUDIO_HOME"):
        if on_colab() and drive:
            os.environ["STUDIO_HOME"] = str(_drive_folder())
        elif on_kaggle():
            os.environ["STUDIO_HOME"] = str(_kaggle_folder())
    found = paths.home()
    found.mkdir(parents=True, exist_ok=True)
    print(_("Runs, checkpoints and adapters are kept in {folder}.", folder=str(found)))
    if on_colab() and DRIVE not in found.parents:
        print(_("They are lost when the session ends: it is not on your Drive."))
    return found


def _drive_folder() -> Path:
    try:
        import_module("google.colab.drive").mount(str(DRIVE))
    except Exception as error:  # Colab's own kinds of refusal
        words = _("Google Drive is not connected ({why}).", why=str(error)[:200])
        hint = _("Run the cell again and allow it, or use studio.home(drive=False).")
        raise UserError(words, hint) from error
    return DRIVE / "MyDrive" / FOLDER


def _kaggle_folder() -> Path:
    found = KAGGLE_OUTPUT / FOLDER
    earlier = [runs.parent for depth in range(4) for runs in KAGGLE_INPUT.glob(f"{'*/' * depth}{FOLDER}/runs")]
    if earlier and not found.exists():
        newest = max(earlier, key=lambda folder: folder.stat().st_mtime)
        unfinished = found.with_name(f"{FOLDER}.partial")

        def left_out(folder: str, names: list[str]) -> set[str]:
            return {*names} & {"queued.json", *(LETS_IN if Path(folder) == newest else ())}

        # inputs are read-only
        shutil.copytree(newest, unfinished, dirs_exist_ok=True, copy_function=shutil.copyfile, ignore=left_out)
        unfinished.rename(found)
        print(_("Continuing with what {folder} holds.", folder=str(newest)))
    return found


class Page:
    """The app's page in a process of its own, until `close` is called or the notebook's kernel ends."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        share = ["--share"] if on_kaggle() else []  # it has no way of its own to a port
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._has_link = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "app.py", *share],
            cwd=paths.REPOSITORY,
            env={**os.environ, "GRADIO_SERVER_PORT": str(self.port), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # never a file: the link holds a key
            stderr=subprocess.STDOUT,
            text=True,
        )
        atexit.register(self._process.terminate)
        threading.Thread(target=self._read, args=(bool(share),), daemon=True).start()
        self._wait(bool(share))

    def _read(self, is_shared: bool) -> None:
        """Read what it prints until it ends, and pass on the lines with a link where it is shared."""
        for line in self._process.stdout or ():
            self._lines.append(line)
            if is_shared and "https://" in line:
                print(line, end="")
                self._has_link.set()

    def _wait(self, is_shared: bool) -> None:
        """Wait until it answers, and has its link where it is shared. Raises UserError when it ends, or does neither in time."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers() and (self._has_link.is_set() or not is_shared):
                return
            time.sleep(0.2)
        self.close()
        words = "".join(self._lines).strip()
        raise UserError(_("The page did not start. {words}", words=words), _("Run the cell again."))

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(self.address, timeout=5).close()
        except urllib.error.HTTPError:  # it asks for the key
            return True
        except OSError:
            return False
        return True

    def show(self, height: int = 900) -> None:
        """Show it in a frame of `height` pixels under the cell; where it is shared the link is the way to it."""
        if on_colab():
            output: Any = import_module("google.colab.output")
            output.serve_kernel_port_as_iframe(self.port, height=str(height))
        elif not on_kaggle():
            print(self.address)
            if "IPython" in sys.modules:
                display: Any = import_module("IPython.display")
                display.display(display.IFrame(self.address, "100%", height))

    def __repr__(self) -> str:
        return self.address

    def close(self) -> None:
        """End it. What trains goes on."""
        self._process.terminate()
        self._process.wait(timeout=START_SECONDS)


def page(height: int = 900) -> Page:
    """Start the app's page and show it: on Colab in a frame through Colab's own way to a port, on Kaggle as a link with a key,
    elsewhere at a port of this machine. Raises UserError when it does not start.
    """
    found = Page()
    found.show(height)
    return found
