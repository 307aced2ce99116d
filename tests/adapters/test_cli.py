"""The command line does what the page does: list, show, import, export, push, pull, search, rename, note, delete."""

import json
import shutil
from itertools import pairwise

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
    assert "Imported as 'again'." in said(capsys, "import", str(archive), "--name", "again")
    listed = said(capsys, "list")
    assert "mine" in listed and "again" in listed and "2.500 → 1.250" in listed
    assert "imported from out.zip" in said(capsys, "show", "again")
    assert said(capsys, "list", "mine", "nothing") == ""


def test_a_loss_that_nobody_measured_is_not_shown_as_zero(made, capsys):
    folder = put("mine", made)
    metrics = json.loads((folder / "metrics.json").read_text())
    write_json(folder / "metrics.json", {**metrics, "loss_before": None})
    assert "0.000" not in said(capsys, "list") and "1.250" in said(capsys, "list")


def test_rename_note_delete_and_undo(made, capsys):
    put("mine", made)
    assert said(capsys, "rename", "mine", "Better Name").strip() == "Renamed to 'Better Name' (folder better-name)."
    said(capsys, "note", "better-name", "for grandma")
    assert "for grandma" in said(capsys, "show", "better-name")
    assert "--undo" in said(capsys, "delete", "better-name")
    assert "Restored 'Better Name'." in said(capsys, "delete", "better-name", "--undo")


def test_a_chat_template_is_chosen(made, tmp_path, capsys):
    folder = shutil.copytree(made, tmp_path / "odd")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert "not known here" in said(capsys, "import", str(folder))
    assert said(capsys, "template", "odd", "chatml").strip() == "Chat template: ChatML (chosen)."
    assert "its own, in a separate process (chosen)" in said(capsys, "template", "odd", "own")
    assert "its own, in a separate process (chosen)" in said(capsys, "show", "odd")
    (adapters_folder() / "odd" / "chat_template.jinja").write_text("{{ messages }}!")
    assert "unknown: choose one" in said(capsys, "show", "odd")


def test_push_pull_and_search(hub, made, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.alice)
    put("mine", made)
    told = said(capsys, "push", "mine")
    assert "Signed in as alice" in told and "Creates alice/mine (private)" in told
    assert told.strip().endswith("alice/mine")
    assert "Downloaded as 'mine-2'." in said(capsys, "pull", "alice/mine")
    assert "alice/mine" in said(capsys, "search", "--mine")
    put("other", made)
    assert main(["push", "other", "--repo", "mine", "--license", "mit"]) == 1 and "--yes" in capsys.readouterr().err
    assert main(["push", "other", "--repo", "mine", "--license", "mit", "--yes"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "nothing"], "There is no adapter 'nothing'"),
        (["import", "/nowhere"], "There is no 'nowhere'"),
        (["pull", "alice/nothing"], "or it is private"),
        (["push", "mine"], "You are not signed in to Hugging Face. Run `hf auth login`"),
        (["delete", "../mine"], "There is no adapter"),
    ],
)
def test_what_does_not_work_is_a_sentence_on_stderr(hub, made, capsys, arguments, words):
    put("mine", made)
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert words in captured.err and captured.out == "" and find_adapter("mine").folder.parent == adapters_folder()


@pytest.mark.slow
def test_what_was_pulled_chats(hub, made, tiny_base):
    from adapters.package import PushOptions
    from adapters.pull import look, pull
    from adapters.push import push_adapter
    from chat.engine import Engine, Model, Sampling
    from models.hub.client import account_of

    put("mine", made)
    push_adapter(find_adapter("mine"), account_of(hub.alice), PushOptions())
    pulled = pull(look("alice/mine", hub.alice), hub.alice, "user-alice", "mine").adapter
    engine, greedy, said = Engine(), Sampling(max_new_tokens=8), [{"role": "user", "content": "Hi"}]
    replies = {}
    for name, folder in [("base", None), ("pulled", pulled.folder), ("made", find_adapter("mine").folder)]:
        replies[name] = list(engine.reply(Model(tiny_base, "fp32", folder), said, greedy))[-1].text
    assert replies["pulled"] == replies["made"] != replies["base"]


def test_what_a_terminal_would_obey_is_not_written_to_it(hub, made, tmp_path, capsys):
    """A name from elsewhere could set a title, hide a line or answer for the person at the keyboard."""
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\r"
    config = json.loads((made / "adapter_config.json").read_text())
    hub.add("carol/evil", {"adapter_config.json": json.dumps({**config, "base_model_name_or_path": evil}).encode()})
    hub.repositories["carol/evil"].files["adapter_model.safetensors"] = b"x"
    hub.repositories["carol/evil"].record()
    hub.add("carol/odd", {"adapter_config.json": b"{}", f"{evil}.bin": b"x"})
    for repo in ("carol/evil", "carol/odd"):
        assert main(["pull", repo]) == 1
    put("mine", made)
    (adapters_folder() / "mine" / "training_config.yaml").write_text(json.dumps({"data": f"a{evil}"}))
    said_all = said(capsys, "show", "mine") + said(capsys, "list")
    main(["show", evil])
    captured = capsys.readouterr()
    assert not set("\x1b\x07\x9b\r") & set(said_all + captured.out + captured.err) and "owned" in captured.err


def test_the_command_line_says_each_thing_once(hub, made, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.alice)
    hub.lfs = r"\.safetensors$"
    put("mine", made)
    main(["push", "mine"])
    main(["pull", "alice/mine"])
    lines = capsys.readouterr().err.splitlines()
    assert "" not in lines and all(one != other for one, other in pairwise(lines))
    assert not any("it/s" in line or "Upload 0" in line for line in lines)


def test_a_push_for_everybody_to_what_is_private_says_that_it_stays_so(hub, made, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.alice)
    put("mine", made)
    assert main(["push", "mine"]) == 0
    assert main(["push", "mine", "--public", "--license", "mit", "--yes"]) == 0
    assert "Changes 1 file in alice/mine (private), 0.1 MB. It stays private" in capsys.readouterr().out
    assert hub.repositories["alice/mine"].private
