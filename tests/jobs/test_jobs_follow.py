"""What a follower makes of a job's words, and how a job ends: asked, cancelled, out of time, deleted."""

import json
import threading
import time
from dataclasses import replace

import pytest

from common.errors import UserError
from common.language import Sentence, n_, unpacked
from jobs.__main__ import main
from jobs.follow import Mirror, _event, attach, follow, is_out_of_time
from jobs.hf import cancel, end_job, read_job
from jobs.inside import Printer
from jobs.stop import PATIENCE_SECONDS, Ending, is_asked
from models.hub.client import account_of
from runs.history import discard
from runs.run import read_state
from tests.jobs.conftest import event, wait_for
from tests.running import events


def followers(run) -> int:
    return sum(thread.name == f"job-local-{run.id}" for thread in threading.enumerate())


def test_events_and_words_arrive_in_the_run_once_however_often_it_is_followed(hub, alice, run):
    job = read_job(run)
    hub.jobs.ends(job.id, "RUNNING")
    hub.fail("GET", f"/{job.id}/logs", times=1)  # the connection is cut after three lines
    lines = ["Installing", event(0, "training"), event(1, "step", step=1, total_steps=2, loss=2.0)]
    lines += ['{"half', event(2, "step", step=2, total_steps=2, loss=1.5)]
    for line in lines:
        hub.jobs.says(job.id, line)
    assert attach(run, alice) and attach(run, alice)
    wait_for(lambda: len(read_state(run).losses) == 2, "both steps")
    assert followers(run) == 1
    hub.jobs.says(job.id, event(3, "failed", message="No luck.", hint="Try again."))
    hub.jobs.ends(job.id, "ERROR", "Job failed with exit code: 1")
    state = follow(run, alice)  # as after a restart of the app: all of the log comes again
    assert state.status == "failed" and state.message == "No luck." and state.losses == [(1, 2.0), (2, 1.5)]
    wait_for(lambda: not followers(run), "the end of the follower")
    assert len(events(run, "step")) == 2 and len(events(run, "failed")) == 1
    assert run.log_file.read_text() == 'Installing\n{"half\n'
    assert not attach(run, alice), "it is over"


@pytest.mark.parametrize(
    ("stage", "words", "status", "said"),
    [
        ("ERROR", "Job timeout", "stopped", "time limit of 60 minutes"),
        ("ERROR", "Container exceeded its deadline", "stopped", "time limit of 60 minutes"),
        ("ERROR", "exit code 137", "failed", "exit code 137"),
        ("ERROR", "Runtime error: exit code 1", "failed", "Runtime error"),
        ("CANCELED", None, "stopped", "cancelled"),
        ("COMPLETED", None, "failed", "without saying why"),
    ],
)
def test_a_job_that_ends_without_a_last_word_is_told_by_its_stage(hub, alice, run, stage, words, status, said):
    hub.jobs.ends(read_job(run).id, stage, words)
    state = follow(run, alice)
    assert state.status == status and said in state.message and "alice/far-checkpoints" in state.hint


@pytest.mark.parametrize(
    ("words", "seconds", "waited", "is_late"),
    [
        ("Job timed out", 3.0, 0, True),
        ("", 3599.0, 0, True),
        ("exit code: 137", 3600.0, 0, True),
        ("exit code: 1", 180.0, 7200, False),
        ("exit code: 1", None, 7200, False),
        ("", None, 7200, True),
        ("", None, 60, False),
    ],
    ids=["words", "clock", "killed at the limit", "queued for long", "its own end", "nothing told", "too early"],
)
def test_a_time_out_is_known_by_the_hubs_words_else_by_how_long_it_ran(run, words, seconds, waited, is_late):
    job = replace(read_job(run), submitted=time.time() - waited)
    assert is_out_of_time(job, words, seconds) is is_late


def test_a_job_that_does_not_stop_when_asked_is_cancelled_and_one_that_learned_nothing_at_once(hub, alice, run):
    job = read_job(run)
    hub.jobs.ends(job.id, "RUNNING")
    ending = Ending(run, job, alice)
    ending.advance(has_begun=True)
    assert not is_asked("alice/far-job", alice), "nobody asked for it"
    run.request_stop()
    hub.fail("POST", "/alice/far-job/commit/", 503)
    ending.advance(has_begun=True)
    assert not ending.is_asked, "the Hub did not answer"
    ending.advance(has_begun=True)
    assert is_asked("alice/far-job", alice) and hub.jobs.jobs[job.id].stage == "RUNNING"
    ending.since -= PATIENCE_SECONDS + 1
    ending.advance(has_begun=True)
    assert hub.jobs.jobs[job.id].stage == "CANCELED"
    hub.jobs.ends(job.id, "RUNNING")
    Ending(run, job, alice).advance(has_begun=False)
    assert hub.jobs.jobs[job.id].stage == "CANCELED"


def test_a_run_that_is_deleted_costs_nothing_any_more(hub, alice, run):
    job = read_job(run)
    hub.jobs.ends(job.id, "RUNNING")
    attach(run, alice)
    discard(run)
    wait_for(lambda: hub.jobs.jobs[job.id].stage == "CANCELED", "the end of the job")


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


def test_the_command_cancels_a_job_and_says_where_its_checkpoint_is(hub, alice, run, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", hub.alice)
    assert main(["cancel", run.id]) == 0
    assert "cancelled" in (said := capsys.readouterr().out) and "alice/far-checkpoints" in said
    assert hub.jobs.jobs[read_job(run).id].stage == "CANCELED" and read_state(run).status == "stopped"


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
    job, write = read_job(run), Mirror.tell_stage

    def deleted_meanwhile(mirror, stage):
        if run.folder.exists():
            discard(run)
            raise FileNotFoundError(run.log_file)
        write(mirror, stage)

    monkeypatch.setattr(Mirror, "tell_stage", deleted_meanwhile)
    hub.jobs.ends(job.id, "RUNNING")
    attach(run, alice)
    wait_for(lambda: hub.jobs.jobs[job.id].stage == "CANCELED", "the end of the job")


def test_a_sentence_of_a_job_comes_home_as_a_sentence(hub, alice, run, capsys):
    told = n_("{count:,} row is left out.", "{count:,} rows are left out.", 3)
    Printer(run)._print({"time": 1.0, "event": "note", "message": told})
    Mirror(run, read_job(run), alice).take(capsys.readouterr().out)
    kept = unpacked(json.loads(run.events_file.read_text().splitlines()[-1]))["message"]
    assert isinstance(kept, Sentence) and kept == told and (kept.msgid, kept.values) == (told.msgid, {"count": 3})
