"""Nobody's token stands in for another's, and nothing private is served to another: alice, bob, and the one without a name."""

import contextlib
import json
import logging
import tempfile
from importlib import import_module
from pathlib import Path

import pytest

from adapters.edit import delete_adapter, rename_adapter, set_notes, undo_delete
from adapters.library import adapter_names, find_adapter, list_adapters, read_adapter
from adapters.package import PushOptions
from adapters.pull import check_access, look, open_adapter, pull
from adapters.push import push_adapter
from common.errors import UserError
from common.paths import adapters_folder, home
from models.hub.client import account_of, token_of
from models.templates.choice import template_of
from tests.adapters.making import put


@pytest.fixture
def private(hub, made):
    """alice's private adapter on the Hub, pulled by her a moment ago: it is in every cache that there is."""
    put("mine", made, "user-alice")
    push_adapter(find_adapter("mine", "user-alice"), account_of(hub.alice), PushOptions())
    return pull(look("alice/mine", hub.alice), hub.alice, "user-alice", "pulled").adapter


def test_a_private_adapter_is_not_served_to_another_from_any_cache(hub, private):
    offer = look("alice/mine", hub.alice)
    for token in (hub.bob, False):
        with pytest.raises(UserError, match="There is no 'alice/mine' on the Hugging Face Hub, or it is private"):
            look("alice/mine", token)
        with pytest.raises(UserError, match="or it is private"):  # with what alice saw, commit and all
            pull(offer, token, "user-bob")
    assert list_adapters("user-bob") == [] and not list(adapters_folder("user-bob").iterdir())
    caches = [path for path in home().rglob("*.safetensors") if "user-alice" not in path.parts]
    assert caches == [], "her file lies where others look"


def test_nothing_is_put_into_the_shared_cache(hub, private):
    from huggingface_hub import constants, try_to_load_from_cache

    assert try_to_load_from_cache("alice/mine", "adapter_model.safetensors") is None
    weights = (private.folder / "adapter_model.safetensors").read_bytes()
    shared = [constants.HF_HUB_CACHE, constants.HF_HOME, home().parent, f"{tempfile.gettempdir()}/gradio"]
    looked_at = [path for folder in map(Path, shared) for path in folder.rglob("*") if path.is_file()]
    held = [path for path in looked_at if path.stat().st_size == len(weights) and path.read_bytes() == weights]
    assert held and all(path.is_relative_to(adapters_folder("user-alice")) for path in held), held
    assert not [path for path in looked_at if "alice--mine" in str(path)]


def test_access_is_asked_for_before_every_load(hub, private):
    check_access(private, hub.alice)
    before = len(hub.sent("GET", "/auth-check"))
    check_access(private, hub.alice)
    assert len(hub.sent("GET", "/auth-check")) == before + 1
    for token in (hub.bob, False):
        with pytest.raises(UserError, match="or it is private"):
            check_access(private, token)
    del hub.repositories["alice/mine"]
    with pytest.raises(UserError, match="or it is private"):
        open_adapter("pulled", "user-alice", hub.alice)


def test_what_was_public_or_made_here_is_not_asked_for(hub, made):
    put("mine", made)
    push_adapter(find_adapter("mine"), account_of(hub.alice), PushOptions(private=False))
    pulled = pull(look("alice/mine", False), False, "guest").adapter
    seen = len(hub.requests)
    check_access(pulled, False)
    check_access(find_adapter("mine"), False)
    assert len(hub.requests) == seen


def test_on_a_space_what_was_public_is_asked_for_again(hub, made, monkeypatch):
    hub.add("alice/shown", made)
    pulled = pull(look("alice/shown", False), False, "guest").adapter
    monkeypatch.setenv("SPACE_ID", "owner/space")
    check_access(pulled, False)
    hub.repositories["alice/shown"].private = True
    with pytest.raises(UserError, match="or it is private"):
        check_access(pulled, False)


@pytest.mark.parametrize(
    "line", ["adapters export pulled", "adapters merge pulled", "adapters push pulled", "chat --adapter pulled Hi"]
)
def test_every_command_line_asks_first(hub, private, monkeypatch, capsys, line):
    put("pulled", private.folder)
    monkeypatch.setenv("HF_TOKEN", hub.bob)
    module, *arguments = line.split()
    assert import_module(f"{module}.__main__").main(arguments) == 1
    assert "or it is private" in capsys.readouterr().err


def test_a_training_does_not_go_on_from_an_adapter_that_may_not_be_read(hub, private):
    from runs.config import TrainConfig
    from ui.owner import Visitor
    from ui.train.plan_events import checked_start

    config = TrainConfig(init_adapter="pulled")
    with pytest.raises(UserError, match="or it is private"):
        checked_start(config, None, Visitor("user-alice", hub.bob))


def test_without_the_hub_a_space_refuses_and_a_laptop_trusts_its_own_disk(hub, private, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    check_access(private, hub.alice)
    monkeypatch.setenv("SPACE_ID", "owner/space")
    with pytest.raises(UserError, match="Could not reach the Hugging Face Hub"):
        check_access(private, hub.alice)


def test_a_template_that_was_changed_since_is_not_rendered(hub, private, tiny_base):
    (private.folder / "chat_template.jinja").write_text("{{ 'a'['lju' ~ 'st'](9999999999) }}")
    opened = open_adapter("pulled", "user-alice", hub.alice)
    with pytest.raises(UserError, match="has a chat template that is not known here"):
        template_of(tiny_base, opened.folder)


def test_on_a_space_only_the_visitors_token_counts(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.alice)
    assert token_of(None) == hub.alice, "on a laptop the local login acts"
    monkeypatch.setenv("SPACE_ID", "alice/space")
    assert token_of(None) is False and token_of(hub.bob) == hub.bob


def test_on_a_laptop_the_made_up_token_of_gradios_sign_in_is_never_used(hub, monkeypatch):
    assert token_of("mock-oauth-token-for-local-dev") is False
    monkeypatch.setenv("HF_TOKEN", hub.alice)
    assert token_of("mock-oauth-token-for-local-dev") == hub.alice


def test_an_anonymous_look_sends_no_token_though_the_machine_has_one(hub, made, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", hub.alice)
    monkeypatch.setenv("SPACE_ID", "alice/space")
    hub.add("alice/shown", made)
    pull(look("alice/shown", token_of(None)), token_of(None), "guest")
    assert hub.seen_tokens and set(hub.seen_tokens) == {None}


def test_an_account_is_who_the_hub_says(hub):
    assert account_of(hub.alice).name == "alice" and hub.alice not in repr(account_of(hub.alice))
    with pytest.raises(UserError, match="does not accept this sign-in"):
        account_of("hf_forged")
    with pytest.raises(UserError, match="You are not signed in"):
        account_of(False)


def test_nobody_pushes_into_another_account(hub, made):
    put("mine", made)
    with pytest.raises(UserError, match="bob cannot push to alice"):
        push_adapter(find_adapter("mine"), account_of(hub.bob), PushOptions("alice/mine"))
    for name in ("../x", "alice/../bob/x", "a b", "x/y/z", ".git"):
        with pytest.raises(UserError):
            push_adapter(find_adapter("mine"), account_of(hub.bob), PushOptions(name))
    assert not any(name.startswith(("alice", "bob")) for name in hub.repositories)


def test_an_organisation_of_ones_own_may_be_pushed_to(hub, made):
    put("mine", made)
    carol = hub.add_user("carol", orgs=("club",))
    assert push_adapter(find_adapter("mine"), account_of(carol), PushOptions("club/mine")).repo_id == "club/mine"


@pytest.mark.parametrize("role", ["read", "contribute"])
def test_a_sign_in_without_the_right_to_write_is_a_sentence(hub, made, role):
    put("mine", made)
    hub.add("dave/mine", {"README.md": b"old"}, private=True)
    token = hub.add_user("dave", role)
    with pytest.raises(UserError, match="no permission for this"):
        push_adapter(find_adapter("mine"), account_of(token), PushOptions(), parent=hub.commit("dave/mine"))
    assert hub.repositories["dave/mine"].files == {"README.md": b"old"}


@pytest.mark.parametrize("name", ["mine", "../user-alice/mine", "..", "/etc", "user-alice/mine", ""])
def test_anothers_adapter_is_out_of_reach_by_any_name(made, name):
    put("mine", made, "user-alice")
    for work in (find_adapter, delete_adapter, undo_delete):
        with pytest.raises(UserError):
            work(name, "user-bob")
    for work in (rename_adapter, set_notes):
        with pytest.raises(UserError):
            work(name, "x", "user-bob")
    assert find_adapter("mine", "user-alice").notes == ""


def test_rename_notes_search_delete_and_undo(made):
    put("one", made)
    put("two", made)
    assert rename_adapter("one", "../../The Best!").name == "the-best"
    assert find_adapter("one").name == "the-best", "its runs still find it"
    with pytest.raises(UserError, match="already"):
        rename_adapter("two", "../../the best!")
    set_notes("two", "for grandma <script>")
    assert adapter_names(words="GRANDMA tiny-base") == ["two"]
    entry = delete_adapter("two").entry
    assert [adapter.name for adapter in list_adapters()] == ["the-best"]
    put("two", made)
    assert undo_delete(entry).name == "two-2" and find_adapter("two-2").notes == "for grandma <script>"
    with pytest.raises(UserError, match="cannot be restored"):
        undo_delete(entry)


def test_the_token_is_in_no_file_and_no_log(hub, private, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("huggingface_hub").propagate = True  # its own handler writes to stderr, which is read below
    account = account_of(hub.alice)
    for method, part, status in (("POST", "/preupload", 401), ("POST", "/commit", 500), ("GET", "/auth-check", 0)):
        hub.fail(method, part, status, times=2)
        adapter = find_adapter("mine", "user-alice")
        with contextlib.suppress(UserError):
            push_adapter(adapter, account, PushOptions(f"to-{status}"))
        with contextlib.suppress(UserError):
            pull(look("alice/mine", hub.alice), hub.alice, "user-alice", "again")
        hub.faults.clear()
    with pytest.raises(UserError) as told:
        account_of(hub.alice + "x")
    said = capfd.readouterr()
    assert "Request" in caplog.text, "the client's own log was read"
    for log in (caplog.text, said.out, said.err, str(told.value), repr(account), repr(told.value.__cause__)):
        assert hub.alice not in log
    for path in [path for path in home().rglob("*") if path.is_file()]:
        assert hub.alice.encode() not in path.read_bytes(), path
    assert json.loads((read_adapter(private.folder).folder / "studio.json").read_text())["origin"]["public"] is False
