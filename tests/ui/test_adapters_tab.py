"""The Adapters tab over HTTP, as an attacker speaks to it on a Space: nothing of another is read, changed, pushed or pulled."""

import base64
import json
import zipfile
from types import SimpleNamespace

import gradio as gr
import pytest

from adapters.library import find_adapter, list_adapters
from common.files import read_json, write_json
from common.paths import adapters_folder
from tests.adapters.conftest import hub, made  # noqa: F401
from tests.adapters.making import put
from tests.ui.space import GUEST, space_call, space_client
from ui.adapters.get import on_import
from ui.adapters.mix import on_mix
from ui.owner import owner_of

UNKNOWN = "This page does not know you yet"


@pytest.fixture
def call(hub, made, monkeypatch):  # noqa: F811
    """A function that calls a handler of a Space's page by its name, as an attacker's program would."""
    put("mine", made, "user-alice")
    called = space_call(monkeypatch, hub.alice)
    called.hub = hub
    return called


def test_a_visitor_sees_what_is_theirs(call, made):  # noqa: F811
    put("hers", made, owner_of(GUEST, None))
    status, text = call("adapter", GUEST, "hers")
    assert status == 200 and "tests/tiny-base" in text and "mine" not in text


@pytest.mark.parametrize("name", ["mine", "../user-alice/mine", "user-alice/mine", "..", "/etc/passwd", "mine\x00"])
def test_anothers_adapter_by_name_is_out_of_reach(call, name):
    for job, more in [("delete_adapter", ()), ("rename_adapter", ("stolen",)), ("export_adapter", None)]:
        data = [GUEST, name] if more is None else [GUEST, "", name, *more]
        status, text = call(job, *data)
        assert status == 500 and "tiny-base" not in text, job
        assert "is not a valid name" in text or "There is no adapter" in text, (job, text)
    assert "tiny-base" not in call("adapter", GUEST, name)[1]
    assert find_adapter("mine", "user-alice").folder.is_dir()
    assert list_adapters(owner_of(GUEST, None)) == []


def test_a_chat_template_is_chosen_by_the_owner_alone_and_never_its_own_on_a_space(call, made):  # noqa: F811
    folders = [put("odd", made, owner) for owner in ("user-alice", owner_of(GUEST, None))]
    for folder in folders:
        (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert "unknown: choose one" in call("adapter", GUEST, "odd")[1]
    for choice in ("own", "own:" + "0" * 64, "nonsense", ["chatml"]):
        assert call("choose_template", GUEST, "odd", choice)[0] == 500
    for name in ("mine", "../user-alice/odd", str(folders[0])):
        assert call("choose_template", GUEST, name, "chatml")[0] == 500
    assert call("choose_template", GUEST, "odd", "chatml")[0] == 200
    assert "ChatML (chosen)" in call("adapter", GUEST, "odd")[1]
    assert read_json(folders[1] / "studio.json") == {"template": "chatml"}
    assert not (folders[0] / "studio.json").exists() and not (folders[0].parent / "mine" / "studio.json").exists()


def test_a_forged_token_in_the_body_opens_nothing(call):
    for forged in ("hf_forged", "alice", "user-alice", {"name": "alice"}, "../user-alice"):
        assert "tiny-base" not in call("adapter", GUEST, "mine", oauth_token=forged)[1]


def test_a_token_in_the_body_is_only_whom_the_hub_says_it_is(call):
    assert "tiny-base" not in call("adapter", "", "mine", oauth_token=call.hub.bob)[1]
    status, text = call("adapter", "", "mine", oauth_token=call.hub.alice)
    assert status == 200 and "tests/tiny-base" in text, "her own token is hers"


def test_a_forged_cookie_opens_nothing(call):
    session = {
        "oauth_info": {"access_token": "hf_forged", "userinfo": {"preferred_username": "alice", "name": "alice"}}
    }
    forged = base64.b64encode(json.dumps(session).encode()).decode() + ".bm9uZQ.c2lnbmF0dXJl"
    status, text = call("adapter", "", "mine", cookies={"session": forged, "access-token": forged})
    assert status == 500 and "tiny-base" not in text and UNKNOWN in text, text


def test_nobody_is_pushed_as_the_owner_of_the_space(call, made):  # noqa: F811
    put("hers", made, owner_of(GUEST, None))
    for job, more in (("plan_push", []), ("push_adapter", [None])):
        status, text = call(job, GUEST, "hers", "", True, "", True, False, *more)
        assert status == 500 and "You are not signed in" in text, text
    status, text = call(
        "push_adapter", GUEST, "mine", "alice/stolen", False, "", True, False, None, oauth_token=call.hub.bob
    )
    assert status == 500 and "There is no adapter 'mine'" in text, text
    put("his", made, "user-bob")
    status, text = call(
        "push_adapter", "", "his", "alice/stolen", False, "", True, False, None, oauth_token=call.hub.bob
    )
    assert status == 500 and "bob cannot push to alice" in text, text
    assert [name for name in call.hub.repositories if not name.startswith("tests/")] == []
    assert call.hub.alice not in call.hub.seen_tokens


def test_anothers_adapter_is_no_part_of_a_mix(call, made):  # noqa: F811
    put("his", made, "user-bob")
    how = ["0.5 0.5", "svd", 0.5, ""]
    for first, others in (
        ("mine", []),
        ("his", ["mine"]),
        ("his", ["../user-alice/mine"]),
        ("../user-alice/mine", ["his"]),
    ):
        assert call("mix_adapters", "", first, others, *how, oauth_token=call.hub.bob)[0] == 500
        token = SimpleNamespace(token=call.hub.bob)
        with pytest.raises(gr.Error, match=r"There is no adapter|not a valid name"):
            list(on_mix(token, "", first, others, *how))
    assert [one.name for one in list_adapters("user-bob")] == ["his"]


def test_a_mix_of_a_thousand_asks_the_hub_for_no_more_than_it_takes(call, made, monkeypatch):  # noqa: F811
    put("his", made, "user-bob")
    opened = []
    monkeypatch.setattr(
        "ui.adapters.mix.open_adapter", lambda name, owner, token: opened.append(name) or find_adapter(name, owner)
    )
    with pytest.raises(gr.Error, match="2 to 8"):
        list(on_mix(SimpleNamespace(token=call.hub.bob), "", "his", ["his"] * 1_000, "", "svd", 0.5, ""))
    assert len(opened) == 9


@pytest.mark.parametrize("name", ["mine", "../user-alice/mine"])
def test_anothers_adapter_is_neither_measured_nor_repaired(call, made, name):  # noqa: F811
    folder = put("his", made, "user-bob")
    for job, more in (("measure_repairs", [None]), ("keep_repair", [None])):
        status, text = call(job, "", name, *more, oauth_token=call.hub.bob)
        assert status == 500 and ("There is no adapter" in text or "not a valid name" in text), text
    assert "Nothing was measured yet" in call("keep_repair", "", "his", None, oauth_token=call.hub.bob)[1]
    assert [one.folder for one in list_adapters("user-bob")] == [folder]


def test_a_private_adapter_of_another_is_not_looked_at_or_pulled(call, made):  # noqa: F811
    call.hub.add("alice/secret", made, private=True)
    assert call("look", "", "alice/secret", "", oauth_token=call.hub.alice)[0] == 200
    for more in ({}, {"oauth_token": call.hub.bob}):
        status, text = call("look", GUEST, "alice/secret", "", **more)
        assert status == 500 and "rank" not in text and "or it is private" in text, text
        status, text = call("pull_adapter", GUEST, "alice/secret", None, **more)
        assert status == 500 and "or it is private" in text, text
    # the session of the page remembers what alice looked at; whoever takes that session over is asked for anew
    assert not list(adapters_folder("user-bob").glob("*"))


def test_a_file_of_the_server_cannot_be_imported(call):
    for path in ("/etc/passwd", str(adapters_folder("user-alice") / "mine")):
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        assert call("import_adapter", GUEST, file, "")[0] != 200
    assert list_adapters(owner_of(GUEST, None)) == []


@pytest.mark.parametrize(
    ("job", "more"),
    [
        ("merge_adapter", ["bf16"]),
        ("export_gguf", ["bf16"]),
        ("mix_adapters", [[], "", "svd", 0.5, ""]),
        ("measure_repairs", [None]),
    ],
)
def test_a_visitor_without_a_name_gives_a_space_no_long_work(call, made, job, more):  # noqa: F811
    put("hers", made, owner_of(GUEST, None))
    status, text = call(job, GUEST, "hers", *more)
    assert status == 500 and "You have to be signed in" in text, text


def test_the_data_folder_is_not_served(call, hub, monkeypatch):  # noqa: F811
    client = space_client(monkeypatch, hub.alice)
    file = adapters_folder("user-alice") / "mine" / "adapter_config.json"
    assert client.get(f"/gradio_api/file={file}").status_code in (403, 404)


def test_markup_in_names_notes_and_facts_is_text(call, made):  # noqa: F811
    folder = put("hers", made, owner_of(GUEST, None))
    markup = "<script>alert(1)</script>"
    write_json(folder / "studio.json", {"notes": markup, "origin": {"kind": "imported", "from": markup}})
    metrics = json.loads((folder / "metrics.json").read_text())
    write_json(folder / "metrics.json", {**metrics, "hardware": markup, "precision": markup})
    shown = [one for one in json.loads(call("adapter", GUEST, "hers")[1])["data"] if isinstance(one, str)]
    pages = [one for one in shown if one != markup]  # the note is a text box's value
    assert not [one for one in pages if "<script>" in one] and sum(one.count("&lt;script&gt;") for one in pages) == 5


def test_the_folders_of_a_repository_are_offered_by_name(call, made):  # noqa: F811
    files = {f"{place}/{path.name}": path.read_bytes() for place in ("one", "two") for path in made.iterdir()}
    call.hub.add("alice/run", files)
    status, text = call("look", GUEST, "https://huggingface.co/alice/run/tree/main", "")
    assert status == 200 and "holds 2 adapters: one, two" in text and '["two", "alice/run/two@main"]' in text, text
    status, text = call("look", GUEST, "alice/run/two@main", "")
    assert status == 200 and "alice/run/two (public) is a LoRA" in text


def test_the_folders_in_a_zip_are_offered_by_name_and_one_is_taken(made, tmp_path, monkeypatch):  # noqa: F811
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        for place in ("one", "two"):
            for path in made.iterdir():
                archive.write(path, f"{place}/{path.name}")
    given = (None, GUEST, str(tmp_path / "out.zip"), "")
    words, _, folders = on_import(*given)
    assert "The zip holds 2 adapters: one, two" in words and folders.choices == [("one", "one"), ("two", "two")]
    words, name, folders = on_import(*given, "two")
    assert "Imported as" in words and find_adapter(name, owner_of(GUEST, None)) and not folders.visible
