"""The base from the Hub, with the real client against a Hub on loopback, in a process of its own (it reads HF_ENDPOINT once)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.paths import REPOSITORY
from models.base import DEFAULT_BASE
from tests.hub_server import HubServer

CHOOSE = """
import json, sys
from common.errors import UserError
from models.base import choose_base, fetch_base
try:
    base = choose_base(sys.argv[1])
    told = []
    folder = fetch_base(base, lambda what, fraction: told.append((what, fraction))) if len(sys.argv) > 2 else ""
    print(json.dumps({"source": base.source, "id": base.model_id, "revision": base.revision, "reason": base.reason,
                      "folder": str(folder), "told": told}))
except UserError as error:
    print(json.dumps({"error": str(error)}))
"""
FETCH_TOKENIZER = """
import json
from models.base import choose_base, fetch_tokenizer
print(json.dumps({"folder": str(fetch_tokenizer(choose_base("auto")))}))
"""
STOP = """
import json, sys, threading
import psutil
from common.errors import UserError
from models.base import choose_base, fetch_base
stop = threading.Event()
try:
    fetch_base(choose_base("auto"), lambda what, fraction: "MB" in what and fraction > 0.3 and stop.set(), stop)
except UserError as error:
    print(json.dumps({"error": str(error), "children": len(psutil.Process().children(recursive=True))}))
"""


def run(hub_url: str, code: str, *arguments: str) -> dict:
    """What a process prints that takes `hub_url` for the Hub, and has somebody's token."""
    environment = {**os.environ, "HF_ENDPOINT": hub_url, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_secret"}
    command = [sys.executable, "-c", code, *arguments]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def choose(hub_url: str, *arguments: str) -> dict:
    return run(hub_url, CHOOSE, *arguments)


def test_tinyllama_comes_from_the_hub_then_from_the_cache(tiny_base):
    with HubServer({DEFAULT_BASE: tiny_base}) as hub:
        first = choose(hub.url, "auto", "fetch")
        assert (first["source"], first["id"], first["revision"]) == ("hub", DEFAULT_BASE, hub.commit(DEFAULT_BASE))
        assert {path.name for path in Path(first["folder"]).iterdir()} >= {"config.json", "model.safetensors"}
        assert not any(has_token for _, _, has_token in hub.requests), "somebody's token went out"
        seen = len(hub.requests)
        second = choose(hub.url, "auto", "fetch")
        assert second["source"] == "cache" and second["folder"] == first["folder"] and len(hub.requests) == seen
    assert choose("http://127.0.0.1:9", "auto")["source"] == "cache", "the cache needs no network"


def test_a_tokenizer_comes_without_the_weights(tiny_base):
    with HubServer({DEFAULT_BASE: tiny_base}) as hub:
        names = {path.name for path in Path(run(hub.url, FETCH_TOKENIZER)["folder"]).iterdir()}
        assert {"config.json", "tokenizer.json", "tokenizer_config.json"} <= names
        assert not any("safetensors" in path for _, path, _ in hub.requests) and "model.safetensors" not in names
        assert not any(has_token for _, _, has_token in hub.requests)
        assert choose(hub.url, "auto")["source"] == "hub", "a tokenizer alone is no base in the cache"


def test_a_download_shows_how_far_it_is(tiny_base):
    with HubServer({DEFAULT_BASE: tiny_base}, delay=0.01) as hub:
        told = choose(hub.url, "auto", "fetch")["told"]
    fractions = [fraction for _, fraction in told if fraction is not None]
    assert fractions and fractions == sorted(fractions) and 0 < fractions[-1] <= 1
    assert any("MB" in what for what, _ in told)


def test_a_stop_ends_a_download_at_once_and_what_is_whole_is_not_fetched_again(tiny_base):
    with HubServer({DEFAULT_BASE: tiny_base}, delay=0.015) as hub:
        stopped = run(hub.url, STOP)
        assert "was stopped" in stopped["error"] and stopped["children"] == 0
        cache = Path(os.environ["HF_HOME"]) / "hub"
        assert list(cache.rglob("config.json")) and not list(cache.rglob("*.safetensors"))
        assert not list(cache.rglob("*.incomplete")), "half a file takes room for nothing"
        fetched = len(hub.sent("GET", "resolve"))
        hub.delay = 0.0
        again = choose(hub.url, "auto", "fetch")
        assert (Path(again["folder"]) / "model.safetensors").stat().st_size > 10_000_000
        assert [path.rsplit("/", 1)[-1] for path in hub.sent("GET", "resolve")[fetched:]] == ["model.safetensors"]
        assert not any(has_token for _, _, has_token in hub.requests), "somebody's token went out"


def test_half_a_file_that_somebody_else_downloads_is_left_alone(tmp_path, monkeypatch):
    from filelock import FileLock
    from huggingface_hub import constants

    from models.hub.fetch import remove_halves

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    blobs, locks = cache / "models--a--b" / "blobs", cache / ".locks" / "models--a--b"
    blobs.mkdir(parents=True)
    locks.mkdir(parents=True)
    mine, theirs = blobs / "aaa.1.incomplete", blobs / "bbb.2.incomplete"
    mine.write_bytes(b"half")
    theirs.write_bytes(b"half")
    with FileLock(locks / "bbb.lock"):
        remove_halves("a/b")
    assert not mine.exists() and theirs.exists()


def test_a_failed_download_is_a_sentence_and_can_be_repeated(tiny_base):
    with HubServer({DEFAULT_BASE: tiny_base}) as hub:
        hub.fail("GET", "model.safetensors", status=500, times=100)
        assert "The Hugging Face Hub reported an error (500)" in choose(hub.url, "auto", "fetch")["error"]
        hub.faults.clear()
        assert choose(hub.url, "auto", "fetch")["folder"]


def test_when_the_hub_cannot_be_reached_it_is_said():
    chosen = choose("http://127.0.0.1:9", "auto")
    assert chosen["source"] == "embedded" and "Could not reach the Hugging Face Hub. " in chosen["reason"]
    assert "Could not reach the Hugging Face Hub" in choose("http://127.0.0.1:9", DEFAULT_BASE)["error"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("nobody/nothing", "There is no 'nobody/nothing'"), ("meta/gated", "is gated"), ("old/pickle", "no safetensors")],
)
def test_what_the_hub_does_not_give_is_a_sentence(tmp_path, name, words):
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with HubServer({"old/pickle": tmp_path, "meta/gated": tmp_path}, gated={"meta/gated"}) as hub:
        assert words in choose(hub.url, name)["error"]
