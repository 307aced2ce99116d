"""Hugging Face Jobs: what is sent, what it may cost, what its refusals mean, and what a follower makes of a job's words."""

import json
import threading
import time
from dataclasses import replace

import pytest

from adapters.hub import account_of
from common.errors import UserError
from jobs.__main__ import main
from jobs.follow import MARK, Mirror, _event, attach, follow
from jobs.hf import IMAGE, cancel, end_job, note_job, read_job, resume, submit
from jobs.inside import Printer
from jobs.parcel import pack, send
from jobs.prices import DOCUMENTED, FROM_DOCS, FROM_HUB, flavors, plan
from tests.trainer.running import events
from trainer.queue import enqueue
from trainer.run import EventLog, list_runs, read_state


def event(number: int, kind: str, **values) -> str:
    """A line of a job's log that is an event."""
    return json.dumps({MARK: {"n": number, "event": {"time": 1.0 + number, "event": kind, **values}}})


@pytest.fixture
def agreed(alice):
    return plan("a10g-largex2", 60, 5.0, alice.token)


@pytest.fixture
def run(alice, agreed, config):
    return submit(config, agreed, alice)


def test_machines_and_prices_are_the_hubs_own_and_else_those_of_its_documentation(hub, alice):
    found = {flavor.name: flavor for flavor in flavors(alice.token)}
    assert found["a10g-largex2"].gpus == 2 and found["a10g-largex2"].dollars_per_minute == 0.05
    assert {flavor.source for flavor in found.values()} == {FROM_HUB}
    hub.fail("GET", "/api/jobs/hardware", 404)
    found = flavors(alice.token)
    assert {flavor.name for flavor in found} == set(DOCUMENTED) and {flavor.source for flavor in found} == {FROM_DOCS}
    hub.fail("GET", "/api/jobs/hardware", 404)
    assert "documentation of 2026-11-25" in plan("t4-small", 60, 5, alice.token).sentence()


def test_a_plan_says_the_most_that_it_can_cost(alice, agreed):
    assert agreed.most_dollars == 3.00 and "$3.00 at most" in agreed.sentence() and "60 minutes" in agreed.sentence()
    with pytest.raises(UserError, match=r"can cost \$3.00; \$2.99 is your limit.*59 minutes"):
        plan("a10g-largex2", 60, 2.99, alice.token)


@pytest.mark.parametrize(
    ("flavor", "minutes", "dollars"),
    [("a10", 60, 5), ("cpu-basic", 5, 5), ("cpu-basic", 99999, 500), ("cpu-basic", 60, 0), ("cpu-basic", None, 5)],
)
def test_limits_that_are_none_are_refused(alice, flavor, minutes, dollars):
    with pytest.raises(UserError):
        plan(flavor, minutes, dollars, alice.token)


def test_what_is_submitted_is_one_attempt_with_its_limit_and_the_token_as_a_secret(hub, alice, run, agreed):
    sent = hub.jobs.payloads[0]
    assert sent["timeoutSeconds"] == 3600 and sent["attempts"] == 1 and sent["flavor"] == "a10g-largex2"
    assert sent["dockerImage"] == IMAGE and sent["environment"] == {} and sent["secrets"] == {"HF_TOKEN": alice.token}
    assert alice.token not in json.dumps(sent["command"]) and sent["labels"]["studio-run"] == run.id
    repo_id, commit = sent["command"][4:6]
    assert hub.repositories[repo_id].private and hub.repositories[repo_id].commit == commit
    assert run.config().num_processes == 2, "one process a GPU"
    job = read_job(run)
    assert job.most_dollars == 3.0 and job.adapter_repo == "alice/far"
    assert alice.token not in run.job_file.read_text() and read_state(run).status == "preparing"


def test_the_parcel_holds_what_trains_and_no_more(run, tmp_path):
    import zipfile

    names = zipfile.ZipFile(pack(run, tmp_path / "job.zip")).namelist()
    assert {"run/config.yaml", "studio/jobs/inside.py", "studio/requirements.txt", "studio/trainer/train.py"} <= set(
        names
    )
    assert any(name.startswith("run/data/") for name in names)
    assert not [
        name for name in names if "/ui/" in name or "tests/" in name or "train.log" in name or "__pycache__" in name
    ]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "does not know this sign-in"),
        (402, "no credit for Jobs.*billing"),
        (403, "may not run jobs.*`jobs`"),
        (429, "pause: too many requests"),
    ],
)
def test_a_refusal_says_what_to_do_and_the_run_can_be_resumed(hub, alice, agreed, config, status, words):
    hub.fail("POST", "/api/jobs/alice", status)
    with pytest.raises(UserError, match=words):
        submit(config, agreed, alice)
    (made,) = list_runs()
    assert read_state(made).status == "stopped" and "Not started" in read_state(made).message
    assert not hub.jobs.payloads
    resume(made, agreed, alice)
    assert len(hub.jobs.payloads) == 1 and read_state(made).status == "preparing"


def test_a_sign_in_without_the_scope_is_told_which_one_is_missing(hub, alice, agreed, config):
    guest = account_of(hub.add_user("carol", role="contribute"))
    with pytest.raises(UserError, match="hf_oauth_scopes"):
        submit(config, agreed, guest)


def test_a_job_whose_answer_was_lost_is_found_and_not_started_twice(hub, alice, agreed, config):
    hub.jobs.loses_answers = 1
    run = submit(config, agreed, alice)
    assert len(hub.jobs.payloads) == 1 and read_job(run).id in hub.jobs.jobs


def test_a_public_repository_of_that_name_is_never_written_to(hub, alice, agreed, config):
    hub.add("alice/far-job", {"job.zip": b"x"})
    with pytest.raises(UserError, match="no private parcel"):
        submit(config, agreed, alice)
    assert not hub.jobs.payloads


def test_events_and_words_arrive_in_the_run_once_however_often_it_is_followed(hub, alice, run):
    job = read_job(run)
    hub.jobs.ends(job.id, "RUNNING")
    hub.fail("GET", f"/{job.id}/logs", times=1)  # the connection is cut after three lines
    lines = ["Installing", event(0, "training"), event(1, "step", step=1, total_steps=2, loss=2.0)]
    lines += ['{"half', event(2, "step", step=2, total_steps=2, loss=1.5)]
    for line in lines:
        hub.jobs.says(job.id, line)
    assert attach(run, alice) and attach(run, alice)
    deadline = time.monotonic() + 60
    while len(read_state(run).losses) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sum(thread.name == f"job-local-{run.id}" for thread in threading.enumerate()) == 1
    hub.jobs.says(job.id, event(3, "failed", message="No luck.", hint="Try again."))
    hub.jobs.ends(job.id, "ERROR", "Job failed with exit code: 1")
    state = follow(run, alice)  # as after a restart of the app: all of the log comes again
    assert state.status == "failed" and state.message == "No luck." and state.losses == [(1, 2.0), (2, 1.5)]
    while any(thread.name == f"job-local-{run.id}" for thread in threading.enumerate()):
        assert time.monotonic() < deadline + 60
        time.sleep(0.05)
    assert len(events(run, "step")) == 2 and len(events(run, "failed")) == 1
    assert run.log_file.read_text() == 'Installing\n{"half\n'
    assert not attach(run, alice), "it is over"


@pytest.mark.parametrize(
    ("stage", "words", "status", "said"),
    [
        ("ERROR", "Job timeout", "stopped", "60 minutes of the job are over"),
        ("ERROR", "exit code 137", "failed", "exit code 137"),
        ("CANCELED", None, "stopped", "cancelled"),
        ("COMPLETED", None, "failed", "no last word"),
    ],
)
def test_a_job_that_ends_without_a_last_word_is_told_by_its_stage(hub, alice, run, stage, words, status, said):
    hub.jobs.ends(read_job(run).id, stage, words)
    state = follow(run, alice)
    assert state.status == status and said in state.message and "alice/far-checkpoints" in state.hint


def test_a_run_that_is_deleted_costs_nothing_any_more(hub, alice, run):
    from trainer.history import discard

    job = read_job(run)
    hub.jobs.ends(job.id, "RUNNING")
    attach(run, alice)
    discard(run)
    deadline = time.monotonic() + 60
    while hub.jobs.jobs[job.id].stage != "CANCELED":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_nobody_else_can_cancel_or_follow_it(hub, alice, run):
    bob = account_of(hub.bob)
    assert not attach(run, bob)
    with pytest.raises(UserError):
        cancel(run, bob)
    assert hub.jobs.jobs[read_job(run).id].stage == "SCHEDULING"


def test_a_sign_in_that_ended_ends_the_following_not_the_job(hub, alice, run):
    hub.fail("GET", f"/api/jobs/alice/{read_job(run).id}", 401, times=9)
    with pytest.raises(UserError, match="sign-in"):
        follow(run, alice)
    assert read_state(run).is_running


def test_a_running_job_is_not_resumed_and_no_job_is_trained_here(alice, agreed, run):
    with pytest.raises(UserError, match="still running"):
        resume(run, agreed, alice)
    with pytest.raises(UserError, match="another machine"):
        enqueue(run)
    note_job(run, stage="ERROR")
    EventLog(run).write("stopped", message="over")
    with pytest.raises(UserError, match="another machine"):
        enqueue(run)


def test_the_command_shows_the_cost_and_starts_nothing_without_a_yes(hub, alice, config, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HF_TOKEN", hub.alice)
    assert main(["hardware"]) == 0 and "a10g-largex2, $3.00 an hour" in capsys.readouterr().out
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    asked = ["hf", "--config", str(tmp_path / "config.yaml"), "--flavor", "a10g-largex2", "--minutes", "60"]
    monkeypatch.setattr("builtins.input", lambda question: "no")
    assert main([*asked, "--max-dollars", "5"]) == 1 and "$3.00 at most" in capsys.readouterr().out
    assert main([*asked, "--max-dollars", "2", "--yes"]) == 1 and "$2.00 is your limit" in capsys.readouterr().err
    assert not hub.jobs.payloads and list_runs() == []


def test_the_command_cancels_a_job_and_says_where_its_checkpoint_is(hub, alice, run, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", hub.alice)
    assert main(["cancel", run.id]) == 0
    assert "cancelled" in (said := capsys.readouterr().out) and "alice/far-checkpoints" in said
    assert hub.jobs.jobs[read_job(run).id].stage == "CANCELED" and read_state(run).status == "stopped"


def test_a_second_resume_at_the_same_time_is_no_second_job(hub, alice, agreed, run, monkeypatch):
    note_job(run, stage="ERROR")
    EventLog(run).write("stopped", message="The job was lost.")
    sending, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr("jobs.hf.send", lambda *given: (sending.set(), go_on.wait(60), send(*given))[2])
    first = threading.Thread(target=resume, args=(run, agreed, alice))
    first.start()
    assert sending.wait(60)
    before = len(hub.jobs.payloads)
    with pytest.raises(UserError, match="being started already"):
        resume(run, agreed, alice)
    go_on.set()
    first.join(60)
    assert len(hub.jobs.payloads) == before + 1
    with pytest.raises(UserError, match="still running"):
        resume(run, agreed, alice)
    assert read_state(run).is_running, "the refusal left the job as it was"


def test_a_job_that_cannot_be_noted_is_ended(hub, alice, agreed, run, monkeypatch):
    note_job(run, stage="ERROR")
    EventLog(run).write("stopped", message="The job was lost.")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jobs.hf.announce", full)
    with pytest.raises(UserError, match="was ended again"):
        resume(run, agreed, alice)
    assert [job.stage for job in hub.jobs.jobs.values()][-1] == "CANCELED"


def test_what_one_machine_cannot_keep_is_refused_before_it_costs(hub, alice, agreed, config):
    with pytest.raises(UserError, match="num_machines"):
        submit(replace(config, num_machines=2, num_processes=2, main_process_ip="10.0.0.1"), agreed, alice)
    assert not hub.jobs.payloads and not list_runs()


def test_a_deleted_run_ends_its_job_also_when_nobody_follows_it(hub, alice, run):
    with pytest.raises(UserError):
        end_job(run, hub.bob)
    end_job(run, alice.token)
    assert hub.jobs.jobs[read_job(run).id].stage == "CANCELED"


def test_a_line_of_the_log_is_never_an_event(run, capsys):
    run.log_file.write_text(event(9, "done") + "\nplain\n")
    Printer(run)._print_log()
    assert [_event(line) for line in capsys.readouterr().out.splitlines()] == [None, None]


def test_a_run_that_is_deleted_in_the_middle_of_a_write_still_ends_its_job(hub, alice, run, monkeypatch):
    from trainer.history import discard

    job, write = read_job(run), Mirror.tell_stage

    def deleted_meanwhile(mirror, stage):
        if run.folder.exists():
            discard(run)
            raise FileNotFoundError(run.log_file)
        write(mirror, stage)

    monkeypatch.setattr(Mirror, "tell_stage", deleted_meanwhile)
    hub.jobs.ends(job.id, "RUNNING")
    attach(run, alice)
    deadline = time.monotonic() + 60
    while hub.jobs.jobs[job.id].stage != "CANCELED":
        assert time.monotonic() < deadline
        time.sleep(0.05)
