"""On a Space a volume holds the data where it can do what the app needs of a disk; else a sentence says why, and what is lost."""

import builtins
import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common import volume
from common.paths import REPOSITORY, home
from common.volume import lost_words, outlives_restart, problem_of
from models.hub.errors import child_environment


@pytest.fixture
def mount(tmp_path, monkeypatch):
    """A Space whose volume at /data is a folder of the test."""
    folder = tmp_path / "data"
    folder.mkdir()
    is_mount = os.path.ismount
    monkeypatch.setattr(os.path, "ismount", lambda place: Path(place) == folder or is_mount(place))
    monkeypatch.setattr(volume, "MOUNT", folder)
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    monkeypatch.delenv("STUDIO_HOME")
    problem_of.cache_clear()
    yield folder
    problem_of.cache_clear()


def refuse(code: int):
    def refused(*arguments, **options):
        raise OSError(code, os.strerror(code))

    return refused


def opens_new_files_only(name, mode="r", *arguments, **options):
    """As a bucket that is mounted for streaming: what is written is new, from its start to its end."""
    if "a" in mode or "+" in mode:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))
    return builtins.open(name, mode, *arguments, **options)


def test_data_lies_on_a_volume_that_can_hold_it_and_nothing_of_the_trial_stays(mount):
    assert home() == mount / "tinyllama-studio" and lost_words(home()) is None
    assert list(mount.iterdir()) == []


def test_the_processes_of_the_app_take_the_home_that_it_chose(mount):
    assert child_environment()["STUDIO_HOME"] == str(home())


@pytest.mark.parametrize(
    ("what", "fault", "words"),
    [
        ((os, "replace"), refuse(errno.EPERM), "cannot replace a file"),
        ((os, "rename"), refuse(errno.ENOTSUP), "cannot rename a folder"),
        ((os, "fsync"), refuse(errno.EIO), "cannot write files"),
        ((fcntl, "flock"), refuse(errno.ENOSYS), "cannot lock a file"),
        ((fcntl, "flock"), lambda *arguments: None, "cannot lock a file"),
        ((volume, "mmap"), refuse(errno.ENODEV), "cannot map a file into memory"),
        ((volume, "open"), opens_new_files_only, "cannot append to a file (Operation not permitted)"),
        ((volume.tempfile, "mkdtemp"), refuse(errno.EROFS), "is read-only"),
        ((os, "getuid"), lambda: 12345, "gives its files to another user"),
    ],
)
def test_a_volume_that_lacks_something_is_not_taken_and_the_page_says_why(mount, monkeypatch, what, fault, words):
    monkeypatch.setattr(*what, fault, raising=False)
    assert home() != mount / "tinyllama-studio"
    assert "loses all runs and adapters" in lost_words(home()) and words in lost_words(home())
    monkeypatch.undo()
    assert list(mount.iterdir()) == []


def test_only_what_lies_on_a_volume_outlives_the_restart_of_a_space(mount, tmp_path, monkeypatch):
    assert outlives_restart(mount / "any" / "folder") and not outlives_restart(tmp_path / "elsewhere")
    assert "Its owner can mount a Storage Bucket" in lost_words(tmp_path / "elsewhere")
    monkeypatch.delenv("SPACE_ID")
    assert outlives_restart(tmp_path / "elsewhere") and lost_words(tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("unshare"), reason="needs mounts of its own")
def test_a_volume_that_is_really_mounted_is_told_from_one_that_is_read_only(tmp_path):
    code = f"""
import os, sys; sys.path.insert(0, {str(REPOSITORY)!r})
from pathlib import Path
from common import paths, volume
volume.MOUNT = Path({str(tmp_path)!r})
print(paths.home()); print(volume.lost_words(paths.home()))
"""
    said = {}
    for mode in ("rw", "ro"):
        mounted = ["mount", "-t", "tmpfs", "-o", mode, "none", str(tmp_path)]
        line = subprocess.list2cmdline(mounted) + ' && exec "$0" -c "$1"'
        environment = {name: value for name, value in os.environ.items() if name != "STUDIO_HOME"}
        command = ["unshare", "-rm", "sh", "-c", line, sys.executable, code]
        done = subprocess.run(
            command, env={**environment, "SPACE_ID": "o/s"}, capture_output=True, text=True, check=False
        )
        if "unshare" in done.stderr or "permission denied" in done.stderr.lower():
            pytest.skip("this machine lets nobody mount")
        said[mode] = done.stdout.splitlines()
    assert said["rw"] == [f"{tmp_path}/tinyllama-studio", "None"]
    assert "is read-only" in said["ro"][1] and not said["ro"][0].startswith(str(tmp_path))
