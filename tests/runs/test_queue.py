"""One accelerator, several people: nobody's run is lost, none is started twice, and everybody gets a turn."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from common.errors import UserError
from common.files import read_json, write_json
from common.paths import GUEST_PREFIX, REPOSITORY, home, runs_folder
from common.visitors import FOR_GUEST, as_guest
from models.hardware import Gpu
from runs import launcher, queue
from runs.config import TrainConfig
from runs.labels import set_labels
from runs.launcher import ALL_CARDS
from runs.limits import ON_A_SPACE
from runs.processes import this_process
from runs.queue import (
    ACCELERATOR_LOCK,
    MAX_PASSED,
    accelerator,
    advance,
    cancel,
    enqueue,
    launch,
    order,
    position,
    stop,
)
from runs.run import EventLog, Run, read_state
from tests.queueing import end, make_run, queued, wait_for


def ids(runs: list[Run]) -> list[str]:
    return [run.id for run in runs]


def test_on_an_idle_machine_a_run_starts_at_once(trainer, tmp_path):
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "Q", "completion": "A"}\n')
    began = time.monotonic()
    run = launch(TrainConfig(name="first", base="embedded", data=str(data)))
    assert time.monotonic() - began < 2
    assert run.is_alive() and not run.queued_file.exists() and read_state(run).status == "preparing"


def test_the_next_one_starts_when_the_first_is_gone_without_a_word(trainer):
    first, second = make_run("first"), make_run("second")
    enqueue(first)
    enqueue(second)
    assert read_state(second).status == "queued" and position(second) == (1, 1) and position(first) == (0, 1)
    assert advance() is None, "two trained at once"
    end(first)
    assert read_state(first).status == "interrupted"
    assert advance() == second and second.is_alive()


def cards_of(*runs: Run) -> list:
    """The card of each in its process file and in what accelerate gets."""
    found = [(read_json(run.process_file)["launcher"]["card"], run.accelerate_file.read_text()) for run in runs]
    return [(card, re.findall("gpu_ids: (.*)", text)) for card, text in found]


def test_on_several_cards_runs_of_an_experiment_train_beside_each_other_and_any_other_alone(trainer, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    for module in (queue, launcher):
        monkeypatch.setattr(module, "find_gpus", lambda: (Gpu("A100", 80 * 2**30, 8.0),) * 2)
    first, second, third = cells = [make_run(f"cell-{number}", "alice") for number in range(3)]
    for cell in cells:
        set_labels(cell, experiment=f"ranks/{cell.id}")
    both, mine = make_run("both", "alice", num_processes=2), make_run("mine", "alice")
    set_labels(both, experiment="ranks/both")
    for run in (*cells, both, mine):
        enqueue(run)
    assert [run.is_alive() for run in cells] == [True, True, False] and advance() is None
    assert cards_of(first, second) == [(0, ['"4"']), (1, ['"7"'])]
    end(first)
    assert advance() == third and cards_of(third) == [(0, ['"4"'])]
    end(third)
    assert advance() is None, "a run that needs both cards waits for both"
    end(second)
    assert advance() == both and cards_of(both) == [(ALL_CARDS, ["all"])]
    assert advance() is None
    end(both)
    assert advance() == mine and cards_of(mine) == [(ALL_CARDS, ['"4"'])]
    enqueue(first)
    assert advance() is None, "a person's run has the machine alone"
    end(mine)
    assert advance() == first
    first.process_file.unlink()  # whoever started it died before it was written down
    enqueue(second)
    assert advance() is None


def test_an_evaluation_and_a_training_wait_for_each_other(trainer):
    first, second = make_run("first"), make_run("second")
    waited = []
    enqueue(first)

    def wait() -> None:
        waited.append(read_state(first).status)
        end(first)

    with accelerator(wait):
        assert waited and not first.is_alive(), "an evaluation computed beside a training"
        enqueue(second)
        assert advance() is None and read_state(second).status == "queued", "a training began beside an evaluation"
        with pytest.raises(ZeroDivisionError), accelerator(lambda: 1 / 0):
            raise AssertionError("two evaluations computed at once")
    assert advance() == second


def test_after_an_evaluation_a_run_that_waits_comes_first_where_somebody_starts_it(monkeypatch):
    monkeypatch.setattr("runs.queue.POLL_SECONDS", 0)
    waited = []
    for waits in (0, 0):
        with accelerator(lambda: waited.append(1)):
            assert len(waited) == waits, "no run waits"
    queued("one")
    with accelerator(lambda: waited.append(1)):
        assert len(waited) == MAX_PASSED, "a run waits, and nobody lives to start it"
    write_json(home() / "turns.json", {"local": time.time() - 1, ACCELERATOR_LOCK: time.time() - 2})
    with accelerator(lambda: waited.append(1)):
        assert len(waited) == MAX_PASSED, "the last one was a training"


def test_an_evaluation_that_is_killed_holds_nothing(trainer):
    code = "import time; from runs.queue import accelerator\nwith accelerator(print): print('mine', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"mine\n"
    run = make_run("run")
    enqueue(run)
    assert not run.is_alive()
    process.kill()
    process.wait()
    assert advance() == run


def test_owners_take_turns_and_who_trained_longest_ago_goes_first():
    for number in range(3):
        queued(f"a{number}", "alice", at=number)
    queued("b0", "bob", at=10)
    queued("b1", "bob", at=11)
    queued("c0", "carol", at=12)
    assert ids(order()) == ["a0", "b0", "c0", "a1", "b1", "a2"]
    write_json(home() / "turns.json", {"alice": time.time(), "bob": time.time() - 60})
    assert ids(order()) == ["c0", "b0", "a0", "b1", "a1", "a2"]


def test_guests_take_turns_as_one_whatever_keys_they_make():
    for number in range(6):
        queued(f"g{number}", f"guest-{number:032x}", at=number)
    queued("b0", "bob", at=10)
    queued("b1", "bob", at=11)
    assert ids(order()) == ["g0", "b0", "g1", "b1", "g2", "g3", "g4", "g5"]
    queue._take_turn("guest-another")
    assert ids(order())[:2] == ["b0", "g0"], "one guest's turn was the turn of all"


def test_guests_together_fill_half_of_the_queue_and_users_the_rest(trainer, monkeypatch):
    monkeypatch.setenv("STUDIO_MAX_QUEUE", "6")
    enqueue(make_run("first", "alice"))
    for number in range(3):
        enqueue(make_run(f"g{number}", f"guest-{number}"))
    with pytest.raises(UserError, match="full for guests") as refused:
        enqueue(make_run("g3", "guest-3"))
    assert "Sign in" in refused.value.hint
    for number in range(3):
        enqueue(make_run(f"b{number}", f"bob-{number}"))
    with pytest.raises(UserError, match="queue is full"):
        enqueue(make_run("b3", "bob-3"))


def test_the_page_names_its_guests_as_the_queue_knows_them(monkeypatch):
    from ui.owner import owner_of

    monkeypatch.setenv("SPACE_ID", "me/space")
    assert owner_of("0" * 32, None).startswith(GUEST_PREFIX)


def test_a_cancelled_run_is_stopped_and_can_be_queued_again(trainer):
    enqueue(make_run("first"))
    second = make_run("second")
    enqueue(second)
    stop(second)
    assert read_state(second).status == "stopped" and position(second) == (0, 0) and not cancel(second)
    enqueue(second)
    assert read_state(second).status == "queued" and position(second) == (1, 1)
    with pytest.raises(UserError, match="already in the queue"):
        enqueue(second)


def test_stopping_a_run_that_trains_asks_its_process(trainer):
    run = make_run("run")
    enqueue(run)
    stop(run)
    assert run.stop_file.exists() and read_state(run).is_running
    with pytest.raises(UserError, match="already training"):
        enqueue(run)


def test_a_run_that_was_deleted_while_it_waited_stops_nobody(trainer):
    import shutil

    gone, stays = queued("gone", at=1), queued("stays", at=2)
    shutil.rmtree(gone.folder)
    assert advance() == stays


def test_a_running_run_of_somebody_else_is_not_told(trainer):
    enqueue(make_run("secret-plan", "alice"))
    mine = make_run("mine")
    enqueue(mine)
    state = read_state(mine)
    assert state.status == "queued" and position(mine) == (1, 1)
    assert "alice" not in repr(state) and "secret" not in repr(state)


def test_a_process_that_ends_lets_the_run_be_resumed(trainer):
    run = make_run("run")
    enqueue(run)
    EventLog(run).write("stopped")  # its last word; the process is still ending
    enqueue(run)
    assert read_state(run).status == "queued"
    end(run)
    assert advance() == run


def test_limits_count_what_waits_and_trains(trainer, monkeypatch):
    monkeypatch.setenv("STUDIO_MAX_RUNS_PER_USER", "2")
    monkeypatch.setenv("STUDIO_MAX_QUEUE", "2")
    enqueue(make_run("a", "alice"))
    enqueue(make_run("b", "alice"))
    with pytest.raises(UserError, match="2 of your runs"):
        enqueue(make_run("c", "alice"))
    enqueue(make_run("d", "bob"))
    with pytest.raises(UserError, match="queue is full"):
        enqueue(make_run("e", "carol"))


def test_a_refused_launch_leaves_nothing(trainer, monkeypatch, tmp_path):
    monkeypatch.setenv("STUDIO_MAX_RUNS_PER_USER", "1")
    config = TrainConfig(name="run", base="embedded")
    launch(config)
    with pytest.raises(UserError, match="at most 1 may at a time"):
        launch(config)
    assert [path.name for path in runs_folder().iterdir()] == ["run"]


def test_a_signal_to_the_trainer_is_seen_as_the_end(trainer):
    run = make_run("run")
    enqueue(run)
    os.kill(read_json(run.process_file)["launcher"]["pid"], signal.SIGKILL)
    wait_for(lambda: not run.is_alive())
    assert read_state(run).status == "interrupted" and this_process(os.getpid())["started"] > 0


@pytest.mark.parametrize("is_guest", [True, False])
def test_whoever_lets_the_queue_go_on_each_run_starts_as_its_owners(trainer, monkeypatch, is_guest):
    told, environment = {}, launcher.environment

    def kept(config, gpus):
        told[config.name] = environment(config, gpus)
        return told[config.name]

    monkeypatch.setattr(launcher, "environment", kept)
    monkeypatch.setattr(queue, "track_in_background", lambda run, names: None)
    names = {"mine": "local", "guests": f"{GUEST_PREFIX}1"}
    for name, owner in names.items():
        run = queued(name, owner)
        settings = run.config().to_dict() | {"name": name} | ({"report_to": "tensorboard"} if name == "mine" else {})
        run.config_file.write_text(TrainConfig.from_dict(settings).to_yaml())
    for _name in names:
        with as_guest(is_guest):
            started = advance()
        assert started and started.is_alive(), "a setting that no guest may change kept the owner's run from starting"
        end(started)
    assert [FOR_GUEST in told[name] for name in names] == [False, True]


def test_a_process_of_a_guest_has_the_limits_of_guests_in_each_of_its_threads(monkeypatch):
    for name in ("SPACE_ID", *(f"STUDIO_MAX_{name}" for name in ON_A_SPACE)):
        monkeypatch.delenv(name, raising=False)
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from common.visitors import has_visitors, is_guest\nfrom runs.limits import limits\n"
        "print(*ThreadPoolExecutor(1).submit(lambda: (limits().minutes, is_guest(), has_visitors())).result())"
    )
    said = []
    for is_guest in (True, False):
        with as_guest(is_guest):
            variables = launcher.child_environment()
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=REPOSITORY, env=variables, capture_output=True, check=True
        )
        said.append(done.stdout.decode().split())
    assert said == [[str(ON_A_SPACE["MINUTES"]), "True", "True"], ["0", "False", "False"]]
