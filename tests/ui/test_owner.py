"""Whose data it is, is decided from what the server can check."""

import gradio as gr
import pytest
from starlette.requests import Request

from common.errors import UserError
from common.paths import is_name
from models.hub.client import Account
from tests.ui.space import space_page
from ui import owner
from ui.owner import address_of, can_sign_in, known_key, new_key, owner_of, visitor_of


@pytest.fixture
def space(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")


def test_on_a_laptop_everything_is_local():
    assert owner_of(None, None) == "local"
    assert not can_sign_in()


def test_on_a_space_two_browsers_are_two_owners(space):
    first, second = new_key(), new_key()
    assert owner_of(first, None) == owner_of(first, None) != owner_of(second, None)
    assert first not in owner_of(first, None), "the folder's name would open the folder"
    assert known_key(first) == first and known_key("") != known_key(None) != known_key({"path": "/x"})


@pytest.mark.parametrize("key", [None, "", "x", "local", "../local", "A" * 32, 7])
def test_on_a_space_a_made_up_key_opens_nothing(space, key):
    with pytest.raises(UserError):
        owner_of(key, None)


def test_a_signed_in_visitor_is_who_the_hub_says(space, monkeypatch):
    monkeypatch.setattr(owner, "account_of", lambda token: Account({"hf_alice": "alice"}[token], token))
    token = gr.OAuthToken(token="hf_alice", scope="", expires_at=0)
    assert owner_of(new_key(), token) == "user-alice"


def test_no_guest_can_take_a_users_folder(space):
    assert not owner_of(new_key(), None).startswith("user-")


def test_no_two_accounts_share_a_folder():
    names = ["a-b", "a_b", "a.b", "a--b", "ab", "x" * 200, "x" * 201, "../up"]
    assert len({owner.folder_of_account(name) for name in names}) == len(names)
    assert owner.folder_of_account("Alice") == owner.folder_of_account("alice") == "user-alice"
    assert all(is_name(owner.folder_of_account(name)) for name in names)


def test_a_page_that_is_still_opening_is_not_greeted_with_an_error(space):
    """The tab is shown before the browser has its key."""
    opened = [one for one in space_page().fns.values() if one.name == "on_open"]
    events = [one for one in opened if one.fn.__module__ == "ui.train.run_events"]
    assert events
    for event in events:
        _browser_key, *others = [None] * len(event.inputs)
        assert len(event.fn(None, None, "", *others)) == len(event.outputs)


def asked_from(client: str, *forwarded: str) -> gr.Request:
    """A call as it comes in from `client`, with these lines of X-Forwarded-For."""
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    return gr.Request(Request({"type": "http", "client": (client, 1), "headers": headers}))


@pytest.mark.parametrize(
    ("client", "forwarded", "address"),
    [
        ("10.1.2.3", ["8.8.8.8"], "8.8.8.8"),
        ("10.1.2.3", ["1.1.1.1, 8.8.8.8"], "8.8.8.8"),
        ("10.1.2.3", ["1.1.1.1, 8.8.8.8, 10.9.9.9"], "8.8.8.8"),
        ("10.1.2.3", ["1.1.1.1", "8.8.8.8"], "8.8.8.8"),
        ("8.8.4.4", ["1.1.1.1"], "8.8.4.4"),
        ("10.1.2.3", ["2a00:1450:4001:82b::200e"], "2a00:1450:4001:82b::/64"),
        ("10.1.2.3", ["8.8.8.8, nonsense"], "10.1.2.3"),
        ("10.1.2.3", [], "10.1.2.3"),
        ("testclient", [], "testclient"),
    ],
)
def test_on_a_space_the_address_is_what_the_last_proxy_heard_from_not_what_a_visitor_writes(
    space, client, forwarded, address
):
    assert address_of(asked_from(client, *forwarded)) == address
    assert visitor_of(new_key(), None, asked_from(client, *forwarded)).as_caller().address == address


def test_elsewhere_nobody_is_believed_about_their_address():
    assert address_of(asked_from("8.8.4.4", "1.1.1.1")) == "8.8.4.4"
    assert address_of(asked_from("127.0.0.1", "1.1.1.1")) == "127.0.0.1" and address_of(None) == ""
