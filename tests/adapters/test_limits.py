"""What one visitor may bring to a Space: so many adapters, so many bytes, and bases that fit it."""

import json
import shutil

import pytest

from adapters.edit import delete_adapter
from adapters.intake import import_adapter
from adapters.pull import look, pull
from common.errors import UserError
from common.files import folder_bytes
from common.paths import trash_folder
from common.trash import list_trash
from models.base import choose_base, fetch_base
from tests.adapters.making import put


@pytest.fixture(autouse=True)
def space(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "owner/space")


def base_on(hub, tiny_base, name: str, **values) -> None:
    """A base on the Hub whose config.json says something else."""
    config = json.loads((tiny_base / "config.json").read_text()) | values
    hub.add(name, {"config.json": json.dumps(config).encode(), "model.safetensors": b"x" * 5000})


def adapter_of(made, folder, base: str):
    """A copy of the adapter that names another base."""
    shutil.copytree(made, folder)
    config = json.loads((made / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base}))
    return folder


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model_type": "gpt2"}, "is of the architecture gpt2"),
        ({"hidden_size": "64"}, "is damaged"),
        ({"num_hidden_layers": 0}, "is damaged"),
    ],
)
def test_a_base_that_is_no_llama_is_refused_at_the_look_and_at_the_import(
    hub, made, tiny_base, tmp_path, values, words
):
    base_on(hub, tiny_base, "other/base", **values)
    copy = adapter_of(made, tmp_path / "copy", "other/base")
    hub.add("alice/mine", copy)
    with pytest.raises(UserError, match=words):
        look("alice/mine", False)
    with pytest.raises(UserError, match=words):
        import_adapter(copy)


def test_shapes_are_compared_with_a_base_that_is_only_on_the_hub(hub, made, tiny_base, tmp_path):
    base_on(hub, tiny_base, "other/base", hidden_size=128)
    with pytest.raises(UserError, match="does not fit its base"):
        import_adapter(adapter_of(made, tmp_path / "copy", "other/base"))
    assert import_adapter(made).notes == [], "tests/tiny-base is on the Hub too"


def test_a_base_larger_than_the_space_allows_is_not_downloaded(hub, monkeypatch):
    base = choose_base("tests/tiny-base")
    assert base.source == "hub"
    monkeypatch.setenv("STUDIO_MAX_BASE_BYTES", "1000000")
    with pytest.raises(UserError, match=r"tests/tiny-base is 0\.0 GB; at most 0\.0 GB are allowed here"):
        fetch_base(base)
    assert not hub.sent("GET", ".safetensors"), "its config.json alone was looked at"
    monkeypatch.setenv("STUDIO_MAX_BASE_BYTES", "0")
    assert (fetch_base(base) / "model.safetensors").is_file()


def test_an_owner_keeps_only_so_many_adapters(hub, made, monkeypatch):
    hub.add("alice/mine", made)
    offer = look("alice/mine", False)
    put("first", made, "guest")
    for variable, most, words in [
        ("STUDIO_MAX_ADAPTERS_PER_USER", "1", "You have 1 adapters; at most 1"),
        ("STUDIO_MAX_ADAPTER_BYTES_PER_USER", str(offer.size_bytes), "Your adapters would take"),
    ]:
        monkeypatch.setenv(variable, most)
        with pytest.raises(UserError, match=words):
            import_adapter(made, owner="guest")
        with pytest.raises(UserError, match=words):
            pull(offer, False, "guest")
        monkeypatch.delenv(variable)
    assert pull(offer, False, "guest").adapter.name == "mine", "the defaults leave room"


def test_all_guests_together_keep_only_so_much(made, tmp_path, monkeypatch):
    from common.paths import GUEST_PREFIX
    from runs.disk import check_disk

    put("mine", made, f"{GUEST_PREFIX}one")
    monkeypatch.setenv("STUDIO_MAX_GUEST_BYTES", "1000")
    with pytest.raises(UserError, match="All guests together"):
        import_adapter(made, owner=f"{GUEST_PREFIX}two")
    with pytest.raises(UserError, match="All guests together"):
        check_disk(f"{GUEST_PREFIX}two", 0)
    assert import_adapter(made, owner="user-ann").adapter.name == "made"
    check_disk("user-ann", 0)


def test_what_was_deleted_makes_room_for_what_comes(made, monkeypatch):
    size = import_adapter(made, "one").adapter.size_bytes
    monkeypatch.setenv("STUDIO_MAX_ADAPTER_BYTES_PER_USER", str(int(size * 2.5)))
    for _ in range(4):
        delete_adapter("one")
        import_adapter(made, "one")
    assert len(list_trash(trash_folder())) <= 1
    assert folder_bytes(trash_folder()) < 2 * size
