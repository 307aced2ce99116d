"""Disks that are full or can only be read, and what is said of them at the page and at the command line."""

import shutil
import subprocess
import sys
from pathlib import Path

import gradio as gr
import pytest

from common.paths import REPOSITORY
from ui.messages import shown


def mounted(folder: Path, *options: str) -> None:
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


def fill(folder: Path, left: int) -> None:
    """Leave `left` bytes of the disk."""
    with open(folder / "filler", "wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(folder).free - left)))


def page_says(work) -> str:
    """What the page shows when a handler does `work` and fails."""
    with pytest.raises(gr.Error) as failed:
        shown(work)()
    assert failed.value.title != "A bug", failed.value.message
    return failed.value.message


def command(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False, **options
    )


def is_a_sentence(done: subprocess.CompletedProcess, words: str) -> bool:
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr, done
    return True
