"""Folders and zips that come from elsewhere: in whole or not at all, under a name that is free."""

import json
import os
import zipfile

import pytest

from adapters.intake import import_adapter
from adapters.library import find_adapter
from adapters.package import export_zip
from common.errors import UserError
from common.paths import adapters_folder
from tests.adapters.hostile import change, refused, zipped


def test_a_folder_and_a_zip_of_it_come_in_byte_identical(made, tmp_path):
    assert import_adapter(made, "first").adapter.name == "first"
    archive = export_zip(find_adapter("first"), tmp_path / "first.zip")
    again = import_adapter(archive).adapter
    assert again.name == "first-2" and again.origin.source == "first.zip"
    for path in made.iterdir():
        if path.name != "training_config.yaml":
            assert (again.folder / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_zip_brings_the_title_along(made, tmp_path):
    first = import_adapter(made, "공부 코치").adapter
    assert (first.title, first.name) == ("공부 코치", "gongbu-koci")
    again = import_adapter(export_zip(first, tmp_path / "some.zip")).adapter
    assert (again.title, again.name) == ("공부 코치", "some")
    assert import_adapter(made, "공부 코치").adapter.title == "공부 코치-2"


def test_a_zip_tells_no_words_of_its_owner_and_is_looked_through(copy, tmp_path):
    words = "data: /home/alice/diary.jsonl\nsample_prompts: secret words\ndata_split: hers\nunknown: hers\nlora_r: 4\n"
    (copy / "training_config.yaml").write_text(words)
    adapter = import_adapter(copy, "mine").adapter
    with zipfile.ZipFile(export_zip(adapter, tmp_path / "out.zip")) as archive:
        assert archive.read("mine/training_config.yaml") == b"lora_r: 4\n"
        assert "mine/studio.json" not in archive.namelist()
    with pytest.raises(UserError, match="already exists"):
        export_zip(adapter, tmp_path / "out.zip")
    (adapter.folder / "README.md").write_text("hf_abcdefghijklmnopqrstuvwxyzABCD")
    with pytest.raises(UserError, match="a Hugging Face token"):
        export_zip(adapter, tmp_path / "other.zip")
    assert [path.name for path in tmp_path.glob("*.zip")] == ["out.zip"] and not list(tmp_path.glob(".packing*"))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_with_damaged_bytes_is_a_sentence(tmp_path, method):
    path = tmp_path / "some.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a/adapter_config.json", json.dumps({"a": list(range(500))}))
    good = path.read_bytes()
    for place in range(51, 60):  # the first bytes after the local header
        path.write_bytes(good[:place] + b"\xff" * 30 + good[place + 30 :])
        refused(path, "damaged|There is no")


def test_a_zip_with_a_name_that_is_no_text_is_a_sentence(tmp_path):
    path = zipped(tmp_path, ("a/ädapter_config.json", b"{}"), ("a/adapter_config.json", b"{}"))
    path.write_bytes(path.read_bytes().replace("ä".encode(), b"\xff\xff"))
    refused(path, "damaged")


def test_two_imports_of_one_name_at_once_both_come_in(made, monkeypatch):
    from adapters import intake

    real, calls = intake.free_name, []

    def slow(wanted, *folders):  # the second to ask learns of the first too late
        calls.append(real(wanted, *folders))
        if len(calls) == 1:
            (folders[0] / f"{wanted}.partial").mkdir()
        return calls[-1]

    monkeypatch.setattr(intake, "free_name", slow)
    assert import_adapter(made, "same").adapter.name == "same-2"


def test_what_a_killed_import_left_goes_after_an_hour_and_not_before(made):
    from common.paths import home

    leftovers = [adapters_folder() / "old.partial", adapters_folder() / "new.partial", home() / "tmpold"]
    for folder in leftovers:
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(b"x")
        if "new" not in folder.name:
            os.utime(folder / "part", (1e9, 1e9))
            os.utime(folder, (1e9, 1e9))
    import_adapter(made, "some")
    assert [folder.name for folder in leftovers if folder.exists()] == ["new.partial"]


def test_what_does_not_belong_to_an_adapter_is_left_out(copy):
    (copy / "training_args.bin").write_bytes(b"\x80\x02")
    (copy / "evil.py").write_text("import os")
    imported = import_adapter(copy)
    assert imported.notes[0] == "2 other files were left out: evil.py, training_args.bin."
    assert not (imported.adapter.folder / "evil.py").exists()


def test_weights_that_can_run_code_are_refused(copy):
    (copy / "adapter_model.safetensors").rename(copy / "adapter_model.bin")
    refused(copy, r"adapter_model\.bin, which can run code")


def test_an_adapter_of_another_base_is_refused(copy):
    change(copy, "adapter_config.json", base_model_name_or_path="TinyLlama/TinyLlama-1.1B-Chat-v1.0")
    refused(copy, r"does not fit its base: \w+ of layer \d goes from \d+ to")


def test_an_adapter_that_names_a_path_needs_to_be_told_its_base(copy, tiny_base):
    change(copy, "adapter_config.json", base_model_name_or_path="/home/somebody/models/tiny")
    refused(copy, "of another machine")
    assert import_adapter(copy, base="tests/tiny-base").adapter.base == "tests/tiny-base"
    assert import_adapter(copy, base=str(tiny_base)).notes == []


@pytest.mark.parametrize("name", ["../evil.py", "/etc/cron.d/evil", "a/../../evil", "..\\evil", "C:/evil"])
def test_a_zip_that_leads_out_is_refused(tmp_path, name):
    refused(zipped(tmp_path, (name, b"x"), ("a/adapter_config.json", b"{}")), "leads outside it")


def test_a_link_in_a_zip_or_a_folder_is_refused(copy, tmp_path):
    link = zipfile.ZipInfo("a/adapter_config.json")
    link.external_attr = 0o120777 << 16
    refused(zipped(tmp_path, (link, b"/etc/passwd")), "is a link")
    (copy / "adapter_config.json").unlink()
    (copy / "adapter_config.json").symlink_to("/etc/passwd")
    refused(copy, "is a link")


def test_two_adapters_or_none_in_a_zip_are_a_sentence(tmp_path):
    refused(zipped(tmp_path, ("x.txt", b"")), "holds no adapter")
    refused(zipped(tmp_path, ("a/adapter_config.json", b""), ("b/adapter_config.json", b"")), "holds 2 adapters")
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04")
    refused(tmp_path / "no.zip", "not a zip")


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "<img src=x onerror=alert(1)>", "a" * 300, "..", "\x00"])
def test_a_hostile_name_becomes_a_plain_one(made, name):
    adapter = import_adapter(made, name).adapter
    assert adapter.folder.parent == adapters_folder() and set(adapter.name) <= set(
        "abcdefghijklmnopqrstuvwxyz0123456789-"
    )
