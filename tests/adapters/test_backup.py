"""Checkpoints that go to one's own private repository while a run trains, and the run that comes back from there."""

import json
import pickle
import shutil
import zipfile

import pytest

from adapters import backup_repo
from adapters.backup import (
    backup_repo_name,
    find_repo,
    look_for_checkpoints,
    note_backup,
    read_backup,
    restore,
    send_checkpoint,
)
from adapters.hub import account_of
from common.errors import UserError
from common.files import append_json_line, write_text
from common.paths import home, runs_folder

REPO = "alice/mine-checkpoints"


@pytest.fixture
def run(made):
    """A run as it lies on the disk after checkpoint 2: real weights, real torch files, its data."""
    return make_run(made, "mine")


def make_run(made, name, step=2):
    folder = runs_folder() / name
    (folder / "data").mkdir(parents=True, exist_ok=True)
    write_text(folder / "config.yaml", f"name: {name}\nbase: tests/tiny-base\ndata: data/data.jsonl\n")
    (folder / "data" / "data.jsonl").write_text('{"text": "a secret of alice"}\n')
    for event in ({"event": "step", "step": 1, "loss": 2.0}, {"event": "note", "message": f"in {home()}/runs"}):
        append_json_line(folder / "events.jsonl", event)
    add_checkpoint(made, folder, step)
    return folder


def add_checkpoint(made, folder, step):
    import numpy
    import torch

    checkpoint = folder / "checkpoints" / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    shutil.copy(made / "adapter_model.safetensors", checkpoint)
    config = json.loads((made / "adapter_config.json").read_text()) | {"base_model_name_or_path": str(home() / "base")}
    (checkpoint / "adapter_config.json").write_text(json.dumps(config))
    torch.save({"state": {0: {"exp_avg": torch.ones(step)}}, "param_groups": []}, checkpoint / "optimizer.pt")
    torch.save({"last_epoch": step}, checkpoint / "scheduler.pt")
    torch.save({"numpy": numpy.random.get_state()}, checkpoint / "rng_state.pth")
    (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": step, "max_steps": 9}))
    (checkpoint / "README.md").write_text(f"a stub that names {home()}")
    (checkpoint / "training_args.bin").write_bytes(b"\x80\x02")
    (checkpoint / "complete").write_text(f"{step}\n")
    return checkpoint


def send(hub, run, step=2, token=None, parent=None, repo_id=REPO):
    checkpoint = run / "checkpoints" / f"checkpoint-{step}"
    return send_checkpoint(run, checkpoint, account_of(token or hub.alice), repo_id, parent)


def test_a_checkpoint_goes_into_a_private_repository_with_all_that_a_resume_needs(hub, run):
    assert find_repo(run, account_of(hub.alice)) == backup_repo_name("alice", "mine") == REPO
    revision = send(hub, run)
    repository = hub.repositories[REPO]
    assert repository.private and repository.commit == revision
    assert {name.split("/")[-1] for name in repository.files} == {
        *("README.md", "backup.json", "config.yaml", "events.jsonl", "data.jsonl", "complete", "adapter_config.json"),
        *("adapter_model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"),
    }
    for name, content in repository.files.items():
        assert str(home()).encode() not in content and hub.alice.encode() not in content, name
    known = read_backup(run)
    assert (known.repo_id, known.revision, known.checkpoint) == (REPO, revision, "checkpoints/checkpoint-2")
    assert hub.alice not in (run / "backup.json").read_text()


def test_the_next_checkpoint_takes_the_place_of_the_one_before_in_one_commit(hub, run, made):
    first = send(hub, run)
    add_checkpoint(made, run, 4)
    bodies = len(hub.bodies)
    send(hub, run, 4, parent=first)
    assert len(hub.bodies) == bodies + 1
    files = hub.repositories[REPO].files
    assert not [name for name in files if "checkpoint-2/" in name] and "checkpoints/checkpoint-4/complete" in files
    assert b"data/data.jsonl" in hub.bodies[0] and b"data/data.jsonl" not in hub.bodies[1], "the data went once"


def test_nothing_is_sent_to_a_repository_that_is_public(hub, run, made):
    hub.add(REPO, {".gitattributes": b""})
    with pytest.raises(UserError, match="is public"):
        send(hub, run)
    assert set(hub.repositories[REPO].files) == {".gitattributes"}
    hub.repositories[REPO].private = True
    first = send(hub, run)
    add_checkpoint(made, run, 4)
    hub.repositories[REPO].private = False
    with pytest.raises(UserError, match="is public"):
        send(hub, run, 4, parent=first)
    assert hub.commit(REPO) == first


def test_a_repository_that_becomes_public_during_the_upload_gets_no_commit(hub, run):
    real, hub.lfs = hub.fault_of, r"\.(safetensors|pt)$"

    def made_public(method, path):
        if method == "PUT":
            hub.repositories[REPO].private = False
        return real(method, path)

    hub.fault_of = made_public
    with pytest.raises(UserError, match="is public"):
        send(hub, run)
    assert not hub.repositories[REPO].files


def test_nobody_sends_into_anothers_account(hub, run):
    with pytest.raises(UserError, match="not in the account of bob"):
        send(hub, run, token=hub.bob)
    club = hub.add_user("carol", orgs=("club",))
    assert send(hub, run, token=club, repo_id="club/mine-checkpoints") == hub.commit("club/mine-checkpoints")


def test_another_runs_checkpoints_are_never_overwritten(hub, run, made):
    first = send(hub, run)
    shutil.rmtree(run)
    other = make_run(made, "mine")
    with pytest.raises(UserError, match="holds another run"):
        send(hub, other)
    assert find_repo(other, account_of(hub.alice)) == f"{REPO}-2"
    assert hub.commit(REPO) == first


def test_a_run_that_went_on_somewhere_else_is_not_overwritten(hub, run, made):
    first = send(hub, run)
    there = restore(REPO, account_of(hub.alice), runs_folder("elsewhere"))
    add_checkpoint(made, there, 4)
    known = read_backup(there)
    second = send(hub, there, 4, parent=known.revision)
    add_checkpoint(made, run, 3)
    with pytest.raises(UserError, match="went on somewhere else"):
        send(hub, run, 3, parent=first)
    assert hub.commit(REPO) == second


FAILURES = [("POST", part, status) for part in ("/repos/create", "/preupload/", "/commit/") for status in (0, 403, 500)]


@pytest.mark.parametrize(("method", "part", "status"), [*FAILURES, ("GET", "/models/alice", 429)])
def test_a_checkpoint_that_failed_is_sent_again(hub, run, method, part, status):
    hub.fail(method, part, status, times=99)
    with pytest.raises(UserError):
        send(hub, run)
    hub.faults.clear()
    assert send(hub, run) == hub.commit(REPO)


def test_a_commit_whose_answer_was_lost_does_not_stop_the_next(hub, run, made, monkeypatch):
    first = send(hub, run)
    add_checkpoint(made, run, 4)
    lost = lambda *arguments, **values: (_ for _ in ()).throw(UserError("The connection broke."))  # noqa: E731
    with monkeypatch.context() as patch, pytest.raises(UserError):
        patch.setattr("adapters.backup.note_backup", lost)
        send(hub, run, 4, parent=first)
    add_checkpoint(made, run, 6)
    assert send(hub, run, 6, parent=first) == hub.commit(REPO)


def test_a_checkpoint_that_was_replaced_meanwhile_is_a_sentence(hub, run):
    shutil.rmtree(run / "checkpoints" / "checkpoint-2")
    with pytest.raises(UserError, match="replaced by a newer one"):
        send(hub, run)


def test_the_upload_holds_on_to_files_that_the_training_removes(hub, run, monkeypatch):
    real = backup_repo.commit_checkpoint

    def removed_first(*arguments):
        shutil.rmtree(run / "checkpoints" / "checkpoint-2")
        return real(*arguments)

    monkeypatch.setattr("adapters.backup.commit_checkpoint", removed_first)
    send(hub, run)
    assert hub.repositories[REPO].files["checkpoints/checkpoint-2/optimizer.pt"][:2] == b"PK"
    assert not list(home().glob("tmp*"))


def test_a_base_that_is_a_folder_is_not_sent(hub, run, tiny_base):
    write_text(run / "config.yaml", f"name: mine\nbase: {tiny_base}\ndata: example\n")
    with pytest.raises(UserError, match="folder of this machine"):
        send(hub, run)
    assert REPO not in hub.repositories


def test_a_run_comes_back_whole(hub, run):
    revision = send(hub, run)
    shutil.copytree(run, home() / "kept")
    shutil.rmtree(run)
    folder = restore(REPO, account_of(hub.alice), runs_folder())
    assert folder == run and read_backup(folder).revision == revision
    for name in ("config.yaml", "data/data.jsonl", "checkpoints/checkpoint-2/optimizer.pt"):
        assert (folder / name).read_bytes() == (home() / "kept" / name).read_bytes()
    last = json.loads((folder / "events.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "stopped" and REPO in last["message"]
    assert restore(REPO, account_of(hub.alice), runs_folder()).name == "mine-2"


def test_only_ones_own_runs_come_back(hub, run):
    send(hub, run)
    for token in (hub.bob, hub.add_user("eve", orgs=("alicia",))):
        with pytest.raises(UserError, match="belongs to somebody else"):
            restore(REPO, account_of(token), runs_folder("bob"))
    hub.add("bob/nothing", {"x": b""})
    with pytest.raises(UserError, match="holds no checkpoint"):
        restore("bob/nothing", account_of(hub.bob), runs_folder("bob"))
    assert not runs_folder("bob").exists()


class Evil:
    def __reduce__(self):
        return (print, ("owned",))


def torch_file(value) -> bytes:
    import io

    import torch

    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def bomb() -> bytes:
    import io

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 50_000_000)
    return stream.getvalue()


AT = "checkpoints/checkpoint-2"
HOSTILE = {
    "code in the optimizer": ({f"{AT}/optimizer.pt": lambda: torch_file(Evil())}, "could run code"),
    "a bare pickle": ({f"{AT}/optimizer.pt": lambda: pickle.dumps(Evil())}, "is damaged"),
    "a bomb": ({f"{AT}/scheduler.pt": bomb}, "is damaged"),
    "numpy where none belongs": ({f"{AT}/optimizer.pt": lambda: torch_file(Evil)}, "could run code"),
    "another's data": ({"config.yaml": lambda: b"base: a/b\ndata: /etc/passwd\n"}, "names data by '/etc/passwd'"),
    "a way out": ({"config.yaml": lambda: b"base: a/b\ndata: ../user-bob/x.jsonl\n"}, "names data by"),
    "data that is not there": (
        {"config.yaml": lambda: b"base: a/b\ndata: data/data.csv\n"},
        "is not in the repository",
    ),
    "a base of the server": ({"config.yaml": lambda: b"base: /srv/models/x\ndata: example\n"}, "names its base by"),
    "a base outside": ({"config.yaml": lambda: b"base: ../x\ndata: example\n"}, "names its base by"),
    "aliases": ({"config.yaml": lambda: b"a: &a [x]\nb: *a\n"}, "holds no settings"),
    "no yaml": ({"config.yaml": lambda: b"\xff: ["}, "missing or damaged"),
    "another rank": ({f"{AT}/adapter_config.json": lambda: b'{"peft_type": "LORA", "r": 4096}'}, "The rank is 4096"),
    "code to import": (
        {f"{AT}/adapter_config.json": lambda: b'{"peft_type": "LORA", "auto_mapping": {"parent_library": "os"}}'},
        "names code to import",
    ),
    "cut weights": ({f"{AT}/adapter_model.safetensors": lambda: b"\x08\0\0\0\0\0\0\0{}"}, "cut off|damaged"),
    "another step": ({f"{AT}/trainer_state.json": lambda: b'{"global_step": 7}'}, "another step"),
    "two checkpoints": ({"checkpoints/checkpoint-9/complete": lambda: b"9"}, "holds 2 checkpoints"),
    "a huge file": ({"config.yaml": lambda: b"#" * 200_000}, "Not downloaded"),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_repository_of_ones_own_brings_nothing_in(hub, run, attack, capsys):
    send(hub, run)
    files, words = HOSTILE[attack]
    hub.repositories[REPO].files.update({name: make() for name, make in files.items()})
    hub.repositories[REPO].record()
    into = runs_folder("user-alice")
    with pytest.raises(UserError, match=words):
        restore(REPO, account_of(hub.alice), into)
    assert not list(into.glob("*")) and "owned" not in capsys.readouterr().out


def test_names_that_do_not_belong_to_a_run_are_not_even_downloaded(hub, run):
    send(hub, run)
    odd = ["../x", "data/../../x", "checkpoints/checkpoint-2/pytorch_model.bin", "process.json", "data/evil.py"]
    odd += ["checkpoints/checkpoint-2/training_args.bin", "checkpoints/checkpoint-2/adapter_model.bin", "stop"]
    hub.repositories[REPO].files.update(dict.fromkeys(odd, b"x"))
    hub.repositories[REPO].record()
    offer = look_for_checkpoints(REPO, account_of(hub.alice))
    assert not set(odd) & set(offer.files)
    folder = restore(REPO, account_of(hub.alice), runs_folder("user-alice"))
    assert not (folder / "process.json").exists() and len(list(folder.rglob("*.bin"))) == 0


def test_a_record_that_is_damaged_is_none(run):
    write_text(run / "backup.json", "[]")
    assert read_backup(run) is None
    assert note_backup(run, problem="x").writer


@pytest.mark.parametrize(
    "named",
    [
        {"num_machines": 2},
        {"machine_rank": 1},
        {"main_process_ip": "203.0.113.9"},
        {"rendezvous": "c10d"},
        {"accelerate_config": "/etc/passwd"},
    ],
)
def test_a_run_that_comes_back_names_no_machine_and_no_file_elsewhere(tmp_path, named):
    from adapters.checkpoint_files import check_settings

    (tmp_path / "config.yaml").write_text(json.dumps({"base": "embedded", "data": "example", **named}))
    with pytest.raises(UserError, match=next(iter(named))):
        check_settings(tmp_path)
