"""The set-up of the Makefile: what goes wrong is one sentence, and the second time takes seconds."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# Stands for the system's Python and, copied there, for that of .venv.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
-V) echo "Python $VERSION" ;;
"-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python && eval "$VENV" ;;
"-m pip install"*) echo "$*" >>calls; eval "$PIP" ;;
"-m models.embedded") echo "$*" >>calls; exit 1 ;;
esac
"""


@pytest.fixture
def tree(tmp_path) -> Path:
    """The files of the set-up, with a fake Python that does what the variables VENV and PIP say."""
    for name in ("Makefile", "setup.sh", "requirements.txt", "requirements-dev.txt", "constraints.txt"):
        shutil.copy(REPOSITORY / name, tmp_path)
    executable(tmp_path / "bin" / "python3", FAKE_PYTHON)
    return tmp_path


def executable(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


def environment(tree: Path, variables: dict) -> dict:
    path = f"{tree / 'bin'}:{os.environ['PATH']}"
    # without the variables of `make test` itself
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return {**outside, "PYTHON": "python3", "VERSION": "3.11.0", "VENV": "", "PIP": "", **variables, "PATH": path}


def make(tree: Path, target: str = "setup", **variables: str) -> subprocess.CompletedProcess:
    command = ["make", "--no-print-directory", target]
    env = environment(tree, variables)
    return subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, timeout=120, check=False)


def calls(tree: Path) -> list[str]:
    return (tree / "calls").read_text().splitlines() if (tree / "calls").exists() else []


def sentence(result: subprocess.CompletedProcess) -> str:
    """What a set-up that failed says: one line, before make's own."""
    first, last = result.stderr.splitlines()
    assert result.returncode == 2 and last.startswith("make: ***")
    return first


def test_a_set_up_installs_the_locked_packages_once_and_does_without_the_embedded_base(tree):
    result = make(tree)
    assert result.returncode == 0 and "when it is first needed" in result.stdout
    install, fetch = calls(tree)
    assert install.endswith("-r requirements.txt -c constraints.txt") and "models.embedded" in fetch
    assert make(tree).returncode == 0 and len(calls(tree)) == 2


@pytest.mark.parametrize("change", ["requirements.txt", "constraints.txt", ".venv/bin/python"])
def test_a_set_up_is_repeated_when_what_it_stands_on_changed(tree, change):
    make(tree)
    (tree / change).unlink()
    if not change.startswith(".venv"):
        shutil.copy(REPOSITORY / change, tree)
        os.utime(tree / change, (time.time() + 5, time.time() + 5))
    assert make(tree).returncode == 0 and len(calls(tree)) == 4


@pytest.mark.parametrize("version", ["2.7.18", "3.8.18", "3.10.13"])
def test_an_old_python_is_told_so(tree, version):
    said = sentence(make(tree, VERSION=version))
    assert said.startswith(f"Python 3.11 or newer is needed; python3 is Python {version}.") and not calls(tree)


def test_a_python_that_is_not_there_is_told_so(tree):
    assert "python3.77 is not there" in sentence(make(tree, PYTHON="python3.77"))


@pytest.mark.parametrize("version", ["3.11.7", "3.12.0rc1", "3.20.1"])
def test_a_newer_python_is_taken(tree, version):
    assert make(tree, VERSION=version).returncode == 0


def test_a_small_disk_is_told_so_before_anything_is_fetched(tree):
    executable(tree / "bin" / "df", "#!/bin/sh\necho Filesystem\necho /dev/sda 9000000 8000000 1000000 89% /\n")
    assert "need 3 GB of disk (6 with a GPU); 1 GB are free" in sentence(make(tree)) and not calls(tree)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PIP": "echo 'OSError: [Errno 28] No space left on device' >&2; exit 1"}, "The disk is full."),
        ({"VENV": "echo 'ensurepip is not available'; exit 1"}, "On Debian: apt-get install python3-venv"),
        ({"PIP": "echo 'ReadTimeoutError: Read timed out.' >&2; exit 2"}, "Check the network"),
        ({"PIP": "echo 'ERROR: No wheel for x' >&2; exit 1"}, "could not be installed. ERROR: No wheel for x"),
    ],
)
def test_what_went_wrong_is_one_sentence_and_the_next_set_up_goes_on(tree, variables, expected):
    assert expected in sentence(make(tree, **variables))
    assert make(tree).returncode == 0


def test_without_a_network_the_real_pip_ends_in_the_sentence(tree):
    (tree / "requirements.txt").write_text("a-package-that-does-not-exist==1.0\n")
    executable(tree / ".venv" / "bin" / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    index = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1", "PIP_CONFIG_FILE": os.devnull}
    assert "Check the network" in sentence(make(tree, **index))


def heeds_interrupts() -> None:
    """What a shell runs in the background ignores SIGINT, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_set_up_says_so_and_goes_on_the_next_time(tree):
    env = environment(tree, {"PIP": "sleep 60"})
    own = {"start_new_session": True, "preexec_fn": heeds_interrupts}
    process = subprocess.Popen(["make", "setup"], cwd=tree, env=env, stderr=subprocess.PIPE, text=True, **own)
    while not calls(tree):
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    assert "Interrupted. Run the same command again: it continues." in process.communicate(timeout=30)[1]
    assert make(tree).returncode == 0 and len(calls(tree)) == 3


def test_make_help_names_every_target(tree):
    targets = re.findall(r"^([a-z-]+):", (tree / "Makefile").read_text(), re.MULTILINE)
    said = make(tree, "help").stdout
    assert "setup" in targets and [line.split()[1] for line in said.splitlines()] == targets
