"""Checkpoints kept on the Hub while a run trains: the wish, the sender, the way back, and the sign-in's life against the time."""

import json
import os
import shutil
import threading

import gradio as gr
import pytest

from common.errors import UserError
from common.files import append_json_line, write_json
from common.paths import adapters_folder, home, runs_folder
from models.hub.client import account_of
from models.hub.errors import child_environment
from runs.backup.backup import note_backup, read_backup
from runs.config import TrainConfig
from runs.launcher import create_run
from runs.processes import this_process
from runs.run import Run, find_run, read_state
from tests.adapters.conftest import hub, made  # noqa: F401
from tests.adapters.runs import add_checkpoint, make_run
from tests.running import die_after, losses, run_main, write_rows
from ui.owner import Visitor
from ui.train import backups
from ui.train.backup_section import backup_words, bring_back
from ui.train.backups import backup_html, keep_sending, renew, send_when_new, sign_in_note

REPO = "alice/mine-checkpoints"
HOUR = 3600.0


@pytest.fixture(autouse=True)
def quiet_sender(monkeypatch):
    """No thread of its own: a test sends when it says so. Nothing is remembered from another test."""
    monkeypatch.setattr(backups, "_start_sender", lambda: None)
    monkeypatch.setattr(backups, "_accounts", {})
    monkeypatch.setattr(backups, "_pauses", {})


@pytest.fixture
def account(hub):  # noqa: F811
    return account_of(hub.alice)


@pytest.fixture
def run(made):  # noqa: F811
    """A run that trains, as far as its files say, with checkpoint 2."""
    run = Run(make_run(made, "mine"))
    write_json(run.process_file, {"trainer": this_process(os.getpid())})
    append_json_line(run.events_file, {"event": "training", "total_steps": 9})
    return run


@pytest.mark.slow
def test_a_run_that_lost_its_machine_goes_on_from_the_hub_with_the_same_losses(hub, account, tmp_path, monkeypatch):  # noqa: F811
    rows = [{"prompt": f"What is {n}?", "completion": f"It is {n}. " * (1 + n % 3)} for n in range(12)]
    settings = {"base": "tests/tiny-base", "data": write_rows(tmp_path / "rows.jsonl", rows), "max_steps": 6}
    settings |= {"save_steps": 2, "eval_steps": 2, "max_length": 128, "lora_dropout": 0.1, "precision": "fp32"}
    held_out = write_rows(
        tmp_path / "held_out.jsonl", [{"prompt": f"Why {n}?", "completion": f"{n * 7}."} for n in range(8)]
    )
    settings |= {"keep": "best", "learning_rate": 0.02, "eval_data": held_out}
    whole = create_run(TrainConfig(name="whole", **settings))
    assert run_main(whole) == 0
    expected, kept = losses(whole), read_state(whole).metrics["kept_step"]
    assert kept < 4, "else the best checkpoint would be the newest: choose another rate"
    weights = (adapters_folder() / "whole" / "adapter_model.safetensors").read_bytes()

    run = create_run(TrainConfig(name="mine", **settings))
    keep_sending(run, account)
    die_after(4, monkeypatch, lambda: send_when_new(run, account))
    with pytest.raises(SystemExit):
        run_main(run)
    assert losses(run) == expected[:4] and "checkpoint-4" in read_backup(run.folder).checkpoint
    shutil.rmtree(home())
    home().mkdir()

    back = bring_back(REPO, Visitor("local", hub.alice))
    assert back == find_run("mine") and read_state(back).status == "stopped"
    assert run_main(back) == 0
    state = read_state(back)
    assert state.status == "done" and [loss for _, loss in state.losses] == expected
    assert state.metrics["kept_step"] == kept, "the best checkpoint came back beside the newest"
    assert (adapters_folder() / "mine" / "adapter_model.safetensors").read_bytes() == weights
    send_when_new(back, account)
    assert "checkpoints/checkpoint-6/complete" in hub.repositories[REPO].files


def test_the_page_says_where_the_newest_checkpoint_is_or_why_not(hub, account, run, made):  # noqa: F811
    assert backup_html(run) == ""
    keep_sending(run, account)
    assert "none is there yet" in backup_html(run)
    send_when_new(run, account)
    assert f"Checkpoint 2 is in {REPO}." in backup_html(run) and "problem" not in backup_html(run)
    before = len(hub.requests)
    send_when_new(run, account)
    assert len(hub.requests) == before, "what is there is not sent again"
    add_checkpoint(made, run.folder, 4)
    hub.repositories[REPO].private = False
    send_when_new(run, account)
    words = ("Checkpoint 2 is in", "is public: everyone would see the data", "Trying again")
    assert all(each in backup_html(run) for each in words)
    hub.repositories[REPO].private = True
    send_when_new(run, account)
    assert "Checkpoint 4 is in" in backup_html(run) and "problem" not in backup_html(run)


def test_failures_are_tried_again_after_longer_and_longer_pauses(hub, account, run):  # noqa: F811
    hub.fail("GET", "/api/models", 429, times=99)
    pauses = []
    for _ in range(8):
        send_when_new(run, account)
        pauses.append(backups._pauses[run][1])
    assert pauses[:3] == [30, 60, 120] and pauses[-1] == backups.MAX_PAUSE_SECONDS
    assert "Too many requests" in backup_html(run)
    hub.faults.clear()
    send_when_new(run, account)
    assert run not in backups._pauses and REPO in hub.repositories


def test_a_bug_in_the_sender_ends_neither_the_thread_nor_the_run(account, run, monkeypatch):
    monkeypatch.setattr(backups, "find_repo", lambda *arguments: 1 / 0)
    keep_sending(run, account)
    send_when_new(run, account)
    assert "inside the app" in backup_html(run)
    shutil.rmtree(run.folder)
    send_when_new(run, account)
    assert run not in backups._accounts and not run.folder.exists()


def test_the_token_is_forgotten_when_the_run_has_ended_and_its_last_checkpoint_is_there(account, run):
    keep_sending(run, account)
    send_when_new(run, account)
    assert backups._accounts == {run: account}
    append_json_line(run.events_file, {"event": "done"})
    send_when_new(run, account)
    assert backups._accounts == {}


def test_the_token_is_in_no_file_and_not_in_the_training_process(hub, account, run, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HF_TOKEN", hub.alice)
    keep_sending(run, account)
    send_when_new(run, account)
    assert hub.alice not in json.dumps(child_environment())
    for path in [path for path in home().rglob("*") if path.is_file()]:
        assert hub.alice.encode() not in path.read_bytes(), path


def test_a_new_sign_in_on_the_open_page_goes_on_sending(hub, run):  # noqa: F811
    new = hub.add_user("alice")
    renew(run, Visitor("local", new))
    assert backups._accounts == {}, "nobody asked for it"
    note_backup(run.folder, repo_id=REPO)
    assert "nobody is signed in" in backup_html(run)
    renew(run, Visitor("local", False))
    renew(run, Visitor("local", "hf_unknown"))
    renew(run, Visitor("local", hub.add_user("alice", "read")))
    assert backups._accounts == {}
    renew(run, Visitor("local", new))
    assert backups._accounts[run].token == new and "nobody" not in backup_html(run)


def test_the_sender_is_one_thread_of_the_app(monkeypatch):
    monkeypatch.undo()
    over = threading.Event()
    monkeypatch.setattr(backups, "_send_for_ever", over.wait)
    for _ in range(2):
        backups._start_sender()
    running = [thread for thread in threading.enumerate() if thread.name == backups.SENDER]
    over.set()
    assert len(running) == 1 and running[0].daemon


def test_without_a_sign_in_that_may_write_the_wish_is_refused_in_words(hub):  # noqa: F811
    assert "You are not signed in" in backup_words("mine", Visitor("local"), None, None)
    reader = hub.add_user("carol", "read")
    assert "can only read" in backup_words("mine", Visitor("local", reader), None, None)
    said = backup_words("My Run <b>", Visitor("local", hub.alice), None, 60.0)
    assert "alice/my-run-b-checkpoints (private)" in said


@pytest.mark.parametrize(
    ("left", "seconds", "words"),
    [
        (8 * HOUR, 0.5 * HOUR, "lasts 8 h; the training takes about 30 min"),
        (8 * HOUR, 10 * HOUR, "ends in 8 h; the training takes about 10 h. Sign in again"),
        (1 * HOUR, 0.95 * HOUR, "Sign in again"),
        (2 * HOUR, None, "ends in 2 h. Measure the time"),
        (-1.0, 60.0, "sign-in has expired"),
    ],
)
def test_the_sign_ins_life_is_told_against_the_time_of_the_training(left, seconds, words):
    assert words in sign_in_note(1000.0 + left, seconds, 1000.0)
    assert sign_in_note(None, seconds, 1000.0) is sign_in_note(0.0, seconds, 1000.0) is None, "it does not end"


def test_on_a_space_a_run_comes_back_within_its_limits(hub, account, run, monkeypatch):  # noqa: F811
    send_when_new(run, account)
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    visitor = Visitor("user-alice", hub.alice)
    back = bring_back(REPO, visitor)
    assert back.config().max_minutes == 120 and back.owner == "user-alice"
    files = hub.repositories[REPO].files
    files["config.yaml"] += b"max_minutes: 9000\n"
    hub.repositories[REPO].record()
    with pytest.raises(UserError, match="the maximum on this machine is 120"):
        bring_back(REPO, visitor)
    monkeypatch.setenv("STUDIO_MAX_KEPT_RUNS", "1")
    with pytest.raises(UserError, match="You have 1 run;"):
        bring_back(REPO, visitor)
    assert [path.name for path in runs_folder("user-alice").iterdir()] == ["mine"]


def test_a_start_with_the_wish_and_nobody_signed_in_starts_nothing(page):
    start = next(one for one in page.fns.values() if one.api_name == "start_training")
    values = [getattr(component, "value", None) for component in start.inputs]
    with pytest.raises(gr.Error, match="You are not signed in"):
        start.fn(None, *values[:-1], True)
    assert not list(runs_folder().glob("*"))
