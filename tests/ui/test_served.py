"""Adapters on the operator's vLLM: there while they are in the library, for their owner alone."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from adapters.edit import delete_adapter, rename_adapter, undo_delete
from adapters.library import CONFIG, WEIGHTS, update_record
from chat.remote import RemoteEngine, served_name
from common.errors import UserError
from common.files import write_json
from common.paths import adapters_folder
from making.config import SERVER, MakingConfig
from making.start import resolve, server_models
from tests.chat.openai_server import openai_server
from tests.queueing import wait_for
from ui import served
from ui.chat.models import model_choices, pick
from ui.owner import Visitor
from ui.served import THREAD, ServedAdapters, keep_adapters_on_server, newest_adapters

ALICE, BOB = "user-alice", "user-bob"


@pytest.fixture
def vllm():
    """A server, and what keeps the adapters on it as in the folders, which it sees under the same path."""
    with openai_server() as (server, url):
        yield server, ServedAdapters(RemoteEngine(url), str(adapters_folder().parent))


def put(name: str, owner: str = "local") -> Path:
    """An adapter of the server's base, as far as a library and a server's list look at it."""
    folder = adapters_folder(owner) / name
    folder.mkdir(parents=True)
    write_json(folder / CONFIG, {"base_model_name_or_path": "tests/tiny-base", "r": 4, "use_dora": False})
    (folder / WEIGHTS).write_bytes(b"weights")
    return folder


def test_an_adapter_is_there_from_its_end_to_its_deletion(vllm):
    server, keeper = vllm
    keeper.update()
    assert server.adapters == {}
    folder = put("mine")
    keeper.update()
    assert server.adapters == {"studio:local:mine": str(folder)}
    rename_adapter("mine", "Other name")
    keeper.update()
    assert [*server.adapters] == ["studio:local:other-name"]
    delete_adapter("other-name")
    keeper.update()
    assert server.adapters == {}
    undo_delete("other-name")
    keeper.update()
    keeper.update()
    assert [*server.adapters] == ["studio:local:other-name"]
    assert sum("lora_path" in asked for asked in server.asked) == 3, "what is there is loaded once"


def test_new_weights_under_the_same_name_and_a_restart_of_either_are_noticed(vllm):
    server, keeper = vllm
    folder = put("mine")
    keeper.update()
    shutil.copy(folder / WEIGHTS, folder / "new")
    os.replace(folder / "new", folder / WEIGHTS)  # as a resumed run publishes
    server.asked.clear()
    keeper.update()
    assert [sorted(asked) for asked in server.asked] == [["lora_name"], ["lora_name", "lora_path"]]
    server.adapters.clear()
    keeper.update()
    assert [*server.adapters] == ["studio:local:mine"], "the server was started again"
    server.adapters["studio:local:gone"] = server.adapters["my-own"] = "/somewhere"
    ServedAdapters(keeper.server, keeper.place).update()
    assert sorted(server.adapters) == ["my-own", "studio:local:mine"], "the app was; the operator's own stays"


def test_what_vllm_cannot_serve_is_not_sent(vllm):
    server, keeper = vllm
    for name, old, new in (
        ("base", "tests/tiny-base", "tests/other"),
        ("dora", '"use_dora": false', '"use_dora": true'),
    ):
        config = put(name) / "adapter_config.json"
        assert old in config.read_text()
        config.write_text(config.read_text().replace(old, new))
    keeper.update()
    assert server.asked == []


def test_a_server_that_allows_no_loading_is_asked_once(vllm):
    server, keeper = vllm
    server.loads = False
    put("mine")
    keeper.update()
    keeper.update()
    assert len(server.asked) == 1 and server.adapters == {}


def test_without_the_operators_wish_nothing_is_sent(vllm, monkeypatch):
    server, keeper = vllm
    put("mine")
    monkeypatch.setattr(ServedAdapters, "keep", ServedAdapters.update)  # once
    monkeypatch.setenv("CHAT_SERVER_URL", keeper.server.url)
    keep_adapters_on_server()
    monkeypatch.setenv("CHAT_SERVER_ADAPTERS", f"{keeper.place}/")
    assert not [one for one in threading.enumerate() if one.name == THREAD] and server.asked == []
    keep_adapters_on_server()
    wait_for(lambda: [*server.adapters] == ["studio:local:mine"])


def test_on_the_server_too_an_adapter_is_its_owners_alone(vllm, monkeypatch):
    _server, keeper = vllm
    put("secret", ALICE)
    keeper.update()
    remote, name = keeper.server, served_name(ALICE, "secret")
    assert name in remote.models() and remote.models()[name] == 200, "its base's window"
    values = {owner: [value for _label, value in model_choices(owner, remote)] for owner in (ALICE, BOB)}
    assert f"remote:{name}" in values[ALICE] and "remote:tiny" in values[BOB]
    assert not [value for value in values[BOB] if "secret" in value or ALICE in value]
    assert pick(f"remote:{name}", "", Visitor(ALICE), remote).name == "secret"
    for thief in (BOB, "guest-1"):
        with pytest.raises(UserError, match="not in the list"):
            pick(f"remote:{name}", "", Visitor(thief), remote)
    update_record(adapters_folder(ALICE) / "secret", origin={"kind": "pulled", "repo_id": "a/b", "is_public": False})
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    with pytest.raises(UserError, match="Hub"):  # it is off here: nobody says that she may still read it
        pick(f"remote:{name}", "", Visitor(ALICE), remote)
    delete_adapter("secret", ALICE)
    with pytest.raises(UserError, match="no adapter"):
        pick(f"remote:{name}", "", Visitor(ALICE), remote)


def test_nobodys_adapter_on_the_server_is_a_teacher(vllm, monkeypatch):
    _server, keeper = vllm
    put("secret", ALICE)
    keeper.update()
    monkeypatch.setenv("CHAT_SERVER_URL", keeper.server.url)
    assert server_models() == ["tiny", "my-adapter"]
    config = MakingConfig(teacher=SERVER, model=served_name(ALICE, "secret"), recipe="instruction", topics=["llamas"])
    with pytest.raises(UserError, match="owner's alone"):
        resolve(config, BOB)


def test_no_owner_takes_the_place_of_all_others(monkeypatch):
    monkeypatch.setattr(served, "MAX_OF_AN_OWNER", 2)
    monkeypatch.setattr(served, "MAX_ADAPTERS", 3)
    put("hers", ALICE)
    for owner in ("guest-1", "guest-2"):
        for number in range(3):
            put(f"a{number}", owner)
    kept = [(owner, name) for owner, name, _stamp in newest_adapters()]
    assert kept[0] == (ALICE, "hers") and len(kept) == 3
