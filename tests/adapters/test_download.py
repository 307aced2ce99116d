"""A Hub that lies: about sizes, about bytes, about where it is; and a repository that changes between the look and the pull."""

import json

import pytest

from adapters.intake import import_adapter
from adapters.library import list_adapters
from adapters.pull import look, pull
from common.errors import UserError
from common.paths import adapters_folder, home, runs_folder
from models.hub.client import account_of
from models.hub.transfer import base_config_of
from runs.backup.backup import restore
from tests.adapters.hostile import change
from tests.adapters.runs import REPO, send
from tests.hub_server import HubServer

WEIGHTS = "adapter_model.safetensors"
MEGABYTE = 1 << 20


@pytest.fixture
def shown(hub, made):
    return hub.add("carol/shown", made)


def pulled_nothing() -> bool:
    leftovers = [path for path in home().rglob("*") if path.is_file()]
    return list_adapters() == [] and not leftovers


def test_a_file_that_is_larger_than_announced_is_cut_off_while_it_comes(hub, shown, monkeypatch):
    written = []
    offer = look("carol/shown", False)
    hub.lies[WEIGHTS] = bytes(200 * MEGABYTE)
    monkeypatch.setattr("models.hub.transfer.client", lambda token: pytest.fail("nothing else is asked"))
    real = adapters_folder().parent.rglob

    def tell(what, fraction):
        written.append(sum(path.stat().st_size for path in real("*") if path.is_file()))

    with pytest.raises(UserError, match="larger than the Hub announced"):
        pull(offer, False, progress=tell)
    assert max(written) < 30 * MEGABYTE and pulled_nothing()


@pytest.mark.parametrize(
    ("is_large", "bend", "words"),
    [
        (True, lambda content: b"x", "arrived incomplete"),
        (True, lambda content: content[:-4] + b"\0\0\0\1", "not what the Hub announced"),
        (False, lambda content: content[:-4] + b"\0\0\0\1", "not what the Hub announced"),
    ],
    ids=["smaller", "other bytes", "other bytes of a small file"],
)
def test_other_bytes_than_announced_are_refused(hub, shown, made, is_large, bend, words):
    shown.lfs = {WEIGHTS} if is_large else set()
    offer = look("carol/shown", False)
    hub.lies[WEIGHTS] = bend((made / WEIGHTS).read_bytes())
    with pytest.raises(UserError, match=words):
        pull(offer, False)
    assert pulled_nothing()


def test_a_checkpoint_with_other_bytes_than_announced_does_not_come_back(hub, run):
    send(hub, run)
    hub.lies["checkpoints/checkpoint-2/optimizer.pt"] = hub.repositories[REPO].files[
        "checkpoints/checkpoint-2/scheduler.pt"
    ]
    with pytest.raises(UserError, match=r"arrived incomplete|not what the Hub announced"):
        restore(REPO, account_of(hub.alice), runs_folder("back"))
    assert not list(runs_folder("back").iterdir())


def test_what_was_looked_at_is_what_is_pulled_though_the_repository_was_swapped(hub, shown, made):
    offer = look("carol/shown", False)
    shown.files[WEIGHTS] = b"other"
    shown.files["adapter_config.json"] = b'{"auto_mapping": {"parent_library": "os"}}'
    shown.record()
    adapter = pull(offer, False).adapter
    assert (adapter.folder / WEIGHTS).read_bytes() == (made / WEIGHTS).read_bytes()
    assert adapter.origin.revision == offer.revision != shown.commit


def test_a_token_does_not_follow_the_hub_to_another_address(hub, shown):
    """The other address gets the request, as the client follows it, but nobody's token."""
    with HubServer() as other:
        hub.redirects["/api/models/carol/shown"] = f"{other.url}/api/models/carol/shown"
        with pytest.raises(UserError):
            look("carol/shown", hub.alice)
        hub.redirects = {f"resolve/{shown.commit}/adapter_config.json": f"{other.url}/x"}
        with pytest.raises(UserError):
            look("carol/shown", hub.alice)
        assert other.requests and not any(has_token for _, _, has_token in other.requests)
    assert hub.alice in hub.seen_tokens


def test_a_base_that_an_adapter_names_cannot_fill_the_disk(hub, made, tmp_path):
    """Anybody's adapter names anybody's repository: its config.json is looked at up to a megabyte, whatever it says."""
    hub.add("evil/base", {"config.json": b'{"model_type": "llama", "x": "' + b"x" * 2 * MEGABYTE + b'"}'})
    assert base_config_of("evil/base") == {}
    assert not hub.sent("GET", "resolve")
    hub.add("liar/base", {"config.json": b'{"model_type": "llama"}'})
    hub.lies["config.json"] = bytes(50 * MEGABYTE)
    assert base_config_of("liar/base") is None and not [path for path in home().rglob("*") if path.is_file()]


def test_an_adapter_whose_base_is_no_config_is_refused(hub, copy):
    hub.add("evil/base", {"config.json": b" " * 2 * MEGABYTE})
    change(copy, "adapter_config.json", base_model_name_or_path="evil/base")
    with pytest.raises(UserError, match="names its architecture"):
        import_adapter(copy)
    assert json.loads((copy / "adapter_config.json").read_text())["base_model_name_or_path"] == "evil/base"
