"""The comparison of modes and the one of precisions: what is computed from measurements, and what is named as not run."""

import argparse

import pytest

from benchmarks.parallel import DP, FSDP2, measure, reason_in, rows_for, summary
from benchmarks.parallel_picture import picture
from benchmarks.parallel_report import busy_words, compare, table
from benchmarks.precision import CASES, Count, batches, load, make_base, train
from benchmarks.precision import measure as measure_precision
from benchmarks.precision import table as precision_table


def said(step_seconds: float, tokens: int, memories: list[int], rank: int = 0) -> dict:
    return {
        "rank": rank,
        "step_seconds": step_seconds,
        "tokens_per_step": tokens,
        "peak_memory_bytes": memories,
        "loss": 1.0,
    }


def test_speed_up_is_over_the_first_row_of_the_same_precision_and_efficiency_is_for_each_gpu():
    rows = {row.name: row for row in rows_for(gpus=2, cores=8)}
    one, two = rows["one device, bf16"], rows["DDP, bf16"]
    load = [(0.5, [90.0, 80.0]), (1.0, [100.0, 90.0])]
    found = [summary(one, [said(1.0, 1000, [2**30])], load)]
    found += [summary(two, [said(1.0, 2000, [2**30, 0]), said(1.25, 2000, [0, 2**31], rank=1)], load)]
    first, second = compare(found)
    assert (first["speed_up"], first["efficiency"]) == (1.0, 1.0)
    assert second["tokens_per_second"] == 1600 and second["speed_up"] == 1.6 and second["efficiency"] == 0.8
    assert second["peak_memory_bytes"] == [2**30, 2**31], "each card's own peak"
    shown = table([first, second])
    assert "| DDP, bf16 | 1,600 | 1.60 | 80% | 1.00, 2.00 GiB | 100 %, 90 % |" in shown
    assert picture([first, second], "T").count("<polyline") == 4


def test_what_cannot_run_is_named_with_its_reason():
    on_one = {row.name: row.reason for row in rows_for(gpus=1, cores=8)}
    assert (
        on_one["one device, bf16"] == "" and "two GPUs" in on_one["DDP, bf16"] and "two GPUs" in on_one[f"{DP}, bf16"]
    )
    on_two = {row.name: row.reason for row in rows_for(gpus=2, cores=8)}
    assert on_two[f"{DP}, bf16"] == "" and "quantised" in on_two[f"{DP}, 8bit"] and "8-bit" in on_two[f"{FSDP2}, 8bit"]
    refused = next(row for row in rows_for(gpus=2, cores=8) if row.name == f"{DP}, 8bit")
    shown = table(compare([measure(refused, "", argparse.Namespace())]))
    assert "not run: transformers does not wrap a quantised model" in shown
    assert all(row.reason for row in rows_for(gpus=0, cores=2) if not row.threads)


def test_a_row_that_fails_is_named_with_its_exception_and_not_with_the_launchers():
    said = "[rank1]: torch.OutOfMemoryError: CUDA out of memory.\nTraceback:\nChildFailedError:\n=====\nRoot Cause\n"
    assert reason_in(said) == "[rank1]: torch.OutOfMemoryError: CUDA out of memory."
    assert reason_in("subprocess.CalledProcessError: it exited with 1\n") != "" and reason_in("") == "no word"


def test_rows_that_did_not_have_the_machine_for_themselves_are_named():
    rows = [
        {"name": "one", "busy_before": 3.0},
        {"name": "two", "busy_before": 95.4},
        {"name": "three", "not_run": "no GPU"},
    ]
    assert busy_words(rows).endswith("say little: two (95 %).\n\n") and busy_words([rows[0], rows[2]]) == ""


def test_a_process_has_its_device_before_its_base_is_loaded(monkeypatch, tmp_path):
    """bitsandbytes loads onto the current card: before the processes have met that is card 0 for all of them."""
    from accelerate.state import AcceleratorState, PartialState

    from benchmarks import parallel_worker

    AcceleratorState._reset_state(reset_partial_state=True)
    seen = []

    def load_base_model(*given):
        seen.append(bool(PartialState._shared_state))
        raise RuntimeError("seen")

    monkeypatch.setattr(parallel_worker, "load_base_model", load_base_model)
    options = argparse.Namespace(base=str(tmp_path), precision="8bit", steps=3, batch=1, length=8, clock=None)
    with pytest.raises(RuntimeError, match="seen"):
        parallel_worker.build(options)
    assert seen == [True]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bytes")
    make_base(folder, "cpu", steps=2)
    return folder


@pytest.mark.slow
def test_in_bf16_small_updates_are_lost_and_with_adapters_in_fp32_they_are_not(base):
    data = batches(3)
    whole, bf16 = (train(CASES[number], base, 2e-5, data, "cpu") for number in (0, 1))
    assert whole["moved"] > 0.99 and whole["lost"] < 0.01
    assert bf16["moved"] < whole["moved"] and bf16["lost"] > 0.05
    assert all(row["loss"] > 0 for row in (whole, bf16))


@pytest.mark.slow
def test_what_is_no_number_is_counted_as_an_overflow_and_zero_as_an_underflow(base):
    import torch

    parameters = [parameter for parameter in load(CASES[0], base, "cpu").parameters() if parameter.requires_grad][:1]
    parameters[0].grad = torch.ones_like(parameters[0])
    parameters[0].grad.view(-1)[:3] = torch.tensor([float("inf"), float("nan"), 0.0])
    count = Count()
    count.gradients(parameters, is_first=False)
    count.changes([parameters[0].detach().clone()], parameters)
    assert (count.infinite, count.overflowed_steps, count.zero) == (2, 1, 1)
    assert count.lost == count.updates == parameters[0].numel() - 3


@pytest.mark.slow
def test_a_precision_that_a_device_does_not_have_is_named(base):
    row = measure_precision(CASES[0], base, 2e-5, batches(2), "no-such-device")
    assert row["not_run"] and "not run" in precision_table([row])
