"""'Run on Hugging Face Jobs' over HTTP, as on a Space: whose money it is, what must be agreed to, which right is needed."""

import pytest

from jobs.hf import read_job, submit
from jobs.prices import plan
from models.hub.client import account_of
from runs.run import list_runs
from tests.jobs.conftest import alice, config, hub  # noqa: F401
from tests.ui.space import GUEST, space_call

LIMITS = ("a10g-largex2", 60, 5)


@pytest.fixture
def call(hub, monkeypatch):  # noqa: F811
    """A function that calls a handler of a Space's page by its name; the Space's owner has a secret that must never pay."""
    monkeypatch.setenv("OAUTH_SCOPES", "openid profile contribute-repos jobs")
    return space_call(monkeypatch, hub.bob)


@pytest.fixture
def her_run(hub, config):  # noqa: F811
    """Alice's job, as her visit to the Space has started it."""
    account = account_of(hub.alice)
    return submit(config, plan(*LIMITS, account.token), account, "user-alice")


def test_the_cost_is_shown_to_whom_it_is_charged(call, hub):  # noqa: F811
    status, text = call("plan_job", "", *LIMITS, oauth_token=hub.alice)
    assert status == 200 and "$3.00 at most" in text and "repositories of alice" in text
    status, text = call("plan_job", "", "a10g-largex2", 60, 1, oauth_token=hub.alice)
    assert status == 500 and "your limit is $1.00" in text


def test_nobody_without_a_sign_in_spends_the_owners_money(call, hub):  # noqa: F811
    status, text = call("plan_job", GUEST, *LIMITS)
    assert status == 500 and "You are not signed in" in text
    assert hub.sent("POST", "/api/jobs/") == []


def test_a_space_without_the_scope_says_which_one_is_missing(call, hub, monkeypatch):  # noqa: F811
    monkeypatch.setenv("OAUTH_SCOPES", "openid profile contribute-repos")
    status, text = call("plan_job", "", *LIMITS, oauth_token=hub.alice)
    assert status == 500 and "hf_oauth_scopes" in text


@pytest.mark.parametrize("agreed", [None, [], ["a10g-largex2", 60, 5, 0.01], ["a10g-largex2", 600, 5, 99]])
def test_nothing_starts_without_a_cost_that_was_agreed_to(call, hub, her_run, agreed):  # noqa: F811
    from jobs.hf import note_job

    note_job(her_run, stage="ERROR")
    status, _ = call("resume_job", "", agreed, her_run.id, oauth_token=hub.alice)
    assert status == 500 and len(hub.jobs.payloads) == 1


def test_another_visitor_neither_resumes_nor_stops_it(call, hub, her_run):  # noqa: F811
    agreed = [*LIMITS, 3.0]
    for who in ({"oauth_token": hub.bob}, {}):
        assert call("resume_job", GUEST, agreed, her_run.id, **who)[0] == 500
        assert call("stop_run", GUEST, her_run.id, **who)[0] == 500
    assert len(hub.jobs.payloads) == 1 and not her_run.stop_file.exists() and read_job(her_run)
    assert list_runs("user-bob") == []


def test_stop_asks_the_job_and_pressed_again_cancels_it(call, hub, her_run, monkeypatch):  # noqa: F811
    monkeypatch.setattr("ui.train.jobs_events.attach", lambda run, account: True)  # nobody else acts on it
    job = hub.jobs.jobs[read_job(her_run).id]
    assert call("stop_run", "", her_run.id, oauth_token=hub.alice)[0] == 200
    assert "stop" in hub.repositories["alice/far-job"].files and her_run.stop_file.exists()
    assert job.stage == "SCHEDULING"
    assert call("stop_run", "", her_run.id, oauth_token=hub.alice)[0] == 200
    assert job.stage == "CANCELED"
