"""The state of a run comes from its folder alone."""

import os

import pytest

from common.errors import UserError
from common.files import write_json, write_text
from common.paths import runs_folder
from runs.config import TrainConfig
from runs.processes import this_process
from runs.run import EventLog, Run, active_run, find_run, list_runs, read_state, runs_with
from tests.queueing import make_run


def alive(run: Run) -> None:
    write_json(run.process_file, {"trainer": this_process(os.getpid())})


def gone(run: Run) -> None:
    write_json(run.process_file, {"trainer": {"pid": os.getpid(), "started": 1.0}})  # our id, another process


def test_events_become_a_state():
    run = make_run()
    alive(run)
    events = EventLog(run)
    events.write("queued", base="embedded", base_reason="it was chosen")
    events.write("training", total_steps=0)
    events.write("eval", step=0, loss=3.0)
    events.write("step", step=1, total_steps=10, loss=2.5, tokens_per_second=100.0, eta_seconds=9.0)
    state = read_state(run)
    assert (state.status, state.step, state.total_steps, state.eta_seconds) == ("training", 1, 10, 9.0)
    assert state.losses == [(1, 2.5)] and state.eval_losses == [(0, 3.0)] and state.base_reason == "it was chosen"


def test_a_run_whose_process_is_gone_is_interrupted():
    run = make_run()
    gone(run)
    EventLog(run).write("training", total_steps=5)
    state = read_state(run)
    assert (state.status, state.code) == ("interrupted", "interrupted") and "Resume" in state.hint
    assert "restarted" in state.message, "its process began before the machine did"


def test_a_finished_run_stays_finished():
    run = make_run()
    gone(run)
    EventLog(run).write("failed", message="Out of memory.", hint="Lower it.")
    assert (read_state(run).status, read_state(run).message) == ("failed", "Out of memory.")


def test_a_run_is_found_for_its_owner_only():
    make_run("mine", owner="alice")
    assert find_run("mine", "alice").id == "mine"
    for name, owner in (("mine", "bob"), ("../alice/mine", "bob"), ("", "alice")):
        with pytest.raises(UserError):
            find_run(name, owner)
    assert [run.id for run in list_runs("alice")] == ["mine"] and list_runs("bob") == []


def test_the_active_run_of_anyone_is_seen():
    assert active_run() is None
    alive(make_run("hers", owner="alice"))
    assert active_run().id == "hers"


def test_a_killed_run_offers_settings_that_need_less_memory():
    run = make_run()
    write_text(run.config_file, TrainConfig(per_device_train_batch_size=5, gradient_accumulation_steps=4).to_yaml())
    gone(run)
    EventLog(run).write("training")
    write_text(run.log_file, "traceback : Signal 9 (SIGKILL) received by PID 17\n")
    state = read_state(run)
    assert "memory" in state.message
    assert (state.status, state.code, state.cure["label"]) == ("interrupted", "killed", "Halve the batch size")
    assert state.cure["changes"] == {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 10}
    settings = {"gradient_checkpointing": "on", "precision": "8bit", "max_length": 128}
    write_text(run.config_file, TrainConfig(per_device_train_batch_size=1, **settings).to_yaml())
    assert read_state(run).cure is None and "Use a smaller base" in read_state(run).hint


def test_a_run_that_nobody_started_is_stopped():
    run = make_run()
    assert (read_state(run).status, read_state(run).hint) == ("stopped", "Press Resume to start it.")


def test_odd_folders_beside_the_runs_stop_nobody():
    make_run("run")
    (runs_folder() / "half.partial").mkdir()
    write_text(runs_folder() / "half.partial" / "config.yaml", "name: half\n")
    (runs_folder().parent / ".DS_Store").touch()
    (runs_folder() / "file").touch()
    assert [run.id for run in list_runs()] == ["run"] and active_run() is None
    with pytest.raises(UserError):
        find_run("half.partial")


def test_a_process_that_comes_is_seen_though_the_last_one_is_known_to_be_gone():
    run = make_run()
    write_json(run.process_file, {"trainer": {"pid": 2**22 + 1, "started": 1.0}})
    os.utime(run.process_file, (1.0, 1.0))
    assert not run.is_alive() and not run.is_alive() and active_run() is None
    alive(run)
    assert run.is_alive() and active_run() == run


@pytest.mark.parametrize("pid", [None, "x", -1, 2**70, [1]])
def test_a_process_id_that_is_none_stands_for_nobody(pid):
    run = make_run()
    write_json(run.process_file, {"trainer": {"pid": pid, "started": 1.0}, "launcher": None})
    assert not run.is_alive()


def test_the_runs_with_a_file_are_those_of_an_owner_or_of_everyone():
    for owner in ("alice", "bob"):
        write_json(make_run("run", owner=owner).job_file, {})
        make_run("other", owner=owner)
    assert [run.owner for run in runs_with("job.json", "alice")] == ["alice"]
    assert {run.owner for run in runs_with("job.json")} == {"alice", "bob"} and runs_with("job.json", "carol") == []
