"""Gives a notebook's Python the packages of requirements.txt: `%run examples/packages.py`, before `import studio`.

Colab's and Kaggle's Python brings a torch that fits its card, and packages that the notebook itself stands on. None of that is
changed: what is missing, or there in another version, goes into a virtual environment of its own that sees the rest, and torch
is taken in whatever version it is there. A Python that is a virtual environment already, such as the .venv of `make setup`, is
one's own: what it lacks goes right into it. Only the standard library is imported: nothing else is there yet.
"""

import importlib
import os
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))  # for `import studio`, too

from common.errors import UserError
from common.language import _, n_

ENVIRONMENT = REPOSITORY / ".venv-notebook"


def main() -> None:
    """Install what is missing and let this Python, and the processes that it starts, find it."""
    own = sys.prefix != sys.base_prefix
    if ENVIRONMENT.exists() and not own:
        use(ENVIRONMENT)
    if missing := missing_packages():
        print(
            n_(
                "Installing {count} package: {names}",
                "Installing {count} packages: {names}",
                len(missing),
                names=", ".join(missing),
            )
        )
        if own:
            install(Path(sys.executable))
        else:
            install(make_environment(ENVIRONMENT))
            use(ENVIRONMENT)
    loaded = getattr(sys.modules.get("numpy"), "__version__", None)
    if loaded and loaded != installed("numpy"):  # a process cannot have two
        print(_("Restart the session now (Runtime > Restart session), then run this cell again: it takes seconds."))
        return
    tested, found = pinned_packages()["torch"], installed("torch")
    print(_("Ready: torch {found}; tested with {tested}.", found=found, tested=tested))


def wanted_packages() -> dict[str, str]:
    """Return the packages of requirements.txt and their versions; of torch the one that is there, where there is one."""
    found = pinned_packages()
    return found | {"torch": installed("torch") or found["torch"]}


def pinned_packages() -> dict[str, str]:
    """Return the packages of requirements.txt and their versions."""
    text = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def missing_packages() -> list[str]:
    """Return those that are not there in their version."""
    return [name for name, version in wanted_packages().items() if installed(name) != version]


def installed(name: str) -> str:
    """Return the version of a package, "" where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def make_environment(folder: Path) -> Path:
    """Make a virtual environment that sees what this Python sees, and return its Python. It uses the pip that it sees."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", str(folder)], check=True)
    # also what this Python has from a variable: the processes of a training get few of those
    seen = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site_packages(folder) / "notebook.pth").write_text("\n".join(seen), encoding="utf-8")
    return folder / "bin" / "python"


def site_packages(folder: Path) -> Path:
    """Return where the packages of an environment lie."""
    return folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def install(python: Path) -> None:
    """Install requirements.txt with the torch that is there, whatever version that is. Raises UserError with pip's words."""
    lines = [f"{name}=={version}" for name, version in wanted_packages().items()]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(lines))
        file.flush()
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = _("The packages could not be installed: {words}", words=done.stderr.strip()[-1000:])
        raise UserError(words, _("Check the network (Kaggle: Settings > Internet), then run the cell again."))


def use(folder: Path) -> None:
    """Let this Python find the packages of an environment first, and start its processes with that environment's Python."""
    found = str(site_packages(folder))
    if found not in sys.path:
        sys.path.insert(0, found)
    sys.executable = str(folder / "bin" / "python")
    os.environ["VIRTUAL_ENV"] = str(folder)
    importlib.invalidate_caches()


if __name__ == "__main__":
    main()
