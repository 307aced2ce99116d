"""A run's events add up to its state, also after restarts, over two stages, and for very long runs."""

import json
import time
from itertools import pairwise

import pytest

from common.files import append_json_line
from runs import state as module
from runs.events import parse_event
from runs.state import RunState, state_of, thinned


def write(file, *events: dict, mode: str = "a") -> None:
    with open(file, mode) as out:
        out.writelines(json.dumps(event, separators=(",", ":")) + "\n" for event in events)


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


def test_of_many_sample_answers_the_first_and_the_last_fifty_are_kept(file):
    answers = [{"prompt": "Hi", "answer": "Hello"}]
    write(file, *({"event": "samples", "step": number, "answers": answers} for number in range(120)))
    assert state_of(file).samples == [(step, answers) for step in (0, *range(70, 120))]


def test_two_stages_are_laid_end_to_end(file):
    first = {**stage(1, "text"), "later_steps": 4}
    write(file, first, step(1), step(2, total_steps=2), {"event": "eval", "step": 2, "loss": 1.5})
    state = state_of(file)
    assert (state.stage_name, state.step, state.total_steps) == ("text", 2, 6)
    write(file, stage(2, "conversations"), {"event": "eval", "step": 0, "loss": 4.0}, step(1, 9.0, total_steps=4))
    state = state_of(file)
    assert (state.stage, state.stages, state.stage_name, state.fraction) == (2, 2, "conversations", 0.5)
    assert state.losses == [(1, 9.0)] and state.curve("losses") == [(1, 1.0), (2, 2.0), (3, 9.0)]
    assert state.eval_losses == [(0, 4.0)] and state.curve("eval_losses") == [(2, 1.5), (2, 4.0)]


def test_the_step_never_goes_backwards_and_a_resume_says_that_steps_are_trained_again(file):
    parts = [
        [{"event": "training"}, step(1, total_steps=4), {"event": "eval", "step": 0, "loss": 4.0}],
        [step(2), {"event": "samples", "step": 0, "answers": []}, step(3)],
        [{"event": "queued"}, {"event": "resumed", "step": 1, "stage": 1}, {"event": "training"}],
        [step(2)],
        [step(3)],
        [step(4)],
    ]
    shown = []
    for part in parts:
        write(file, *part)
        shown.append((state_of(file).step, state_of(file).activity))
    again = "Repeating the steps after the last checkpoint, now at {} of 3"
    words = ["Training", "Training", again.format(1), again.format(2), "Training", "Training"]
    assert shown == list(zip([1, 3, 3, 3, 3, 4], words, strict=True))
    assert state_of(file).total_steps == 4


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


def test_a_run_without_events_is_a_new_one(file):
    assert state_of(file) == RunState()


def test_thinning_spreads_points_evenly_over_their_steps_and_keeps_short_curves_whole():
    assert thinned([(1, 1.0), (2, 2.0), (9, 3.0)], 3) == [(1, 1.0), (2, 2.0), (9, 3.0)]
    uneven = [(n, n) for n in (*range(1000), *range(1000, 100_000, 100))]
    found = thinned(uneven, 500)
    steps = [step for step, _ in found]
    assert len(found) <= 502 and (steps[0], steps[-1]) == (0, 99_900)
    assert min(b - a for a, b in pairwise(steps[:-1])) >= 99_900 / 500 and max(b - a for a, b in pairwise(steps)) <= 300


QUEUED, TRAINING, DONE = {"event": "queued"}, {"event": "training"}, {"event": "done", "metrics": {"loss_after": 1.0}}
LOOK, ANSWERS = {"event": "eval", "step": 0, "loss": 3.0}, {"event": "samples", "step": 0, "answers": []}
HISTORIES = {
    "nothing": [],
    "queued": [QUEUED],
    "training": [QUEUED, TRAINING, *map(step, range(3))],
    "done, then words": [QUEUED, TRAINING, step(1), DONE, {"event": "note", "message": '"event":"failed"'}],
    "failed": [QUEUED, TRAINING, step(1), {"event": "failed", "message": "x" * 9000}],
    "resumed": [TRAINING, step(1), step(2), LOOK, QUEUED, {"event": "resumed", "step": 1}, step(2), ANSWERS],
    "begun anew": [TRAINING, step(1), step(2), {"event": "eval", "step": 2, "loss": 1.0}, TRAINING, step(1)],
    "begun anew and far": [
        *[TRAINING, *map(step, range(1, 6)), {"event": "eval", "step": 5, "loss": 1.0}, *map(step, range(6, 11))],
        *[TRAINING, *map(step, range(1, 8))],
    ],
    "two stages": [stage(1, "text"), step(1), LOOK, stage(2, "conversations"), step(1)],
    "long and done": [TRAINING, LOOK, *map(step, range(300)), DONE, *map(step, range(300, 400))],
    "never thinned, resumed": [TRAINING, *map(step, range(1, 3000)), {"event": "resumed", "step": 399}, step(400)],
}


@pytest.mark.parametrize("events", HISTORIES.values(), ids=HISTORIES)
def test_what_a_list_shows_is_the_same_without_curves(file, events, monkeypatch):
    write(file, *events)
    whole, parsed = state_of(file), []
    monkeypatch.setattr(module, "parse_event", lambda line: parsed.append(line) or parse_event(line))
    ending = state_of(file, with_curves=False)
    assert (ending.status, ending.step, ending.metrics) == (whole.status, whole.step, whole.metrics)
    assert (ending.losses[-1:], ending.eval_losses[-1:]) == (whole.losses[-1:], whole.eval_losses[-1:])
    assert len(parsed) <= 13, "of steps in a row the first and the last"


def test_events_in_any_order_and_a_hundred_thousand_empty_lines_take_a_moment(file):
    looks = [{"event": "eval", "step": number, "loss": 1.0} for number in range(20_000, 0, -1)]
    resumes = [event for number in range(5000) for event in ({"event": "resumed", "step": number}, step(number + 1))]
    write(file, *looks, *resumes)
    with open(file, "a") as out:
        out.write("\n" * 100_000)
    started = time.thread_time()
    state = state_of(file)
    assert time.thread_time() - started < 3 and state.damaged_lines == 0
    assert state.losses == [(number, float(number)) for number in range(1, 5001)]


def test_losses_on_test_sets_are_points_of_their_stage_and_damaged_ones_are_left_out(file):
    def tested(number: int, **losses) -> dict:
        return {"event": "tested", "step": number, "tested": losses}

    good = {"loss": 3.5, "tokens": 3900}
    write(file, stage(1, "text"), tested(0, general=good), step(1), tested(1, general=good), step(2))
    write(file, {"event": "resumed", "step": 0, "stage": 1}, stage(2, "conversations"), tested(0, exam=good))
    wrong = [{}, {"loss": None, "tokens": 1}, {"loss": 1.0, "tokens": -1}, {"loss": 1.0}, 7]
    write(file, *(tested(3, general=one) for one in wrong), {"event": "tested", "step": 3, "tested": [good]})
    write(file, tested(3, **{f"set-{number}": good for number in range(6)}))
    state = state_of(file)
    assert state.curve("tested") == [(0, {"general": good}), (0, {"exam": good})]
    assert state.damaged_lines == len(wrong) + 2
