"""Every test gets a home of its own. Small Llamas with TinyLlama's real tokenizer stand in where weights do not matter."""

import sys
from pathlib import Path

import pytest

from common.paths import bases_folder, home
from tests.tiny import TOKENIZER, make_tiny_base

REPOSITORY = Path(__file__).resolve().parents[1]
REAL_BASES = bases_folder()  # read before any test points STUDIO_HOME elsewhere


@pytest.fixture(autouse=True)
def isolated_home(tmp_path_factory, monkeypatch) -> Path:
    """An empty STUDIO_HOME and an empty Hub cache; the Hub is off."""
    folder = tmp_path_factory.mktemp("studio")
    monkeypatch.setenv("STUDIO_HOME", str(folder / "home"))
    monkeypatch.setenv("HF_HOME", str(folder / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("SPACE_ID", "OAUTH_CLIENT_ID", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    home().mkdir()
    return home()


@pytest.fixture(scope="session")
def tinyllama_tokenizer():
    """TinyLlama's tokenizer with its own chat template."""
    from models.tokenizer import load_tokenizer

    return load_tokenizer(TOKENIZER)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    """A folder with a two-layer Llama, random weights, TinyLlama's tokenizer."""
    return make_tiny_base(tmp_path_factory.mktemp("tiny-base"))


@pytest.fixture
def embedded_base(isolated_home) -> Path:
    """The embedded base, converted once for all tests and linked into this test's home."""
    import subprocess

    environment = {"PATH": "/usr/bin:/bin", "STUDIO_HOME": str(REAL_BASES.parent), "HOME": str(Path.home())}
    command = [sys.executable, "-m", "models.embedded"]
    subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, stdout=subprocess.DEVNULL)
    bases_folder().symlink_to(REAL_BASES)
    from models import embedded

    return embedded.folder()
