"""What an earlier run found at step 0 is taken over by one of the same base, rows, prompts and code, and by no other."""

import json
import shutil
from pathlib import Path

import pytest

from common.paths import LOCAL_OWNER, home
from runs.config import TrainConfig
from runs.events import append_event, read_events
from runs.launcher import create_run
from runs.run import EventLog, Run, find_run
from tests.running import events, losses, run_main, small_settings
from trainer import step_0
from trainer.samples import at_the_time

LOOKS = ("eval", "samples", "tested")


@pytest.fixture(scope="module")
def settings(tiny_base, tmp_path_factory) -> dict:
    numbers = {"max_steps": 4, "eval_steps": 2, "max_length": 128, "lora_dropout": 0.2, "early_stopping_patience": 9}
    return small_settings(tiny_base, tmp_path_factory.mktemp("rows"), rows=16, keep="best", **numbers)


@pytest.fixture(scope="module")
def trained_once(settings, tmp_path_factory) -> Path:
    """A home in which a first run was trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIO_HOME", str(tmp_path_factory.mktemp("trained")))
        trained("first", settings)
        return home()


@pytest.fixture
def first(trained_once) -> Run:
    """That run, in this test's home."""
    shutil.copytree(trained_once, home(), dirs_exist_ok=True)
    return find_run("first")


def trained(name: str, settings: dict, owner: str = LOCAL_OWNER):
    run = create_run(TrainConfig(name=name, **settings), owner)
    assert run_main(run) == 0
    return run


def looks_at_0(run) -> dict:
    found = [event for name in LOOKS for event in events(run, name) if event["step"] == 0]
    return {event["event"]: {name: value for name, value in event.items() if name != "time"} for event in found}


def begins_with(run) -> str:
    """The first thing that is found of the model."""
    return next(event["event"] for event in read_events(run.events_file) if event["event"] in (*LOOKS, "step"))


def test_a_second_run_begins_with_what_the_first_one_found_and_learns_the_same(settings, first):
    second = trained("second", settings)
    assert looks_at_0(first) == looks_at_0(second) and looks_at_0(first).keys() >= {"eval", "samples"}
    assert begins_with(first) == "step", "the first loss does not wait for the look"
    assert begins_with(second) == "eval", "there is nothing to wait for"
    assert losses(first) == losses(second)
    last = [events(run, "done")[-1]["metrics"] for run in (first, second)]
    for name in ("loss_before", "loss_after", "samples_before", "kept_step"):
        assert last[0][name] == last[1][name] is not None


def test_it_is_the_base_that_is_known_whatever_the_run_then_does(settings, first):
    assert begins_with(trained("second", {**settings, "learning_rate": 5e-3, "lora_r": 4, "max_steps": 3})) == "eval"


@pytest.mark.parametrize(
    ("change", "owner"),
    [({"sample_prompts": "Who are you?"}, LOCAL_OWNER), ({"eval_fraction": 0.4}, LOCAL_OWNER), ({}, "alice")],
    ids=["other prompts", "other rows", "another person"],
)
def test_what_is_not_the_same_is_looked_at(settings, first, change, owner):
    assert begins_with(trained("second", {**settings, **change}, owner)) == "step"


def test_a_damaged_or_forged_file_is_passed_over(settings, first):
    file, wanted = first.folder / step_0.FILE, set(looks_at_0(first))
    second, whole = create_run(TrainConfig(name="second", **settings)), file.read_text()
    kept = json.loads(whole)
    forged = [kept["looks"][0] | {"loss": "low"}, *kept["looks"][1:]]
    for text in ("", "[]", json.dumps(kept | {"looks": 7}), json.dumps(kept | {"looks": forged})):
        file.write_text(text)
        assert not step_0.take_over(second, kept["key"], wanted, EventLog(second)), text
        assert not read_events(second.events_file)
    file.write_text(whole)
    assert step_0.take_over(second, kept["key"], wanted, EventLog(second))


def test_what_is_not_whole_or_was_cut_by_time_is_not_kept(first):
    file, wanted = first.folder / step_0.FILE, set(looks_at_0(first))
    file.unlink()
    step_0.keep(first, "key", {*wanted, "tested", "other"})
    assert not file.exists()
    step_0.keep(first, "key", wanted)
    assert file.exists()
    file.unlink()
    append_event(
        first.events_file, {"event": "samples", "step": 0, "answers": [{"prompt": "Hi", "answer": at_the_time("I")}]}
    )
    step_0.keep(first, "key", wanted)
    assert not file.exists()
