"""The library shows whole adapters of one owner, and nothing else."""

import pytest

from adapters.library import find_adapter, list_adapters, read_adapter
from common.errors import UserError
from common.files import write_json
from common.paths import adapters_folder
from models.embedded import HUB_ID


def put(name: str, owner: str = "local", created: float = 1.0, source: str = "hub"):
    folder = adapters_folder(owner) / name
    folder.mkdir(parents=True)
    base = HUB_ID if source == "embedded" else "a/b"
    write_json(folder / "adapter_config.json", {"base_model_name_or_path": base, "revision": "c", "r": 8})
    (folder / "adapter_model.safetensors").write_bytes(b"")
    write_json(folder / "metrics.json", {"created": created, "base_source": source})
    return folder


def test_adapters_are_listed_newest_first_for_their_owner_only():
    put("old", created=1.0)
    put("new", created=2.0)
    put("hers", owner="alice")
    assert [adapter.name for adapter in list_adapters()] == ["new", "old"]
    assert [adapter.name for adapter in list_adapters("alice")] == ["hers"]


def test_half_an_adapter_is_not_shown():
    put("whole")
    put("going.partial")
    put("going.old")
    (put("no-weights") / "adapter_model.safetensors").unlink()
    (put("no-config") / "adapter_config.json").write_text("{")
    assert [adapter.name for adapter in list_adapters()] == ["whole"]


def test_an_adapter_of_someone_else_is_not_found():
    put("hers", owner="alice")
    for name in ("hers", "../alice/hers", "..", ""):
        with pytest.raises(UserError):
            find_adapter(name, "bob")


def test_an_adapter_knows_the_base_it_needs():
    adapter = read_adapter(put("x"))
    assert (adapter.base_choice, adapter.base_revision, adapter.lora_r) == ("a/b", "c", 8)
    assert read_adapter(put("y", source="embedded")).base_choice == "embedded"
