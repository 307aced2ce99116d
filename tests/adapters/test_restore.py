"""A run that comes back from its checkpoints on the Hub: whole, one's own, and looked through before it is believed."""

import json
import pickle
import shutil
import zipfile

import pytest

from common.errors import UserError
from common.paths import home, runs_folder
from models.hub.client import account_of
from runs.backup.backup import look_for_checkpoints, read_backup, restore
from runs.backup.backup_files import check_settings
from runs.events import read_events
from tests.adapters.runs import REPO, send


def test_a_run_comes_back_whole(hub, run):
    revision = send(hub, run)
    shutil.copytree(run, home() / "kept")
    shutil.rmtree(run)
    folder = restore(REPO, account_of(hub.alice), runs_folder())
    assert folder == run and read_backup(folder).revision == revision
    for name in ("config.yaml", "data/data.jsonl", "checkpoints/checkpoint-2/optimizer.pt"):
        assert (folder / name).read_bytes() == (home() / "kept" / name).read_bytes()
    last = read_events(folder / "events.jsonl")[-1]
    assert last["event"] == "stopped" and REPO in last["message"]
    assert restore(REPO, account_of(hub.alice), runs_folder()).name == "mine-2"


def test_only_ones_own_runs_come_back(hub, run):
    send(hub, run)
    for token in (hub.bob, hub.add_user("eve", orgs=("alicia",))):
        with pytest.raises(UserError, match="belongs to someone else"):
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
    "another's data": (
        {"config.yaml": lambda: b"base: a/b\ndata: /etc/passwd\n"},
        "data in config.yaml is '/etc/passwd'",
    ),
    "a way out": ({"config.yaml": lambda: b"base: a/b\ndata: ../user-bob/x.jsonl\n"}, "data in config.yaml is"),
    "another's data in a mix": (
        {"config.yaml": lambda: b"base: a/b\ndata: example, /etc/passwd.csv:1\n"},
        "data in config.yaml is '/etc/passwd.csv'",
    ),
    "data that is not there": (
        {"config.yaml": lambda: b"base: a/b\ndata: data/data.csv\n"},
        "is not in the repository",
    ),
    "a base of the server": (
        {"config.yaml": lambda: b"base: /srv/models/x\ndata: example\n"},
        "base in config.yaml is",
    ),
    "a base outside": ({"config.yaml": lambda: b"base: ../x\ndata: example\n"}, "base in config.yaml is"),
    "aliases": ({"config.yaml": lambda: b"a: &a [x]\nb: *a\n"}, "missing, damaged"),
    "no yaml": ({"config.yaml": lambda: b"\xff: ["}, "missing, damaged"),
    "another rank": ({f"{AT}/adapter_config.json": lambda: b'{"peft_type": "LORA", "r": 4096}'}, "The rank is 4096"),
    "code to import": (
        {f"{AT}/adapter_config.json": lambda: b'{"peft_type": "LORA", "auto_mapping": {"parent_library": "os"}}'},
        "names code to import",
    ),
    "cut weights": ({f"{AT}/adapter_model.safetensors": lambda: b"\x08\0\0\0\0\0\0\0{}"}, "cut off|damaged"),
    "another step": ({f"{AT}/trainer_state.json": lambda: b'{"global_step": 7}'}, "another step"),
    "two checkpoints": ({"checkpoints/checkpoint-9/complete": lambda: b"9"}, "holds 2 checkpoints"),
    "a huge file": ({"config.yaml": lambda: b"#" * 200_000}, "Nothing was downloaded"),
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


def test_the_best_checkpoint_is_looked_through_like_the_newest(hub, run, capsys):
    send(hub, run)
    repository = hub.repositories[REPO]
    for name in [name for name in repository.files if name.startswith(AT)]:
        repository.files[name.replace(AT, "checkpoints/checkpoint-1")] = repository.files[name]
    log = [{"step": 1, "eval_loss": 1.0}, {"step": 2, "eval_loss": 2.0}]
    for step in (1, 2):
        state = json.dumps({"global_step": step, "log_history": log[:step]}).encode()
        repository.files[f"checkpoints/checkpoint-{step}/trainer_state.json"] = state
    repository.record()
    assert restore(REPO, account_of(hub.alice), runs_folder("user-alice")), "harmless so far"
    repository.files["checkpoints/checkpoint-1/optimizer.pt"] = torch_file(Evil())
    repository.record()
    with pytest.raises(UserError, match="could run code"):
        restore(REPO, account_of(hub.alice), runs_folder("user-alice"))
    assert "owned" not in capsys.readouterr().out


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
    (tmp_path / "config.yaml").write_text(json.dumps({"base": "embedded", "data": "example", **named}))
    with pytest.raises(UserError, match=next(iter(named))):
        check_settings(tmp_path)


def test_a_run_on_several_data_sets_comes_back_with_its_own_files_only(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data-1.jsonl").touch()
    own = "data/data-1.jsonl:0.5, example:0.3, o/n@v1:0.2"
    (tmp_path / "config.yaml").write_text(json.dumps({"base": "embedded", "data": own}))
    check_settings(tmp_path)
    for other in ("data/data-2.jsonl", "data/../x.jsonl", "/srv/x.jsonl", "../x.jsonl"):
        (tmp_path / "config.yaml").write_text(json.dumps({"base": "embedded", "data": f"{own}, {other}:1"}))
        with pytest.raises(UserError, match=r"in config.yaml is|not in the repository"):
            check_settings(tmp_path)
