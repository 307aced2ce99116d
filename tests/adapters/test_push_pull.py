"""Push and pull with the real client against a Hub on loopback: what arrives, what does not, and what is said."""

import json

import pytest

from adapters.facts import describe_origin
from adapters.library import find_adapter, read_adapter
from adapters.package import PushOptions
from adapters.pull import check_access, look, pull, search_hub
from adapters.push import plan_push, push_adapter
from common.errors import UserError
from common.paths import adapters_folder
from models.hub.client import account_of, parse_repo
from tests.adapters.making import put, write_history


def push(hub, made, token=None, name="mine", **wish):
    adapter = read_adapter(put(name, made)) if not (adapters_folder() / name).exists() else find_adapter(name)
    return push_adapter(adapter, account_of(token or hub.alice), PushOptions(**wish))


def test_pushed_then_pulled_is_byte_identical(hub, made):
    write_history(put("mine", made))
    pushed = push(hub, made)
    assert pushed.repo_id == "alice/mine" and pushed.private and hub.repositories["alice/mine"].private
    pulled = pull(look("alice/mine", hub.alice), hub.alice, "local", "again").adapter
    sent = hub.repositories["alice/mine"].files
    assert set(sent) >= {"README.md", "loss.png", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json"}
    for name, content in sent.items():
        assert (pulled.folder / name).read_bytes() == content, name
    assert (pulled.folder / "adapter_model.safetensors").read_bytes() == (
        made / "adapter_model.safetensors"
    ).read_bytes()
    assert {path.name for path in pulled.folder.iterdir()} == set(sent) | {"studio.json"}
    assert find_adapter("mine").pushed_to == ["alice/mine"]


def test_large_files_go_by_lfs_and_come_back(hub, made):
    hub.lfs = r"\.safetensors$"
    push(hub, made)
    assert hub.sent("PUT", "/lfs/") and "adapter_model.safetensors" in hub.repositories["alice/mine"].lfs
    assert plan_push(find_adapter("mine"), account_of(hub.alice), PushOptions()).changes == []
    pulled = pull(look("alice/mine", hub.alice), hub.alice, "local", "again").adapter
    assert (pulled.folder / "adapter_model.safetensors").read_bytes() == (
        made / "adapter_model.safetensors"
    ).read_bytes()


def test_a_second_push_of_the_same_changes_nothing(hub, made):
    first = push(hub, made)
    second = push(hub, made)
    assert (second.changed, second.revision) == (False, first.revision)
    assert len(hub.sent("POST", "/commit/")) == 1


def test_an_existing_repository_shows_what_would_change(hub, made):
    push(hub, made)
    hub.repositories["alice/mine"].files["notes.txt"] = b"hers"
    hub.repositories["alice/mine"].files["README.md"] = b"old"
    hub.repositories["alice/mine"].record()
    adapter, account = find_adapter("mine"), account_of(hub.alice)
    plan = plan_push(adapter, account, PushOptions())
    assert [file.path for file in plan.changes] == ["README.md"] and plan.kept == ["notes.txt"]
    assert "Changes 1 file in" in plan.sentence()
    with pytest.raises(UserError, match="not as you saw it"):
        push_adapter(adapter, account, PushOptions(), parent=None)
    push_adapter(adapter, account, PushOptions(), parent=plan.parent)
    assert hub.repositories["alice/mine"].files["notes.txt"] == b"hers"


def test_a_push_that_is_wished_private_never_goes_to_a_public_repository(hub, made):
    hub.add("alice/mine", {".gitattributes": b""})
    with pytest.raises(UserError, match="alice/mine is public"):
        push(hub, made)
    with pytest.raises(UserError, match="alice/mine is public"):
        plan_push(find_adapter("mine"), account_of(hub.alice), PushOptions())
    assert not push(hub, made, private=False).private, "who agrees to public may"


@pytest.mark.parametrize("part", ["/repos/create", "/preupload/"])
def test_a_repository_that_becomes_public_while_it_is_pushed_to_gets_nothing(hub, made, part):
    push(hub, made, name="first")
    real = hub.fault_of

    def made_public(method, path):
        if part in path:
            hub.repositories.setdefault("alice/mine", None) or hub.add("alice/mine", {})
            hub.repositories["alice/mine"].private = False
        return real(method, path)

    hub.fault_of = made_public
    with pytest.raises(UserError, match=r"alice/mine is public.*without the adapter"):
        push(hub, made)
    assert not hub.repositories["alice/mine"].files


def test_what_was_pulled_from_a_private_repository_is_not_pushed_as_public(hub, made):
    push(hub, made)
    pulled = pull(look("alice/mine", hub.alice), hub.alice, "local", "again").adapter
    for work in (plan_push, push_adapter):
        with pytest.raises(UserError, match="alice/mine, which is not public"):
            work(pulled, account_of(hub.alice), PushOptions("shown", private=False))
    assert "alice/shown" not in hub.repositories
    assert push_adapter(pulled, account_of(hub.alice), PushOptions("copy")).private


def test_a_whole_model_is_never_overwritten(hub, made):
    hub.add("alice/mine", {"model.safetensors": b"x", "config.json": b"{}"})
    with pytest.raises(UserError, match="holds a whole model"):
        push(hub, made)


@pytest.mark.parametrize("part", ["/repos/create", "/preupload/", "/commit/", "PUT /lfs/"])
@pytest.mark.parametrize("status", [403, 0])
def test_a_failed_push_says_what_is_there_and_can_be_repeated(hub, made, part, status):
    hub.lfs = r"\.safetensors$"
    method, part = ("PUT", "/lfs/") if part.startswith("PUT") else ("POST", part)
    hub.fail(method, part, status, times=1 if status else 99)
    with pytest.raises(UserError) as error:
        push(hub, made)
    if part == "/repos/create":
        assert "alice/mine" not in hub.repositories
    else:
        assert "was created, without the adapter" in str(error.value) and not hub.repositories["alice/mine"].files
    hub.faults.clear()
    assert push(hub, made).changed
    assert "README.md" in hub.repositories["alice/mine"].files


def test_a_commit_that_lost_a_race_is_refused(hub, made):
    push(hub, made)
    hub.repositories["alice/mine"].files["README.md"] = b"old"
    parent = hub.repositories["alice/mine"].record()
    hub.fail("POST", "/commit/", 412)
    with pytest.raises(UserError, match=r"changed in the meantime.*is unchanged"):
        push_adapter(find_adapter("mine"), account_of(hub.alice), PushOptions(), parent=parent)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "does not accept this sign-in"),
        (403, "no permission for this"),
        (409, "being changed by somebody else"),
        (429, "in 7 seconds"),
        (500, r"The Hugging Face Hub reported an error \(500\)"),
        (0, "or it is private|The connection broke"),
    ],
)
def test_what_the_hub_answers_is_a_sentence(hub, status, words):
    hub.fail("GET", "/auth-check", status, times=9, headers={"Retry-After": "7"})
    with pytest.raises(UserError, match=words):
        look("alice/x", hub.alice)


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("alice/nothing", "There is no 'alice/nothing'"),
        ("tests/tiny-base", "is a whole model"),
        ("alice/gated", "is gated"),
        ("alice/pickle", "can run code"),
        ("alice/mine@nope", "no such revision"),
        ("nonsense", "is not the name of a repository"),
        ("../../etc/passwd", "is not the name of a repository"),
        ("https://evil.example/alice/mine", "is not an address on the Hugging Face Hub"),
        ("file:///etc/passwd", "is not an address on the Hugging Face Hub"),
        ("https://huggingface.co/", "is not the name of a repository"),
    ],
)
def test_what_cannot_be_pulled_is_a_sentence(hub, made, wanted, words):
    push(hub, made, private=False)
    hub.add("alice/gated", made, gated=True)
    hub.add("alice/pickle", {"adapter_config.json": b"{}", "adapter_model.bin": b"\x80\x02"})
    with pytest.raises(UserError, match=words):
        look(wanted, hub.bob)
    assert not adapters_folder("bob").exists()


def test_an_address_with_a_revision_is_understood(hub, made):
    first = push(hub, made).revision
    hub.repositories["alice/mine"].files["README.md"] = b"newer"
    hub.repositories["alice/mine"].record()
    offer = look(f"https://huggingface.co/alice/mine/tree/{first}", hub.alice)
    assert offer.revision == first and "rank 4 for tests/tiny-base" in offer.sentence()


@pytest.fixture
def checkpoints(hub, made):
    """A repository of checkpoints, each of another rank on paper, beside what a training leaves."""
    files = {"README.md": b"of all", "checkpoint-9/optimizer.pt": b"\x80\x02"}
    for place in ("checkpoint-9", "checkpoint-10"):
        files |= {f"{place}/{path.name}": path.read_bytes() for path in made.iterdir()}
        files[f"{place}/metrics.json"] = f'{{"step": {place[11:]}}}'.encode()
    hub.add("alice/run", files)
    return hub


@pytest.mark.parametrize(
    ("wanted", "options", "folder"),
    [
        ("https://huggingface.co/alice/run/tree/main/checkpoint-10", {}, "checkpoint-10"),
        ("https://huggingface.co/alice/run/blob/main/checkpoint-10/adapter_config.json", {}, "checkpoint-10"),
        ("hf.co/alice/run/tree/main/checkpoint%2D9/", {}, "checkpoint-9"),
        (
            "https://hf.co/alice/run/resolve/main/checkpoint-9/adapter_model.safetensors?download=true",
            {},
            "checkpoint-9",
        ),
        ("alice/run/checkpoint-9", {}, "checkpoint-9"),
        ("alice/run/checkpoint-9@main", {}, "checkpoint-9"),
        ("alice/run", {"subfolder": "checkpoint-10/"}, "checkpoint-10"),
        ("alice/run@main", {"subfolder": "checkpoint-9"}, "checkpoint-9"),
    ],
)
def test_an_address_with_a_folder_means_that_folder(checkpoints, wanted, options, folder):
    offer = look(wanted, checkpoints.alice, **options)
    assert offer.sentence().startswith(f"alice/run/{folder} (public) is a LoRA of rank 4")
    pulled = pull(offer, checkpoints.alice).adapter
    assert pulled.name == f"run-{folder}" and pulled.metrics["step"] == int(folder[11:])
    assert (pulled.origin.source, pulled.origin.repo_id) == (f"alice/run/{folder}", "alice/run")
    assert (
        not [path for path in pulled.folder.iterdir() if path.is_dir()] and not (pulled.folder / "README.md").exists()
    )
    assert describe_origin(pulled) == f"downloaded from alice/run/{folder}"


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("alice/run", "alice/run holds 2 adapters: checkpoint-9, checkpoint-10"),
        ("alice/run/checkpoint-7", "no adapter in 'checkpoint-7'.*There are: checkpoint-9, checkpoint-10"),
        ("https://huggingface.co/alice/run/tree/main/../../etc", "is not a folder"),
        ("https://huggingface.co/alice/run/tree/main/%2e%2e/etc", "is not a folder"),
        ("alice/run/a\x00b", "is not a folder|is not the name"),
        (f"alice/run/{'a' * 301}", "is not a folder"),
    ],
)
def test_a_folder_that_is_none_or_has_to_be_chosen_is_a_sentence(checkpoints, wanted, words):
    with pytest.raises(UserError, match=words):
        look(wanted, checkpoints.alice)


def test_the_adapter_of_a_folder_is_asked_for_before_every_load(hub, made):
    hub.add("alice/secret", {f"one/{path.name}": path.read_bytes() for path in made.iterdir()}, private=True)
    pulled = pull(look("alice/secret/one", hub.alice), hub.alice).adapter
    check_access(pulled, hub.alice)
    with pytest.raises(UserError, match="or it is private"):
        check_access(pulled, hub.bob)
    with pytest.raises(UserError, match="is a folder in a repository"):
        parse_repo("alice/secret/one")


def test_initial_weights_come_with_the_adapter_that_needs_them(hub, made):
    files = {path.name: path.read_bytes() for path in made.iterdir()}
    config = json.loads(files["adapter_config.json"]) | {"init_lora_weights": "olora"}
    hub.add("alice/olora", files | {"adapter_config.json": json.dumps(config).encode()})
    with pytest.raises(UserError, match="Without its initial weights"):
        look("alice/olora", hub.alice)
    name = "adapter_model.safetensors"
    hub.add("alice/olora", {**hub.repositories["alice/olora"].files, f"olora_init/{name}": files[name]})
    offer = look("alice/olora", hub.alice)
    assert offer.found.config["r"] == 8 and offer.size_bytes > 2 * len(files[name])
    assert pull(offer, hub.alice).adapter.lora_r == 8


def test_a_download_that_breaks_leaves_nothing(hub, made):
    push(hub, made)
    offer = look("alice/mine", hub.alice)
    hub.fail("GET", "adapter_model.safetensors", 403)
    with pytest.raises(UserError):
        pull(offer, hub.alice, "local", "again")
    assert [path.name for path in adapters_folder().iterdir()] == ["mine"]


def test_a_cut_connection_is_taken_up_again_and_progress_is_told(hub, made):
    push(hub, made)
    hub.fail("GET", "resolve", 0, times=1)
    told = []
    pull(look("alice/mine", hub.alice), hub.alice, "local", "again", lambda *what: told.append(what))
    fractions = [fraction for _, fraction in told]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0 and any("MB" in what for what, _ in told)


def test_search_finds_adapters_of_a_base_and_ones_own(hub, made):
    push(hub, made, private=True)
    push(hub, made, name="shown", private=False)
    assert [found.repo_id for found in search_hub(hub.bob, "tests/tiny-base")] == ["alice/shown"]
    assert {found.repo_id for found in search_hub(hub.alice, mine=True)} == {"alice/mine", "alice/shown"}
    assert search_hub(False, "tests/tiny-base", "nothing") == []
