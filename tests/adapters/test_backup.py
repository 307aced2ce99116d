"""Checkpoints that go to one's own private repository while a run trains."""

import json
import shutil

import pytest

from common.errors import UserError
from common.files import write_text
from common.paths import home, runs_folder
from models.hub.client import account_of
from runs.backup import backup_repo
from runs.backup.backup import backup_repo_name, find_repo, note_backup, read_backup, restore
from runs.checkpoints import whole_steps
from runs.labels import labels_of, set_labels
from runs.run import Run
from tests.adapters.runs import REPO, add_checkpoint, make_run, send


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


def test_the_labels_of_a_run_travel_with_it(hub, run):
    set_labels(Run(run), "Poems", "small batches", ["korean"], starred=True)
    send(hub, run)
    assert hub.repositories[REPO].files["about.json"] == Run(run).about_file.read_bytes()
    back = restore(REPO, account_of(hub.alice), runs_folder("user-alice"))
    assert labels_of(Run(back)) == labels_of(Run(run)) and back != run


def test_the_next_checkpoint_takes_the_place_of_the_one_before_in_one_commit(hub, run, made):
    first = send(hub, run)
    add_checkpoint(made, run, 4)
    bodies = len(hub.bodies)
    send(hub, run, 4, parent=first)
    assert len(hub.bodies) == bodies + 1
    files = hub.repositories[REPO].files
    assert not [name for name in files if "checkpoint-2/" in name] and "checkpoints/checkpoint-4/complete" in files
    assert b"data/data.jsonl" in hub.bodies[0] and b"data/data.jsonl" not in hub.bodies[1], "the data went once"


def test_the_best_checkpoint_goes_along_and_comes_back_where_the_run_keeps_its_best_step(hub, run, made):
    with open(run / "config.yaml", "a") as file:
        file.write("keep: best\n")
    first = send(hub, run)
    log, commits = [{"step": 2, "eval_loss": 1.5}], [first]
    for step, loss in ((4, 1.9), (6, 1.4)):
        log.append({"step": step, "eval_loss": loss})
        state = add_checkpoint(made, run, step) / "trainer_state.json"
        write_text(state, json.dumps({"global_step": step, "max_steps": 9, "log_history": log}))
        commits.append(send(hub, run, step, parent=commits[-1]))
        marks = [name for name in hub.repositories[REPO].files if name.endswith("complete")]
        assert len(marks) == (2 if step == 4 else 1), "a new best one is sent alone"
        if step == 4:
            back = restore(REPO, account_of(hub.alice), runs_folder("user-alice"))
            assert whole_steps(back / "checkpoints") == [2, 4] and read_backup(back).checkpoint.endswith("checkpoint-4")
            for file in ("adapter_model.safetensors", "optimizer.pt"):
                inside = f"checkpoints/checkpoint-2/{file}"
                assert (back / inside).read_bytes() == (run / inside).read_bytes()
    assert all(str(home()).encode() not in content for content in hub.repositories[REPO].files.values())


def test_an_older_checkpoint_leaves_the_history_too(hub, run, made):
    first = send(hub, run)
    add_checkpoint(made, run, 4)
    second = send(hub, run, 4, parent=first)
    repository = hub.repositories[REPO]
    assert list(repository.snapshots) == [second] == repository.history and read_backup(run).revision == second
    hub.fail("POST", "/super-squash/", 403)
    add_checkpoint(made, run, 6)
    third = send(hub, run, 6, parent=second)
    assert "checkpoints/checkpoint-6/complete" in repository.files and hub.commit(REPO) == third
    add_checkpoint(made, run, 8)
    assert send(hub, run, 8, parent=third) == hub.commit(REPO) and len(repository.snapshots) == 1


def test_the_large_files_of_older_checkpoints_leave_the_storage_and_no_other_does(hub, run, made):
    hub.lfs = r"\.(safetensors|pt|jsonl)$"
    parent = send(hub, run)
    for step in (4, 6):
        add_checkpoint(made, run, step)
        parent = send(hub, run, step, parent=parent)
    repository = hub.repositories[REPO]
    names = {name for name in repository.files if name.endswith((".safetensors", ".pt", ".jsonl"))}
    assert {name for name in repository.stored.values() if "checkpoint-" in name} <= names
    assert all(repository.content(name) for name in names) and "data/data.jsonl" in repository.stored.values()


def test_a_damaged_record_of_the_adapter_it_began_with_does_not_hold_a_checkpoint_back(hub, run):
    record = run / "init_adapter" / "studio.json"
    record.parent.mkdir()
    record.write_text("[1]")
    send(hub, run)
    assert b"null" in hub.repositories[REPO].files["init_adapter/studio.json"]


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
    with pytest.raises(UserError, match="does not belong to bob"):
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
    with pytest.raises(UserError, match="was continued somewhere else"):
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
        patch.setattr("runs.backup.backup.note_backup", lost)
        send(hub, run, 4, parent=first)
    add_checkpoint(made, run, 6)
    assert send(hub, run, 6, parent=first) == hub.commit(REPO)


def test_a_checkpoint_that_was_replaced_meanwhile_is_a_sentence(hub, run):
    shutil.rmtree(run / "checkpoints" / "checkpoint-2")
    with pytest.raises(UserError, match="replaced by a newer one"):
        send(hub, run)


def test_a_checkpoint_of_many_processes_states_is_not_sent(hub, run):
    (run / "checkpoints" / "checkpoint-2" / "optimizer.pt").unlink()
    (run / "checkpoints" / "checkpoint-2" / "global_step2").mkdir()
    with pytest.raises(UserError, match="DeepSpeed and FSDP cannot be sent"):
        send(hub, run)
    assert REPO not in hub.repositories


def test_the_upload_holds_on_to_files_that_the_training_removes(hub, run, monkeypatch):
    real = backup_repo.commit_checkpoint

    def removed_first(*arguments):
        shutil.rmtree(run / "checkpoints" / "checkpoint-2")
        return real(*arguments)

    monkeypatch.setattr("runs.backup.backup.commit_checkpoint", removed_first)
    send(hub, run)
    assert hub.repositories[REPO].files["checkpoints/checkpoint-2/optimizer.pt"][:2] == b"PK"
    assert not list(home().glob("tmp*"))


def test_a_base_that_is_a_folder_is_not_sent(hub, run, tiny_base):
    write_text(run / "config.yaml", f"name: mine\nbase: {tiny_base}\ndata: example\n")
    with pytest.raises(UserError, match="folder on this machine"):
        send(hub, run)
    assert REPO not in hub.repositories


def test_a_record_that_is_damaged_is_none(run):
    write_text(run / "backup.json", "[]")
    assert read_backup(run) is None
    assert note_backup(run, problem="x").writer
