"""Data sets to the Hub and back through a Space's page: one's own, with one's own sign-in, and nothing of anybody else."""

import json

import pytest

from common.paths import datasets_folder
from data.feedback import list_datasets, read_rows
from tests.hub_server import HubServer, point_client_at
from tests.ui.space import GUEST, space_call
from ui.owner import owner_of

ROW = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ahoy!"}], "key": "k"}


@pytest.fixture
def call(monkeypatch):
    """A function that calls a handler of a Space's page by its name; alice, bob and a guest have a data set each."""
    with HubServer() as hub:
        point_client_at(hub, monkeypatch)
        hub.alice, hub.bob = hub.add_user("alice"), hub.add_user("bob")
        called = space_call(monkeypatch, hub.alice)
        called.hub = hub
        for owner, name in (("user-alice", "mine"), ("user-bob", "his"), (owner_of(GUEST, None), "rows")):
            datasets_folder(owner).mkdir(parents=True)
            (datasets_folder(owner) / f"{name}.jsonl").write_text(json.dumps(ROW) + "\n")
        yield called


def test_a_visitor_previews_pushes_and_downloads_their_own(call):
    alice = {"oauth_token": call.hub.alice}
    status, text = call("plan_dataset_push", "", "mine", "", True, "mit", **alice)
    assert status == 200 and "Creates alice/mine (private) with 3 files" in text and not call.hub.repositories
    status, text = call("push_dataset", "", "mine", "", True, "mit", None, **alice)
    assert status == 200 and f"{call.hub.url}/datasets/alice/mine" in text and "Only you can see it" in text
    status, text = call("pull_dataset", "", "alice/mine", **alice)
    assert status == 200 and "with 1 row" in text and read_rows("mine-2", "user-alice") == [ROW]


def test_nobody_pushes_anothers_rows_or_as_the_owner_of_the_space(call):
    bob = {"oauth_token": call.hub.bob}
    for job, more in (("plan_dataset_push", []), ("push_dataset", [None])):
        status, text = call(job, GUEST, "rows", "", True, "", *more)
        assert status == 500 and "You are not signed in" in text, text
        for name in ("mine", "../user-alice/mine", "mine\x00"):
            status, text = call(job, "", name, "", True, "", *more, **bob)
            assert status == 500 and "There is no dataset" in text and "Ahoy" not in text, text
        status, text = call(job, "", "his", "alice/stolen", False, "", *more, **bob)
        assert status == 500 and "bob cannot push to alice" in text, text
        assert "is not in the list" in call(job, "", "his", "", True, "<b>", *more, **bob)[1]
    assert not call.hub.repositories and call.hub.alice not in call.hub.seen_tokens


def test_nobody_downloads_what_only_another_may_read(call):
    call.hub.add("datasets/alice/mine", {"train.jsonl": json.dumps(ROW).encode()}, private=True)
    for visitor in ({}, {"oauth_token": call.hub.bob}):
        status, text = call("pull_dataset", GUEST, "alice/mine", **visitor)
        assert status == 500 and "or it is private" in text, text
    assert [one.name for one in list_datasets("user-bob")] == ["his"] and call.hub.alice not in call.hub.seen_tokens
