"""Early stopping and the best step: what is kept is that checkpoint to the bit, whatever happened on the way."""

from types import SimpleNamespace

import pytest
from transformers import TrainerState

from common.files import read_object
from common.paths import adapters_folder
from runs.checkpoints import last_checkpoint, whole_steps
from runs.config import TrainConfig
from runs.launcher import create_run
from runs.run import Run, read_state
from tests.running import die_after, events, run_main, small_settings, write_rows
from trainer import samples
from trainer.keep_best import KeepBest

WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def settings(tiny_base, tmp_path, monkeypatch) -> dict:
    """At this rate the held-out loss is lowest at the first look: rows that have nothing to do with those that are trained."""
    monkeypatch.setattr(samples, "NEW_TOKENS", 2)
    rows = [{"prompt": f"Why {n}?", "completion": f"Because of {n * 7}."} for n in range(8)]
    numbers = {"eval_steps": 2, "max_steps": 24, "save_steps": 3, "max_length": 64, "learning_rate": 0.02}
    held_out = write_rows(tmp_path / "held_out.jsonl", rows)
    return small_settings(tiny_base, tmp_path, rows=12, eval_data=held_out, keep="best", **numbers)


def end_of(run: Run) -> tuple:
    """What a run ended with: its evaluations, its adapter's weights, what it says of them."""
    (done,) = events(run, "done")
    names = ("step", "kept_step", "loss_before", "loss_after", "loss_last", "samples_after")
    weights = (adapters_folder() / done["adapter"] / WEIGHTS).read_bytes()
    return read_state(run).eval_losses, weights, done["message"], [done["metrics"][name] for name in names]


def test_a_run_ends_early_and_its_best_checkpoint_is_the_adapter_also_after_a_kill_and_stops(settings, monkeypatch):
    settings["early_stopping_patience"] = 3
    straight = create_run(TrainConfig(name="straight", **settings))
    assert run_main(straight) == 0
    evaluations, weights, message, metrics = end_of(straight)
    assert [step for step, _ in evaluations] == [0, 2, 4, 6, 8] and min(loss for _, loss in evaluations) == evaluations[
        1
    ][1]
    assert metrics[:2] == [8, 2] and metrics[3:5] == [evaluations[1][1], evaluations[4][1]]
    assert message == (
        "Ended early at step 8 of 24: the held-out loss did not fall in the last 3 evaluations. "
        f"Kept step 2, held-out loss {evaluations[1][1]:.3f}. The last step, 8, had {evaluations[4][1]:.3f}."
    )
    assert weights == (straight.checkpoints_folder / "checkpoint-2" / WEIGHTS).read_bytes()
    assert weights != (straight.checkpoints_folder / "checkpoint-8" / WEIGHTS).read_bytes()
    assert whole_steps(straight.checkpoints_folder) == [2, 6, 8], "the best one is not removed"
    assert read_object(adapters_folder() / "straight" / "metrics.json")["kept_step"] == 2
    assert dict(events(straight, "samples")[1]["answers"][0]) == metrics[5][0], "the answers are of the kept step"

    killed = create_run(TrainConfig(name="killed", **settings))
    die_after(3, monkeypatch)
    with pytest.raises(SystemExit):
        run_main(killed)
    for step in (4, 6):  # both are evaluations, which the stops cut short: they are owed
        assert run_main(killed, stop_at=step) == 0
        assert "Stopped at step" in events(killed, "stopped")[-1]["message"]
        assert last_checkpoint(killed.checkpoints_folder).name == f"checkpoint-{step}"
        killed.stop_file.unlink()
    lines = killed.events_file.read_text().splitlines(keepends=True)
    last_look = max(number for number, line in enumerate(lines) if '"event":"eval"' in line)
    killed.events_file.write_text(
        "".join(lines[:last_look] + lines[last_look + 1 :])
    )  # the last process died before it
    assert run_main(killed) == 0
    assert end_of(killed) == (evaluations, weights, message, metrics)
    assert run_main(killed) == 0, "killed after its end, it trains no step more"
    assert events(killed, "done")[0]["metrics"]["kept_step"] == events(killed, "done")[1]["metrics"]["kept_step"] == 2
    assert [event["step"] for event in events(killed, "step")][-1] == 8


def test_the_second_stage_goes_on_from_the_best_step_of_the_first(settings, tmp_path, monkeypatch):
    words = ["apple", "river", "stone", "cloud", "paper", "music", "green", "seven", "horse", "table", "night", "glass"]
    text = write_rows(tmp_path / "text.jsonl", [{"text": f"{word} " * 60} for word in words])
    settings |= {"text_data": text, "text_epochs": 3.0, "max_steps": 2, "eval_fraction": 0.3, "learning_rate": 0.05}
    straight = create_run(TrainConfig(name="straight", **settings))
    assert run_main(straight) == 0
    text_losses = dict(read_state(straight).series_of(1)["eval_losses"])
    best = min((step for step in text_losses if step), key=text_losses.__getitem__)
    assert best < max(text_losses), "else the last step is the best: choose another rate"
    killed = create_run(TrainConfig(name="killed", **settings))
    die_after(max(text_losses), monkeypatch)
    with pytest.raises(SystemExit):
        run_main(killed)
    assert run_main(killed) == 0
    assert end_of(killed) == end_of(straight), "in one process and from the checkpoints the same weights go on"


def test_evaluations_come_when_the_settings_say_whatever_the_checkpoint_says():
    state = TrainerState(eval_steps=500)
    KeepBest(TrainConfig()).on_train_begin(SimpleNamespace(eval_steps=7), state, None)
    assert state.eval_steps == 7


def test_rows_of_which_none_is_held_out_are_refused_in_words(settings, tmp_path):
    data = write_rows(tmp_path / "one.jsonl", [{"prompt": "Why?", "completion": "Because."}])
    run = create_run(TrainConfig(name="one", **{**settings, "eval_data": None, "data": data}))
    assert run_main(run) == 1
    (failed,) = events(run, "failed")
    assert failed["code"] == "settings" and "none of these rows is held out" in failed["message"]
