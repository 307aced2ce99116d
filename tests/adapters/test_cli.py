"""The command line does what the page does: list, show, import, export, push, pull, search, rename, note, delete."""

import json

import pytest

from adapters.__main__ import main
from adapters.library import find_adapter
from common.files import write_json
from common.paths import adapters_folder
from tests.adapters.making import put


def said(capsys, *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_an_adapter_goes_out_as_a_zip_and_comes_back(made, tmp_path, capsys):
    put("mine", made)
    archive = tmp_path / "out.zip"
    assert said(capsys, "export", "mine", "--to", str(archive)).strip() == str(archive)
    assert "Imported as again." in said(capsys, "import", str(archive), "--name", "again")
    listed = said(capsys, "list")
    assert "mine" in listed and "again" in listed and "2.500 -> 1.250" in listed
    assert "imported from out.zip" in said(capsys, "show", "again") and "again" not in said(
        capsys, "list", "mine", "nothing"
    )


def test_a_loss_that_nobody_measured_is_not_shown_as_zero(made, capsys):
    folder = put("mine", made)
    metrics = json.loads((folder / "metrics.json").read_text())
    write_json(folder / "metrics.json", {**metrics, "loss_before": None})
    assert "0.000" not in said(capsys, "list") and "1.250" in said(capsys, "list")


def test_rename_note_delete_and_undo(made, capsys):
    put("mine", made)
    assert said(capsys, "rename", "mine", "Better Name").strip() == "better-name"
    said(capsys, "note", "better-name", "for grandma")
    assert "for grandma" in said(capsys, "show", "better-name")
    assert "--undo" in said(capsys, "delete", "better-name")
    assert "better-name is back." in said(capsys, "delete", "better-name", "--undo")


def test_push_pull_and_search(hub, made, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.alice)
    put("mine", made)
    told = said(capsys, "push", "mine")
    assert (
        "Signed in as alice" in told and "private repository alice/mine" in told and told.strip().endswith("alice/mine")
    )
    assert "Pulled as mine-2." in said(capsys, "pull", "alice/mine")
    assert "alice/mine" in said(capsys, "search", "--mine")
    put("other", made)
    assert main(["push", "other", "--repo", "mine", "--license", "mit"]) == 1 and "--yes" in capsys.readouterr().err
    assert main(["push", "other", "--repo", "mine", "--license", "mit", "--yes"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "nothing"], "There is no adapter 'nothing'"),
        (["import", "/nowhere"], "is not there"),
        (["pull", "alice/nothing"], "or it is private"),
        (["push", "mine"], "Nobody is signed in to the Hub. Run `hf auth login`"),
        (["delete", "../mine"], "not a valid name"),
    ],
)
def test_what_does_not_work_is_a_sentence_on_stderr(hub, made, capsys, arguments, words):
    put("mine", made)
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert words in captured.err and captured.out == "" and find_adapter("mine").folder.parent == adapters_folder()


@pytest.mark.slow
def test_what_was_pulled_chats(hub, made, tiny_base):
    from adapters.hub import account_of
    from adapters.parcel import Wish
    from adapters.pull import look, pull
    from adapters.push import push_adapter
    from chat.engine import Engine, Model, Sampling

    put("mine", made)
    push_adapter(find_adapter("mine"), account_of(hub.alice), Wish())
    pulled = pull(look("alice/mine", hub.alice), hub.alice, "user-alice", "mine").adapter
    engine, greedy, said = Engine(), Sampling(max_new_tokens=8), [{"role": "user", "content": "Hi"}]
    replies = {}
    for name, folder in [("base", None), ("pulled", pulled.folder), ("made", find_adapter("mine").folder)]:
        replies[name] = list(engine.reply(Model(tiny_base, "fp32", folder), said, greedy))[-1].text
    assert replies["pulled"] == replies["made"] != replies["base"]
