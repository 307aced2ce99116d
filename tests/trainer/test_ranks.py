"""What the processes of one training agree on, and what is said of one that is gone."""

import threading

import pytest
import torch

from common.files import append_json_line, write_json
from runs.config import TrainConfig
from runs.run import EventLog, read_state
from trainer import ranks, watchdog
from trainer.watchdog import is_finite


@pytest.mark.parametrize(
    ("last", "machines", "word"),
    [
        ("failed", 1, "failed"),
        ("failed", 2, "failed"),
        ("done", 1, "done"),
        ("stopped", 1, "stopped"),
        ("done", 2, ""),
        ("training", 1, ""),
    ],
)
def test_a_restart_after_the_last_word_trains_nothing(run, monkeypatch, last, machines, word):
    """A process that dies after the end would else be restarted into a second end, or past a stop by max_minutes."""
    EventLog(run).write(last)
    monkeypatch.setenv("WORLD_SIZE", str(2 * machines))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert ranks.final_status(run) == word


@pytest.mark.parametrize("last", ["failed", "stopped"])
def test_what_an_earlier_launch_said_last_does_not_end_this_one(run, last):
    """On a cluster the same line runs again: a process that dies before the run has said a word is restarted all the same."""
    append_json_line(run.events_file, {"time": 1.0, "event": last})
    assert ranks.final_status(run) == ""


def test_a_checkpoint_is_written_by_all_processes_or_by_none(monkeypatch):
    """Split weights are other ones in each process: one that is no number must be known to all, or some wait for ever."""
    meeting, found = threading.Barrier(2, timeout=60), {}

    def agreed(mine: int) -> tuple[int]:
        found.setdefault("all", []).append(mine)
        meeting.wait()
        return (max(found["all"]),)

    monkeypatch.setattr(watchdog, "max_over_ranks", agreed)
    models = [torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)]
    models[1].weight.data[0, 0] = float("nan")
    answers = [None, None]
    threads = [
        threading.Thread(target=lambda place=place: answers.__setitem__(place, is_finite(models[place])))
        for place in (0, 1)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [False, False]


def test_of_a_split_weight_this_processs_part_is_looked_at():
    weight = torch.nn.Parameter(torch.empty(0))  # as ZeRO-3 leaves it
    weight.ds_tensor = torch.tensor([1.0, float("inf")])
    model = torch.nn.Module()
    model.weight = weight
    assert not is_finite(model)
    weight.ds_tensor = torch.ones(2)
    assert is_finite(model)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.2]:1234"), "process_lost"),
        (RuntimeError("NCCL Error 6: remote process exited or there was a network error"), "process_lost"),
        (RuntimeError("[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(...) ran"), "process_silent"),
        (RuntimeError("Timed out waiting 10000ms for recv operation to complete"), "process_silent"),
        (RuntimeError("CUDA out of memory"), None),
        (OSError("Connection reset by peer"), None),
    ],
)
def test_what_a_broken_connection_says_is_not_taken_for_this_processs_own_failure(monkeypatch, error, code):
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = ranks.lost(error)
    assert (found and found.code) == code
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert ranks.lost(error) is None


def test_a_process_that_the_gpu_driver_ended_for_its_silence_says_so(run):
    """NCCL's own watch aborts a process that waits before the training's watch has begun: no exception, only its log."""
    run.config_file.write_text(TrainConfig(num_processes=2).to_yaml())
    write_json(run.process_file, {"launcher": {"pid": 2**22 + 1, "started": 0.0}})
    run.log_file.write_text("[rank0]:[E] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=3)\n")
    EventLog(run).write("preparing")
    state = read_state(run)
    assert (state.status, state.code) == ("interrupted", "process_silent") and "a higher timeout" in state.hint
