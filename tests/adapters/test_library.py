"""The library shows whole adapters of one owner, and nothing else."""

import os
import time

import pytest

from adapters.edit import rename_adapter, set_notes
from adapters.library import adapter_names, find_adapter, list_adapters, read_adapter, read_some, update_record
from common.errors import UserError
from common.files import write_json
from common.paths import LOCAL_OWNER, adapters_folder, runs_folder
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


def test_the_newest_are_read_alone_and_what_is_broken_takes_no_place():
    for number in range(6):
        put(f"a-{number}", created=number + 1.0)
    (put("broken", created=9.0) / "adapter_config.json").write_text("{")
    assert [adapter.name for adapter in read_some(adapter_names(), LOCAL_OWNER, most=2)] == ["a-5", "a-4"]
    assert adapter_names()[:2] == ["broken", "a-5"] and adapter_names("alice") == []


def test_a_search_sees_every_change_at_once():
    folder = put("poems")
    age(folder)
    assert adapter_names(words="poems A/B") == ["poems"] and adapter_names(words="verses") == []
    update_record(folder, notes="Verses", pushed=[{"repo_id": "alice/on-the-hub"}])
    assert adapter_names(words="verses hub") == ["poems"]
    (folder / "training_config.yaml").write_text("data: data/rows.csv\n")
    assert adapter_names(words="rows.csv") == []
    (folder / "training_config.yaml").write_text("data: 'study coach'\n")
    assert adapter_names(words="coach") == ["poems"]
    (folder / "adapter_model.safetensors").unlink()
    assert adapter_names() == []


def test_an_adapter_is_found_by_a_former_name_at_once():
    folder = put("new-name")
    age(folder)
    with pytest.raises(UserError, match="There is no adapter 'old-name'"):
        find_adapter("old-name")
    update_record(folder, former_names=["old-name"])
    assert find_adapter("old-name").name == "new-name"


def test_a_name_is_kept_as_it_was_typed_and_its_folder_has_a_plain_one():
    put("run-1")
    put("other")
    renamed = rename_adapter("run-1", "  공부 코치 ")
    assert (renamed.title, renamed.name) == ("공부 코치", "gongbu-koci")
    assert {find_adapter(name).name for name in ("run-1", "gongbu-koci", "공부 코치")} == {"gongbu-koci"}
    assert adapter_names(words="코치") == ["gongbu-koci"]
    assert (rename_adapter("gongbu-koci", "공부-코치!").title, find_adapter("gongbu-koci").name) == (
        "공부-코치!",
        "gongbu-koci",
    )
    for name in ("", " \n", "공부-코치!"):
        with pytest.raises(UserError, match=r"name is empty|already an adapter named"):
            rename_adapter("other", name)


def test_another_of_the_same_folder_name_gets_a_number_and_keeps_its_title():
    put("run")
    put("second")
    assert [(rename_adapter("second", "学习").title, find_adapter("second").name)] == [("学习", "run-2")]


def test_an_adapter_has_the_title_of_its_training_until_it_is_renamed():
    folder = put("gongbu-koci-2")
    write_json(folder / "metrics.json", {"created": 1.0, "title": "공부 코치"})
    assert find_adapter("gongbu-koci-2").title == "공부 코치"
    assert rename_adapter("gongbu-koci-2", "Coach").title == "Coach"


def test_one_without_a_date_is_as_old_as_its_folder():
    for name in ("older", "newer"):
        folder = put(name, created=0.0)
        age(folder, 3600 if name == "older" else 10)
    assert adapter_names() == ["newer", "older"]
    age(adapters_folder() / "newer", 7200)
    assert adapter_names() == ["older", "newer"]


def age(folder, seconds: float = 3600) -> None:
    """As if all of it had been written so long ago, so that it is remembered."""
    for path in [*folder.iterdir(), folder]:
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_an_adapter_can_have_the_name_of_its_own_run_again():
    folder = put("first", created=1.79e9)
    (runs_folder() / "first").mkdir(parents=True)
    (runs_folder() / "first" / "config.yaml").write_text("name: first\n")
    os.utime(runs_folder() / "first" / "config.yaml", (1e9, 1e9))
    rename_adapter("first", "second")
    assert rename_adapter("second", "first").folder == folder
    rename_adapter("first", "second")
    os.utime(runs_folder() / "first" / "config.yaml", (1.9e9, 1.9e9))  # a newer run, which will make an adapter
    assert rename_adapter("second", "first").name == "first-2", "the newer run keeps its name"


def test_a_note_does_not_make_an_adapter_newer():
    folder = put("old", created=0.0)
    write_json(folder / "studio.json", {"origin": {"kind": "imported", "from": "x.zip", "time": 5.0}})
    set_notes("old", "a note")
    assert find_adapter("old").created == 5.0
