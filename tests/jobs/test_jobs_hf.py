"""Hugging Face Jobs: what is sent, what it may cost, what its refusals mean, and what a follower makes of a job's words."""

import json
import threading
from dataclasses import replace

import pytest

from common.errors import UserError
from jobs.__main__ import main
from jobs.hf import IMAGE, note_job, read_job, resume, submit
from jobs.prices import FROM_HUB, flavors, plan
from jobs.upload import send_run, zip_run
from models.hub.client import account_of
from models.prices import FROM_DOCS, JOBS
from runs.machines.parallel import with_processes
from runs.queue import enqueue
from runs.run import EventLog, list_runs, read_state


def test_machines_and_prices_are_the_hubs_own_and_else_those_of_its_documentation(hub, alice):
    found = {flavor.name: flavor for flavor in flavors(alice.token)}
    assert found["a10g-largex2"].gpus == 2 and found["a10g-largex2"].dollars_per_minute == 0.05
    assert {flavor.source for flavor in found.values()} == {FROM_HUB}
    hub.fail("GET", "/api/jobs/hardware", 404)
    found = flavors(alice.token)
    assert {flavor.name for flavor in found} == set(JOBS) and {flavor.source for flavor in found} == {FROM_DOCS}
    hub.fail("GET", "/api/jobs/hardware", 404)
    assert "documentation of 2026-11-25" in plan("t4-small", 60, 5, alice.token).sentence()


def test_each_machine_has_the_cards_and_the_memory_that_its_description_says(hub, alice):
    hub.fail("GET", "/api/jobs/hardware", 404)
    found = {flavor.name: flavor.hardware() for flavor in flavors(alice.token)}
    assert all(len(found[name].gpus) == price.gpus for name, price in JOBS.items())
    assert all(gpu.compute_capability and gpu.memory_bytes for machine in found.values() for gpu in machine.gpus)
    card = found["l4x4"].gpus[0]
    assert card.compute_capability == 8.9 and card.memory_bytes == found["l4x4"].available_bytes == 24 * 10**9
    assert found["cpu-upgrade"].cpu_count == 8 and found["cpu-upgrade"].available_bytes == 32 * 10**9


def test_a_plan_says_the_most_that_it_can_cost(alice, agreed):
    assert agreed.most_dollars == 3.00 and "$3.00 at most" in agreed.sentence() and "60 minutes" in agreed.sentence()
    with pytest.raises(UserError, match=r"can cost \$3.00, but your limit is \$2.99.*59 minutes"):
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


def test_the_zip_of_a_run_holds_what_trains_and_no_more(run, tmp_path):
    import zipfile

    names = set(zipfile.ZipFile(zip_run(run, tmp_path / "job.zip")).namelist())
    assert names >= {"run/config.yaml", "studio/jobs/inside.py", "studio/requirements.txt", "studio/trainer/train.py"}
    assert any(name.startswith("run/data/") for name in names)
    assert not [name for name in names for part in ("/ui/", "tests/", "train.log", "__pycache__") if part in name]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (401, "does not accept this sign-in"),
        (402, "no credit for Jobs.*billing"),
        (403, "is not allowed to run jobs.*`jobs`"),
        (429, "Too many requests"),
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
    with pytest.raises(UserError, match="not the private repository of a job"):
        submit(config, agreed, alice)
    assert not hub.jobs.payloads


def test_a_resumed_job_on_other_cards_keeps_its_rows_a_step_or_says_how_many_would(hub, alice, run, agreed):
    note_job(run, stage="ERROR")
    EventLog(run).write("stopped", message="over")
    before = run.config()
    assert (before.num_processes, before.per_device_train_batch_size) == (2, 2)
    resume(run, plan("cpu-basic", 60, 5.0, alice.token), alice)
    after = run.config()
    assert (after.num_processes, after.gradient_accumulation_steps) == (1, 2) and after.per_device_train_batch_size == 2
    with pytest.raises(UserError, match=r"4 examples per step, which 3 processes cannot share.*processes: 1, 2, 4"):
        with_processes(after, 3)
    assert with_processes(after, 4).per_device_train_batch_size == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parallel": "zero2", "precision": "bf16"}, r"DeepSpeed.*fsdp2"),
        ({"parallel": "zero3", "precision": "bf16"}, r"DeepSpeed.*fsdp2"),
        ({"num_machines": 2, "num_processes": 2, "main_process_ip": "10.0.0.1"}, "num_machines"),
        ({"method": "full"}, "method full makes a whole model"),
    ],
)
def test_what_a_job_does_not_have_or_keep_is_refused_before_it_costs(hub, alice, agreed, config, changes, words):
    with pytest.raises(UserError, match=words):
        submit(replace(config, **changes), agreed, alice)
    assert not hub.jobs.payloads and not list_runs()


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
    assert main(["hardware"]) == 0 and "a10g-largex2, $3.00 per hour" in capsys.readouterr().out
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    asked = ["hf", "--config", str(tmp_path / "config.yaml"), "--flavor", "a10g-largex2", "--minutes", "60"]
    monkeypatch.setattr("builtins.input", lambda question: "no")
    assert main([*asked, "--max-dollars", "5"]) == 1 and "$3.00 at most" in capsys.readouterr().out
    assert main([*asked, "--max-dollars", "2", "--yes"]) == 1 and "your limit is $2.00" in capsys.readouterr().err
    assert not hub.jobs.payloads and list_runs() == []


def test_a_second_resume_at_the_same_time_is_no_second_job(hub, alice, agreed, run, monkeypatch):
    note_job(run, stage="ERROR")
    EventLog(run).write("stopped", message="The job was lost.")
    sending, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr("jobs.hf.send_run", lambda *given: (sending.set(), go_on.wait(60), send_run(*given))[2])
    first = threading.Thread(target=resume, args=(run, agreed, alice))
    first.start()
    assert sending.wait(60)
    before = len(hub.jobs.payloads)
    with pytest.raises(UserError, match="already being started"):
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
    with pytest.raises(UserError, match="was cancelled again"):
        resume(run, agreed, alice)
    assert [job.stage for job in hub.jobs.jobs.values()][-1] == "CANCELED"
