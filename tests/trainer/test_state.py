"""A run's events add up to its state, also after restarts, over two stages, and for very long runs."""

import json
import os
import time

import pytest

from common.files import append_json_line
from trainer import state as module
from trainer.state import RunState, state_of


def write(file, *events: dict, mode: str = "a") -> None:
    with open(file, mode) as out:
        out.writelines(json.dumps(event) + "\n" for event in events)


def step(number: int, loss: float | None = None, **values) -> dict:
    return {"event": "step", "step": number, "loss": float(number) if loss is None else loss, **values}


def stage(number: int, name: str) -> dict:
    return {"event": "stage", "stage": number, "stages": 2, "name": name}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "events.jsonl"


def test_every_curve_is_kept(file):
    write(file, step(1, 2.0, learning_rate=0.1, grad_norm=None, tokens_per_second=9.0, peak_memory_bytes=7))
    state = state_of(file)
    assert (state.losses, state.learning_rates, state.grad_norms) == ([(1, 2.0)], [(1, 0.1)], [])
    assert (state.speeds, state.memories, state.peak_memory_bytes) == ([(1, 9.0)], [(1, 7)], 7)


def test_sample_answers_are_kept_by_step(file):
    answers = [{"prompt": "Hi", "answer": "Hello"}]
    write(file, {"event": "samples", "step": 0, "answers": []}, {"event": "samples", "step": 5, "answers": answers})
    assert state_of(file).samples == [(0, []), (5, answers)]


def test_of_many_looks_the_first_and_the_last_fifty_are_kept(file):
    write(file, *({"event": "samples", "step": number, "answers": []} for number in range(120)))
    assert [at for at, _ in state_of(file).samples] == [0, *range(70, 120)]


def test_two_stages_are_laid_end_to_end(file):
    write(file, stage(1, "text"), step(1), step(2, total_steps=2), {"event": "eval", "step": 2, "loss": 1.5})
    assert state_of(file).stage_name == "text" and state_of(file).fraction == 0.5
    write(file, stage(2, "conversations"), {"event": "eval", "step": 0, "loss": 4.0}, step(1, 9.0, total_steps=4))
    state = state_of(file)
    assert (state.stage, state.stages, state.stage_name, state.fraction) == (2, 2, "conversations", 0.625)
    assert state.losses == [(1, 9.0)] and state.curve("losses") == [(1, 1.0), (2, 2.0), (3, 9.0)]
    assert state.eval_losses == [(0, 4.0)] and state.curve("eval_losses") == [(2, 1.5), (2, 4.0)]


def test_a_resume_in_the_second_stage_leaves_the_first_alone(file):
    write(file, stage(1, "text"), step(1), step(2), stage(2, "conversations"), step(1), step(2), step(3))
    write(
        file, {"event": "queued"}, stage(2, "conversations"), {"event": "resumed", "step": 1, "stage": 2}, step(2, 7.0)
    )
    assert state_of(file).curve("losses") == [(1, 1.0), (2, 2.0), (3, 1.0), (4, 7.0)]


def test_a_resume_in_the_first_stage_drops_what_came_after(file):
    write(file, stage(1, "text"), step(1), step(2), stage(2, "conversations"), step(1))
    write(file, {"event": "resumed", "step": 1, "stage": 1}, step(2, 7.0))
    state = state_of(file)
    assert state.stage == 1 and state.curve("losses") == [(1, 1.0), (2, 7.0)]


def test_a_start_from_the_beginning_shows_no_step_twice(file):
    write(file, step(1), step(2), {"event": "queued"}, {"event": "training"}, step(1, 8.0))
    assert state_of(file).losses == [(1, 8.0)]


def test_a_failure_carries_its_code_and_its_cure_until_the_next_start(file):
    cure = {"label": "Halve the batch", "changes": {"per_device_train_batch_size": 2}}
    write(file, {"event": "failed", "message": "Out of memory.", "code": "memory", "cure": cure, "time": 9.0})
    state = state_of(file)
    assert (state.code, state.cure, state.ended_at) == ("memory", cure, 9.0)
    write(file, {"event": "queued", "time": 10.0}, {"event": "preparing", "time": 12.0})
    state = state_of(file)
    assert (state.code, state.cure) == ("", None)
    assert (state.queued_at, state.started_at, state.ended_at, state.updated_at) == (10.0, 12.0, None, 12.0)


def test_an_unknown_or_damaged_event_changes_nothing(file):
    write(file, {"event": "applause", "volume": 11}, step(1))
    with open(file, "ab") as out:
        out.write(b"\xff\xfe\n[1]\nnull\n")
    write(file, {"event": "step"}, {"event": "note"}, {"event": "resumed"}, {"event": "eval"}, {})
    assert state_of(file).status == "queued"


def test_what_a_crash_cut_off_spoils_only_itself(file):
    write(file, step(1))
    with open(file, "a") as out:
        out.write('{"event": "step", "step": 2, "lo')
    assert state_of(file).losses == [(1, 1.0)]
    append_json_line(file, step(3))
    assert state_of(file).losses == [(1, 1.0), (3, 3.0)]


def test_a_reader_may_change_what_it_got(file):
    write(file, step(1))
    state_of(file).losses.clear()
    assert state_of(file).losses == [(1, 1.0)]


def test_a_file_that_was_cut_or_rewritten_is_read_again(file):
    write(file, step(1), step(2))
    assert len(state_of(file).losses) == 2
    write(file, step(1, 5.0), mode="w")
    assert state_of(file).losses == [(1, 5.0)]
    write(file, step(1, 6.0), mode="w")  # as long as before
    os.utime(file, ns=(1, 1))
    assert state_of(file).losses == [(1, 6.0)]
    write(file, step(1, 7.0), step(2), step(3), mode="w")  # longer than before
    assert state_of(file).losses == [(1, 7.0), (2, 2.0), (3, 3.0)]
    file.unlink()
    assert state_of(file) == RunState()


def test_a_hundred_thousand_events_are_read_once(file):
    events = (step(n, 1.5, learning_rate=1e-4, grad_norm=0.5, tokens_per_second=99.5) for n in range(100_000))
    write(file, *events)
    state_of(file)
    times = []
    for number in range(5):
        write(file, step(100_000 + number))
        began = time.perf_counter()
        assert len(state_of(file).losses) == 100_001 + number
        times.append(time.perf_counter() - began)
    assert min(times) < 0.05


def test_what_is_kept_of_files_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_CACHED_EVENTS", 100)
    for number in range(40):
        write(tmp_path / str(number), *[step(n) for n in range(30)])
        state_of(tmp_path / str(number))
    assert len(module._readings) <= 4 and sum(each.events for each in module._readings.values()) <= 100
