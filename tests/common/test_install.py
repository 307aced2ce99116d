"""The set-up says what is wrong in one sentence, and goes on the next time."""

import subprocess
import sys

import pytest

from common import install
from common.install import InstallError


def test_an_old_python_is_told_so():
    with pytest.raises(InstallError, match=r"Python 3\.8; 3\.11 or newer is needed"):
        install.check_python((3, 8, 10))
    install.check_python((3, 11, 0))


def test_a_small_disk_is_told_so():
    with pytest.raises(InstallError, match=r"3 GB of disk .* 1\.0 GB are free"):
        install.check_disk(1e9)


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("NewConnectionError: Failed to establish a new connection", "network"),
        ("ERROR: Could not build wheels for x", "pip failed: ERROR: Could not build wheels"),
    ],
)
def test_what_pip_printed_becomes_a_sentence(log, sentence):
    assert sentence in install.explain(log)


def test_a_second_set_up_does_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(install, "VENV", str(tmp_path))
    (tmp_path / "installed-requirements.txt").write_text(install.fingerprint(["requirements.txt"]))
    monkeypatch.setattr(install, "install", lambda requirements: pytest.fail("installed again"))
    assert install.main([]) == 0


def test_an_interrupted_set_up_is_begun_again(tmp_path, monkeypatch):
    """Without the stamp, which is written last, pip runs again and takes what it has already."""
    installed = []
    monkeypatch.setattr(install, "VENV", str(tmp_path))
    monkeypatch.setattr(install, "works", lambda: True)
    monkeypatch.setattr(install, "install", installed.append)
    monkeypatch.setattr(install, "fetch_embedded_base", lambda: None)
    assert install.main([]) == 0 and installed == [["requirements.txt"]]
    assert install.main([]) == 0 and len(installed) == 1


def test_a_half_made_environment_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(install, "VENV", str(tmp_path))
    assert not install.works()


def test_without_a_network_one_sentence_is_printed(tmp_path, monkeypatch, capsys):
    """The real pip, pointed at a port where nobody listens."""
    monkeypatch.setattr(install, "VENV", str(tmp_path))
    monkeypatch.setattr(install, "LOG", str(tmp_path / "install.log"))
    monkeypatch.setattr(install, "python", lambda: sys.executable)
    (tmp_path / "requirements.txt").write_text("a-package-that-does-not-exist==1.0\n")
    monkeypatch.setattr(install, "REPOSITORY", str(tmp_path))
    for name, value in {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    assert install.main([]) == 1
    assert "network" in capsys.readouterr().err


def test_the_installer_needs_only_the_standard_library():
    """`-S` hides site-packages: the set-up runs before anything is installed."""
    command = [sys.executable, "-S", "-c", "import common.install"]
    assert subprocess.run(command, cwd=install.REPOSITORY, check=False).returncode == 0
