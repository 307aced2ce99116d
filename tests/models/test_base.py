"""Which base is used is decided aloud: never a silent change of model."""

import json

import pytest

from common.errors import UserError
from models.base import DEFAULT_BASE, check_folder, choose_base, fetch_base


def put_in_cache(tmp_path, model_id: str, commit: str = "a" * 40):
    """A complete model in the Hub cache of this test."""
    repository = tmp_path / "hf" / "hub" / f"models--{model_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    (snapshot / "config.json").write_text('{"model_type": "llama"}')
    (snapshot / "model.safetensors").write_bytes(b"")
    (snapshot / "tokenizer.json").write_text("{}")
    return snapshot


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """huggingface_hub reads its cache folder once, at import."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    return tmp_path


def test_without_hub_and_cache_the_embedded_base_is_taken_and_says_why(hub_cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    base = choose_base("auto")
    assert base.source == "embedded" and base.model_id == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert base.reason == "Using the built-in SmolLM2-135M: TinyLlama could not be downloaded (offline)."


def test_a_base_that_was_asked_for_is_never_replaced(hub_cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="embedded"):
        choose_base(DEFAULT_BASE)


def test_a_cached_tinyllama_needs_no_network(hub_cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    put_in_cache(hub_cache, DEFAULT_BASE)
    base = choose_base("auto")
    assert (base.source, base.model_id, base.revision) == ("cache", DEFAULT_BASE, "a" * 40)


def test_half_a_download_is_not_taken_for_a_model(hub_cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    snapshot = put_in_cache(hub_cache, DEFAULT_BASE)
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "model-1.safetensors"}}))
    assert choose_base("auto").source == "embedded"


def test_a_folder_is_taken_as_it_is(tiny_base):
    base = choose_base(str(tiny_base))
    assert base.source == "folder" and fetch_base(base) == tiny_base


@pytest.mark.parametrize(
    ("config", "words"),
    [(None, "no readable config.json"), ({"model_type": "gpt2"}, "gpt2"), ({"model_type": "llama"}, "safetensors")],
)
def test_a_folder_that_is_no_llama_in_safetensors_is_refused(tmp_path, config, words):
    if config:
        (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(UserError, match=words):
        check_folder(tmp_path)


@pytest.mark.parametrize("name", ["no such thing", "a/b/c", "../no-such-folder", "x" * 200])
def test_what_is_neither_folder_nor_id_is_refused_with_a_sentence(name):
    with pytest.raises(UserError, match="neither a folder on this machine nor a Hugging Face ID"):
        choose_base(name)
