"""A training in slices learns what one in a single piece learns."""

from common.paths import adapters_folder
from runs.config import TrainConfig
from runs.launcher import create_run
from runs.run import Run
from runs.state import state_of
from tests.running import events, losses, run_main
from trainer.slices import train_slice
from trainer.stop_watch import StopWatch


def in_slices(run: Run) -> int:
    """Train `run` to its end in slices of a step each, as a fork that is used again does; the number of slices."""
    for number in range(1, 30):
        train_slice(run.folder, seconds=0)
        if not state_of(run.events_file).is_running:
            return number
    raise AssertionError(run.log_tail())


def weights(name: str) -> bytes:
    return (adapters_folder() / name / "adapter_model.safetensors").read_bytes()


def test_slices_learn_what_one_piece_learns(settings):
    numbers = {**settings, "max_steps": 3, "eval_steps": 2, "lora_dropout": 0.1}
    whole, sliced = (create_run(TrainConfig(name=name, **numbers)) for name in ("whole", "sliced"))
    assert run_main(whole) == 0
    assert in_slices(sliced) == 4  # the last has room for the end alone
    assert losses(sliced) == losses(whole) and len(losses(whole)) == 3
    evaluations = [[(one["step"], one["loss"]) for one in events(run, "eval")] for run in (whole, sliced)]
    assert evaluations[0] == evaluations[1] and [step for step, _loss in evaluations[0]] == [0, 2, 3]
    assert weights("sliced") == weights("whole")
    assert len(events(sliced, "resumed")) == 3


def test_the_time_limit_counts_the_slices_before(tmp_path):
    watch = StopWatch(Run(tmp_path), slice_seconds=60, used_seconds=170)
    watch.max_minutes = 3
    assert not watch.is_late() and not watch.is_slice_over(10) and watch.is_slice_over(61)
    watch.max_minutes = 2
    assert watch.is_late()
