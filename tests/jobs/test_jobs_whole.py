"""A job from the button to the adapter: the fake infrastructure runs the very command that was submitted."""

import threading
from dataclasses import replace

import pytest

from adapters.library import find_adapter
from jobs.follow import attach, follow
from jobs.hf import read_job, resume, submit
from jobs.inside import Sender
from jobs.prices import plan
from runs.backup.backup import read_backup, restore
from runs.queue import stop
from runs.run import Run, read_state
from tests.jobs.conftest import wait_for
from tests.running import events, losses


def steps_kept(hub, repo: str) -> set[int]:
    """The steps of the checkpoints in a repository."""
    files = hub.repositories[repo].files if repo in hub.repositories else {}
    return {int(name.split("checkpoint-")[1].split("/")[0]) for name in list(files) if "checkpoint-" in name}


@pytest.mark.slow
def test_a_job_trains_is_stopped_and_a_new_one_goes_on_until_the_adapter_is_here(hub, alice, machine, config, tmp_path):
    agreed = plan("cpu-basic", 30, 1.0, alice.token)
    run = submit(replace(config, max_steps=100_000), agreed, alice)
    assert attach(run, alice)
    repo = read_job(run).checkpoints_repo
    wait_for(lambda: read_job(run).is_over or steps_kept(hub, repo), repo)
    assert read_state(run).status in ("training", "saving") and losses(run), read_state(run).message
    wait_for(lambda: read_backup(run.folder).checkpoint, "the word that it arrived")
    stop(run)  # as the page's Stop does
    wait_for(lambda: read_job(run).is_over and not read_state(run).is_running, "the end of the job")
    state = read_state(run)
    assert state.status == "stopped" and "hat was learned is kept" in state.message, state.message
    assert find_adapter(state.adapter).origin.repo_id == "alice/far", "asked, it sent what it learned"
    assert read_job(run).stage == "COMPLETED" and "stop" in hub.repositories["alice/far-job"].files
    wait_for(lambda: all(thread.name != f"job-local-{run.id}" for thread in threading.enumerate()), "the follower")

    reached = max(steps_kept(hub, repo))
    run.config_file.write_text(run.config_file.read_text().replace("100000", str(reached + 2)))
    resume(run, agreed, alice)
    assert "stop" not in hub.repositories["alice/far-job"].files, "that was for the first one"
    done = follow(run, alice)
    log = run.log_file.read_text()[-3000:]
    assert done.status == "done" and done.step == reached + 2, (done.message, log)
    assert [event["step"] for event in events(run, "resumed")] == [reached]
    steps = [step for step, _ in done.losses]
    assert steps == sorted(set(steps)) and steps[-1] == reached + 2

    assert not [note for note in done.notes if "could not be sent" in note], done.notes
    before = hub.commit(repo)
    restored = Run(restore(repo, alice, tmp_path / "runs"))  # as the second job did: it sends to where it came from
    sender = Sender(restored, alice, repo)
    sender.finish(with_last=True)
    assert hub.commit(repo) != before and events(restored, "sent")
    assert not [note["message"] for note in events(restored, "note") if "sent" in note["message"]]

    adapter = find_adapter(done.adapter)
    assert adapter.origin.repo_id == read_job(run).adapter_repo == "alice/far"
    assert hub.repositories["alice/far"].private and hub.repositories[repo].private
    assert hub.repositories["alice/far-job"].private
    for file in [*run.folder.rglob("*"), *adapter.folder.rglob("*")]:
        assert not file.is_file() or alice.token.encode() not in file.read_bytes(), f"the token lies in {file.name}"
    assert all(alice.token not in str({**sent, "secrets": None}) for sent in hub.jobs.payloads)
