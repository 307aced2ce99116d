"""An adapter that was trained on a folder is pushed once its owner says which model of the Hub that is, and it is that one."""

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from adapters.__main__ import main
from adapters.hub_base import name_hub_base
from adapters.library import find_adapter
from adapters.package import PushOptions
from adapters.push import plan_push, push_adapter
from common.errors import UserError
from common.files import read_object, write_json
from models.hub.client import account_of
from tests.adapters.making import put
from ui.adapters.push import on_folder_base, on_hub_base

FOLDER = "TinyLlama of anna"


@pytest.fixture
def folder(tiny_base, tmp_path):
    """A copy of the Hub's tests/tiny-base that lies on this machine."""
    return shutil.copytree(tiny_base, tmp_path / FOLDER)


@pytest.fixture
def mine(hub, made, folder):
    """An adapter in the library that was trained on the folder; the Hub keeps its weights by LFS."""
    hub.repositories["tests/tiny-base"].lfs.add("model.safetensors")
    mine = put("mine", made)
    config, metrics = (read_object(mine / name) for name in ("adapter_config.json", "metrics.json"))
    write_json(mine / "adapter_config.json", {**config, "base_model_name_or_path": str(folder)})
    write_json(mine / "metrics.json", {**metrics, "base": str(folder), "base_source": "folder"})
    return find_adapter("mine")


def split(folder, dtype=torch.float32) -> None:
    """Write the weights of `folder` into two files, in another dtype."""
    weights = {name: value.to(dtype) for name, value in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    names, map_of = sorted(weights), {}
    for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, folder / file, metadata={"format": "pt"})
        map_of |= dict.fromkeys(part, file)
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": map_of})


def test_nothing_is_pushed_before_it_is_said(hub, mine):
    with pytest.raises(UserError, match=r"a folder on this machine.*--base"):
        plan_push(mine, account_of(hub.alice), PushOptions())


def test_the_same_bytes_are_sent_as_an_adapter_of_the_model_at_its_commit(hub, mine, folder):
    found = name_hub_base(mine, "tests/tiny-base", hub.alice)
    assert found.is_same and "byte for byte" in found.sentence()
    pushed = push_adapter(find_adapter("mine"), account_of(hub.alice), PushOptions())
    files = hub.repositories[pushed.repo_id].files
    config, card = json.loads(files["adapter_config.json"]), files["README.md"].decode()
    assert (config["base_model_name_or_path"], config["revision"]) == ("tests/tiny-base", hub.commit("tests/tiny-base"))
    assert "base_model: tests/tiny-base\n" in card and "not compared" not in card
    assert FOLDER.encode() not in b"".join(files.values())
    assert find_adapter("mine").base == str(folder), "here it stays on its folder"
    assert not push_adapter(find_adapter("mine"), account_of(hub.alice), PushOptions()).changed


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_in_other_files_are_compared_by_config_and_shapes_and_the_card_says_so(hub, mine, folder, dtype):
    split(folder, dtype)
    found = name_hub_base(mine, "tests/tiny-base@main", hub.alice)
    assert not found.is_same and "the numbers themselves were not compared" in found.sentence()
    pushed = push_adapter(find_adapter("mine"), account_of(hub.alice), PushOptions())
    assert "were not compared" in hub.repositories[pushed.repo_id].files["README.md"].decode()


def trained_further(folder) -> None:
    """Change one weight of the folder."""
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def renamed(folder) -> None:
    """Write the weights anew, one of them of another shape."""
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.zeros(3)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def resized(folder) -> None:
    """Write another size into the config.json, and the weights anew."""
    split(folder)
    write_json(folder / "config.json", {**read_object(folder / "config.json"), "num_key_value_heads": 4})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (trained_further, "model.safetensors differs"),
        (renamed, "model.norm.weight has another shape"),
        (resized, "sizes in config.json differ"),
        (shutil.rmtree, "is gone"),
    ],
)
def test_a_folder_that_is_another_model_is_refused(hub, mine, folder, spoil, words):
    spoil(folder)
    with pytest.raises(UserError, match=words):
        name_hub_base(mine, "tests/tiny-base", hub.alice)
    assert "hub_base" not in find_adapter("mine").record
    with pytest.raises(UserError, match="a folder on this machine"):
        plan_push(find_adapter("mine"), account_of(hub.alice), PushOptions())


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("tests/nothing", "There is no 'tests/nothing'"),
        ("/etc", "is not the name of a repository"),
        ("alice/pickle", "no safetensors weights"),
    ],
)
def test_what_is_no_model_on_the_hub_is_a_sentence(hub, mine, wanted, words):
    hub.add("alice/pickle", {"pytorch_model.bin": b"x"})
    with pytest.raises(UserError, match=words):
        name_hub_base(mine, wanted, hub.alice)


def test_an_adapter_of_the_hubs_base_needs_no_word(hub, made):
    put("plain", made)
    with pytest.raises(UserError, match="is on the Hub already: tests/tiny-base"):
        name_hub_base(find_adapter("plain"), "tests/tiny-base", hub.alice)


def test_the_command_line_and_the_page_say_it(hub, mine, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", hub.alice)
    assert main(["push", "mine"]) == 1 and "--base" in capsys.readouterr().err
    monkeypatch.setattr("ui.adapters.push.owner_of", lambda key, token: "local")
    row, _ = on_folder_base(None, "", "mine")
    token, progress = SimpleNamespace(token=hub.alice), lambda fraction, desc: None
    words, agreed, button = on_hub_base(token, "", "mine", "tests/tiny-base", progress)
    assert row.visible and "byte for byte" in words and agreed is None and not button.interactive
    assert on_folder_base(None, "", "mine")[1] == "tests/tiny-base"
    assert main(["push", "mine", "--base", "tests/tiny-base"]) == 0
    assert "byte for byte" in capsys.readouterr().out and "alice/mine" in hub.repositories


def test_an_index_that_fills_the_disk_is_not_downloaded(hub, mine, folder):
    split(folder)
    config = (folder / "config.json").read_bytes()
    index = {"model.safetensors.index.json": b" " * 11_000_000, "model-00001-of-00001.safetensors": b"x"}
    hub.add("evil/base", {"config.json": config, **index})
    with pytest.raises(UserError, match="cannot be read"):
        name_hub_base(mine, "evil/base", hub.alice)
    assert not hub.sent("GET", "index.json")
