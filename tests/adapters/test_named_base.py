"""An adapter whose base cannot be had: said at the look, before the download, and cured by naming the base."""

import json
from types import SimpleNamespace

import pytest

from adapters.__main__ import main
from adapters.facts import facts_of
from adapters.intake import import_adapter
from adapters.library import find_adapter
from adapters.package import PushOptions, export_zip
from adapters.pull import look, pull
from adapters.push import push_adapter
from common.errors import UserError
from common.files import read_object, write_json
from common.paths import adapters_folder
from models.base import choose_base
from models.hub.client import account_of
from tests.adapters.making import put
from ui.adapters.get import on_base, on_look

GPTQ = {"quant_method": "gptq", "bits": 4}
# of an adapter_config.json: (base, revision), what is said of it, and what is proposed
UNKNOWN = {
    "a path": (("/content/x", None), "'/content/x', a path of another machine", ""),
    "a relative path": (("./model", None), "'./model', a path of another machine", ""),
    "a path of Windows": (("C:\\models\\x", None), "a path of another machine", ""),
    "a path under home": (("~/models/x", None), "a path of another machine", ""),
    "a name": (("my-model", None), "'my-model', which is not a Hugging Face ID", ""),
    "nothing": ((None, None), "which is not a Hugging Face ID", ""),
    "a path like an id": (("output/model", None), "output/model is not on the Hugging Face Hub, or it is private", ""),
    "a revision": (
        ("tests/tiny-base", "unsloth"),
        "revision 'unsloth' of its base tests/tiny-base",
        "tests/tiny-base",
    ),
    "a commit": (
        ("tests/tiny-base", "a" * 40),
        "the revision 'aaa.*Name tests/tiny-base without a revision",
        "tests/tiny-base",
    ),
    "GPTQ": (("tests/tiny-base-GPTQ", None), r"quantised already \(GPTQ, 4-bit\)", "tests/tiny-base"),
}


@pytest.fixture(params=UNKNOWN)
def unknown(request, hub, copy, tiny_base):
    """An adapter on the Hub, and in a folder, whose base cannot be had, and what is to be said of it."""
    config = read_object(tiny_base / "config.json")
    hub.add("tests/tiny-base-GPTQ", {"config.json": json.dumps({**config, "quantization_config": GPTQ}).encode()})
    (base, revision), words, proposal = UNKNOWN[request.param]
    values = read_object(copy / "adapter_config.json")
    write_json(copy / "adapter_config.json", {**values, "base_model_name_or_path": base, "revision": revision})
    hub.add("carol/odd", copy)
    return SimpleNamespace(folder=copy, base=base, revision=revision, words=words, proposal=proposal)


def test_it_is_said_before_the_download_with_what_may_be_named_instead(hub, unknown):
    offer = look("carol/odd", hub.bob)
    assert offer.found.proposal == unknown.proposal and offer.base == "" and "rank 4" in offer.sentence()
    for work in (lambda: pull(offer, hub.bob), lambda: import_adapter(unknown.folder)):
        with pytest.raises(UserError, match=rf"{unknown.words}.*--base"):
            work()
    assert not hub.sent("GET", ".safetensors") and not list(adapters_folder().glob("*"))


def test_the_base_that_is_named_is_taken_and_written_where_peft_reads_it(hub, unknown, tmp_path):
    pulled = pull(look("carol/odd", hub.bob, base="tests/tiny-base"), hub.bob).adapter
    imported = import_adapter(unknown.folder, base=f"tests/tiny-base@{hub.commit('tests/tiny-base')}").adapter
    assert (pulled.base_revision, imported.base_revision) == (None, hub.commit("tests/tiny-base"))
    for adapter in (pulled, imported):
        assert adapter.base == "tests/tiny-base" and choose_base(adapter.base_choice, adapter.base_revision)
        assert adapter.record["base_in_files"] == {"base": unknown.base, "revision": unknown.revision}
        assert str(unknown.base) in dict(facts_of(adapter))["Base in its files"]
    pushed = push_adapter(pulled, account_of(hub.bob), PushOptions("again"))
    sent = b"".join(hub.repositories[pushed.repo_id].files.values())
    assert unknown.base in (None, "tests/tiny-base", "tests/tiny-base-GPTQ") or unknown.base.encode() not in sent
    assert export_zip(pulled, tmp_path / "out.zip").exists()


def test_a_base_that_does_not_fit_is_refused_by_its_shapes(hub, unknown, tiny_base):
    config = {**read_object(tiny_base / "config.json"), "hidden_size": 128}
    hub.add("tests/wide", {"config.json": json.dumps(config).encode()})
    for work in (
        lambda: pull(look("carol/odd", hub.bob, base="tests/wide"), hub.bob),
        lambda: import_adapter(unknown.folder, base="tests/wide"),
    ):
        with pytest.raises(UserError, match="does not fit its base"):
            work()
    assert not [path for path in adapters_folder().glob("*") if path.is_dir()]


def test_a_named_base_that_cannot_be_had_either_is_said(hub, unknown):
    for base, words in [
        ("tests/nothing", "is not on the Hugging Face Hub"),
        ("tests/tiny-base@gone", "revision 'gone'"),
    ]:
        offer = look("carol/odd", hub.bob, base=base)
        with pytest.raises(UserError, match=words):
            pull(offer, hub.bob)


def test_the_command_line_names_it(hub, unknown, tiny_base, capsys):
    assert main(["pull", "carol/odd"]) == 1 and "--base" in capsys.readouterr().err
    assert main(["pull", "carol/odd", "--base", "tests/tiny-base", "--name", "one"]) == 0
    assert main(["import", str(unknown.folder), "--base", str(tiny_base), "--name", "two"]) == 0
    assert find_adapter("one").base == "tests/tiny-base" and find_adapter("two").base == str(tiny_base)


def test_the_page_shows_a_field_for_it_with_the_proposal_and_pulls_after_it_was_named(hub, unknown, monkeypatch):
    monkeypatch.setattr("ui.adapters.get.owner_of", lambda key, token: "local")
    words, offer, button, _, row, box = on_look(None, "", "carol/odd", "")
    assert "class='problem'" in words and not button.interactive and row.visible and box.value == unknown.proposal
    words, offer, button, _, row, _ = on_base(None, "", offer, "tests/tiny-base")
    assert "for tests/tiny-base" in words and button.interactive and not row.visible
    assert pull(offer, False).adapter.base == "tests/tiny-base"


def test_a_revision_that_the_hub_has_is_kept_and_a_hub_out_of_reach_stops_no_import(hub, copy):
    commit, values = hub.commit("tests/tiny-base"), read_object(copy / "adapter_config.json")
    write_json(copy / "adapter_config.json", {**values, "revision": commit})
    hub.add("carol/fine", copy)
    adapter = pull(look("carol/fine", hub.bob), hub.bob).adapter
    assert (adapter.base_revision, adapter.record.get("base_in_files")) == (commit, None)
    hub.fail("GET", "/api/models/tests/tiny-base", 500, times=99)
    assert "is not on this machine" in import_adapter(copy, "again").notes[0]


def test_an_adapter_of_a_base_in_4_bits_is_pulled_and_its_offer_says_so(hub, copy, tiny_base):
    config = {**read_object(tiny_base / "config.json"), "quantization_config": {"load_in_4bit": True}}
    hub.add("unsloth/x-bnb-4bit", {"config.json": json.dumps(config).encode()})
    values = read_object(copy / "adapter_config.json")
    write_json(copy / "adapter_config.json", {**values, "base_model_name_or_path": "unsloth/x-bnb-4bit"})
    hub.add("carol/four", copy)
    offer = look("carol/four", hub.bob)
    assert "Its base's weights are 4-bit." in offer.sentence()
    assert pull(offer, hub.bob).adapter.base == "unsloth/x-bnb-4bit"


def test_a_folder_of_the_server_is_named_by_nobody_elses_file(hub, copy, tiny_base, monkeypatch):
    values = read_object(copy / "adapter_config.json")
    write_json(copy / "adapter_config.json", {**values, "base_model_name_or_path": str(tiny_base)})
    hub.add("carol/path", copy)
    with pytest.raises(UserError, match="a path of another machine"):
        pull(look("carol/path", hub.bob), hub.bob)
    put("mine", copy)
    assert import_adapter(copy, "own").adapter.base == str(tiny_base)
    monkeypatch.setenv("SPACE_ID", "a/b")
    with pytest.raises(UserError, match="a path of another machine"):
        import_adapter(copy, "again")
