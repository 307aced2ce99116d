"""Sets up `.venv` in the repository: what `make run`, `make test`, `make demo` and `make setup` call first.

    python3 -m common.install          what the app needs
    python3 -m common.install --dev    and what the tests need

Standard library only, and old syntax only, so that an old Python can say that it is too old. Safe to repeat and to
interrupt: a stamp with the hash of the requirements is written last; without it pip goes on where it was.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(REPOSITORY, ".venv")
LOG = os.path.join(VENV, "install.log")
OLDEST_PYTHON = (3, 11)
GIGABYTES_NEEDED = 3.0
FAILURES = (
    (("No space left on device",), "The disk is full. Free some gigabytes and run the same command again."),
    (
        (
            "Failed to establish a new connection",
            "Name or service not known",
            "Temporary failure in name resolution",
            "NewConnectionError",
            "ConnectTimeoutError",
            "Read timed out",
            "Connection refused",
            "Network is unreachable",
            "Max retries exceeded",
        ),
        "The package index cannot be reached. Check the network and run the same command again: it continues.",
    ),
)


class InstallError(Exception):
    """One clear sentence for the person at the keyboard."""


def main(arguments):
    """Set everything up; returns the exit code."""
    try:
        set_up(["requirements-dev.txt"] if "--dev" in arguments else ["requirements.txt"])
    except InstallError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again: it continues.", file=sys.stderr)
        return 130
    return 0


def set_up(requirements):
    """Make the environment and install `requirements`, unless their stamp says that it is done."""
    check_python(sys.version_info)
    stamp = os.path.join(VENV, "installed-" + requirements[0])
    wanted = fingerprint(requirements)
    if read(stamp) == wanted:
        return
    check_disk(shutil.disk_usage(REPOSITORY).free)
    if not works():
        print("Making .venv ...", flush=True)
        make_venv()
    print("Installing packages (about 2 GB on a CPU, once; the details go to .venv/install.log) ...", flush=True)
    began = time.time()
    install(requirements)
    fetch_embedded_base()
    with open(stamp, "w") as file:
        file.write(wanted)
    print("Installed in {:.0f} s.".format(time.time() - began), flush=True)  # noqa: UP032


def check_python(version):
    """Raise InstallError for a Python that the packages do not support."""
    if tuple(version[:2]) < OLDEST_PYTHON:
        raise InstallError(
            "This is Python {}.{}; {}.{} or newer is needed. Install it, then: make PYTHON=python3.12 run".format(
                version[0], version[1], *OLDEST_PYTHON
            )
        )


def check_disk(free_bytes):
    """Raise InstallError when the packages will not fit."""
    if free_bytes < GIGABYTES_NEEDED * 1e9:
        raise InstallError(
            "The packages need {:.0f} GB of disk (6 with a GPU); {:.1f} GB are free here. Free some first.".format(  # noqa: UP032
                GIGABYTES_NEEDED, free_bytes / 1e9
            )
        )


def fingerprint(requirements):
    """What the stamp must say: the hash of the requirement files and the Python that runs them."""
    digest = hashlib.sha256(repr(sys.version_info[:3]).encode())
    for name in {*requirements, "requirements.txt"}:
        with open(os.path.join(REPOSITORY, name), "rb") as file:
            digest.update(hashlib.sha256(file.read()).digest())
    return digest.hexdigest()


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def python():
    """The interpreter inside .venv."""
    folder, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return os.path.join(VENV, folder, name)


def works():
    """True when .venv has a running Python with pip; an interrupted set-up leaves one without."""
    try:
        return (
            subprocess.call([python(), "-m", "pip", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            == 0
        )
    except OSError:
        return False


def make_venv():
    result = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", VENV], capture_output=True, text=True, check=False
    )
    if result.returncode:
        if "ensurepip" in result.stdout + result.stderr:
            raise InstallError("This Python cannot make virtual environments. On Debian: apt-get install python3-venv")
        raise InstallError(f"A virtual environment could not be made in {VENV}: {result.stderr.strip()[-300:]}")


def install(requirements):
    """Run pip with its output in the log, a dot every ten seconds, and a sentence when it fails."""
    command = [python(), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    for name in requirements:
        command += ["-r", os.path.join(REPOSITORY, name)]
    with open(LOG, "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        waited = 0
        while process.poll() is None:
            time.sleep(0.5)
            waited += 1
            if waited % 20 == 0:
                print(".", end="", flush=True)
    if waited >= 20:
        print(flush=True)
    if process.returncode:
        raise InstallError(explain(read(LOG)))


def explain(log):
    """The sentence for what pip printed."""
    for signs, sentence in FAILURES:
        if any(sign in log for sign in signs):
            return sentence
    errors = [line for line in log.splitlines() if line.startswith("ERROR")]
    return "pip failed: {} The whole story is in .venv/install.log.".format((errors or ["no reason given."])[-1])


def fetch_embedded_base():
    """Bring the embedded base now, so that it is there when the network is not. Doing without it is no failure."""
    print("Fetching the embedded base model (98 MB, once) ...", flush=True)
    command = [python(), "-m", "models.embedded", "--fetch"]
    if subprocess.call(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL):
        print("It will be fetched when it is first needed.", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
