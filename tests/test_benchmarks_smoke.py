"""The smoke test for one GPU: run in small on a CPU, what cannot run is named, and what went wrong is never a number."""

import pytest

from benchmarks import gpu_smoke
from benchmarks.gpu_smoke import CASES, Case, measure, problem_of, table, write_report
from common.files import read_json
from tests.trainer.running import write_rows
from trainer.launcher import create_run

GOOD = {"status": "done", "steps": 30, "first_loss": 9.0, "last_loss": 5.0, "scaler": True, "resumed_at": 10}
GOOD |= {"message": "", "adapter": "gpu-smoke", "tokens_per_second": 900.0, "peak_memory_bytes": 2**31, "seconds": 40}


def test_it_trains_stops_and_resumes_as_the_app_does(tiny_base, tmp_path):
    case = Case("8-bit", {"precision": "8bit", "max_length": 64, "save_steps": 1000}, resumes=True)
    data = write_rows(tmp_path / "rows.jsonl", [{"prompt": f"What is {n}?", "completion": "It is."} for n in range(60)])
    row = measure(case, str(tiny_base), data, steps=60)
    assert row["problem"] == "" and row["status"] == "done" and 0 < row["resumed_at"] < 60, row
    assert row["tokens_per_second"] > 0 and row["peak_memory_bytes"] > 10**8 and row["last_loss"] < row["first_loss"]


def test_every_mode_of_one_gpu_has_a_row_and_names_here_why_it_did_not_run():
    wanted = {"8bit", "bf16", "4bit", "fp16", "zero2", "zero3", "fsdp2"}
    assert {value for case in CASES for value in case.settings.values()} >= wanted
    assert all(case.config("embedded", "example", 3).problems() == [] for case in CASES)
    shown = table([measure(case, "", "") for case in CASES if not case.name.startswith("8-bit")])
    assert shown.count("| not run: ") == len(CASES) - 2 and "needs GPUs, and this machine has none" in shown


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "failed", "steps": 4, "message": "Out of memory."}, "failed at step 4: Out of memory."),
        ({"last_loss": 9.5}, "went from 9.0 to 9.5"),
        ({"last_loss": float("nan")}, "to nan"),
        ({"resumed_at": 0}, "stopped at step 10, resumed at 0"),
        ({"scaler": False}, "no gradient scaler"),
        ({"adapter": ""}, "no adapter"),
        ({}, ""),
    ],
)
def test_what_went_wrong_is_told(changes, words, tmp_path):
    from trainer.run import Run

    case = next(case for case in CASES if case.settings["precision"] == "fp16")
    found = problem_of(case, {**GOOD, **changes}, 30, 10, Run(tmp_path))
    assert (words in found) if words else found == ""


def test_a_report_keeps_the_rows_of_earlier_calls_on_the_same_card(tmp_path):
    write_report([{"name": "bf16", **GOOD, "problem": ""}], 22, tmp_path)
    write_report([{"name": "8-bit", **GOOD, "problem": "it broke"}], 22, tmp_path)
    assert [row["name"] for row in read_json(tmp_path / "gpu_smoke.json")["rows"]] == ["8-bit", "bf16"]
    text = (tmp_path / "gpu_smoke.md").read_text()
    assert (
        "| 8-bit | **failed**: it broke |" in text
        and "| bf16 | 30 | 9.000 to 5.000 | 900 | 2.00 GiB | 10 | 40 s |" in text
    )
    write_report([{"name": "8-bit", **GOOD, "problem": ""}], 4, tmp_path)
    assert [row["name"] for row in read_json(tmp_path / "gpu_smoke.json")["rows"]] == ["8-bit"], "another shape"


def test_a_training_that_hangs_is_ended(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_smoke, "SECONDS", 0.5)
    data = write_rows(tmp_path / "rows.jsonl", [{"prompt": "Hi", "completion": "Hello."}] * 20)
    run = create_run(Case("hangs", {"precision": "8bit", "max_length": 64}).config(str(tiny_base), data, 10**6))
    gpu_smoke.train(run)
    assert not run.is_alive()
