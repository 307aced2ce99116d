"""The benchmark tells the truth: what a row says, what the check finds, and that both trainings are the same one."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import bench, check, memory, rows, scale, start, train_gpu, train_levers, train_speed
from benchmarks.rows import Row, faster, keep, read_results, smaller, table, within
from benchmarks.train_levers import LEVERS
from benchmarks.train_speed import Job, Training
from common.files import append_json_line
from common.paths import runs_folder
from trainer.run import Run

REPOSITORY = Path(__file__).resolve().parents[1]
SPEED = faster("speed", 200.0, 100.0, "tokens/s", aim=1.7)


@pytest.mark.parametrize(
    ("row", "ratio", "is_reached"),
    [
        (SPEED, 2.0, True),
        (faster("speed", 150.0, 100.0, "tokens/s", aim=1.7), 1.5, False),
        (smaller("memory", 2.0, 5.0, "GB", aim=1.6), 2.5, True),
        (within("page", 0.1, 0.3, "s"), 3.0, True),
        (within("page", 0.6, 0.3, "s"), 0.5, False),
        (faster("no aim", 1.0, 2.0, "tokens/s"), 0.5, True),
    ],
)
def test_a_ratio_is_always_higher_is_better(row, ratio, is_reached):
    assert row.ratio == pytest.approx(ratio) and row.is_reached is is_reached


def test_the_table_has_a_line_a_row_and_says_which_aims_were_missed():
    lines = table([SPEED, within("page", 0.6, 0.3, "s")]).splitlines()
    assert lines[2] == "| speed | 200 tokens/s | 100 tokens/s | 2.00 | 1.7 |  |"
    assert lines[3] == "| page | 0.6 s |  | 0.50 | 1 (missed) | at most 0.3 s |"


def test_kept_rows_come_back_with_their_machine_and_other_groups_stay(tmp_path):
    file = tmp_path / "bench.json"
    keep("one", [SPEED], True, file)
    keep("two", [within("page", 0.1, 0.3, "s")], False, file)
    keep("one", [replace(SPEED, ratio=3.0)], False, file)
    found = read_results(file)
    assert found["one"]["rows"] == [replace(SPEED, ratio=3.0)] and found["two"]["rows"][0].name == "page"
    assert found["one"]["quick"] is False and found["one"]["versions"]["torch"] and found["one"]["date"]
    assert found["one"]["cpu"].endswith("cores")


@pytest.mark.parametrize(("ratio", "falls"), [(2.0, False), (1.71, False), (1.69, True), (9.0, False)])
def test_a_ratio_that_fell_by_more_than_15_percent_fails_the_check(tmp_path, ratio, falls):
    keep("one", [SPEED], True, tmp_path / "kept.json")
    keep("one", [replace(SPEED, ratio=ratio)], True, tmp_path / "new.json")
    command = [
        sys.executable,
        "-m",
        "benchmarks.check",
        "--kept",
        tmp_path / "kept.json",
        "--new",
        tmp_path / "new.json",
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == int(falls), done.stderr
    assert ("fell by more than 15%: one: speed: 1.69, was 2.00" in done.stdout) is falls


def test_rows_without_a_counterpart_are_named_and_are_no_regression():
    kept = {"one": {"rows": [SPEED, replace(SPEED, name="gone")]}}
    fell, unknown = check.compare(kept, {"one": [SPEED, replace(SPEED, name="new")], "two": [SPEED]})
    assert not fell and len(unknown) == 3
    many = [replace(SPEED, name=f"row {number}") for number in range(9)]
    _, (words,) = check.compare({"one": {"rows": many}}, {"one": many[:1]})
    assert words == "one: row 1, row 2, row 3 and 5 more: kept, but not measured"
    assert {sentence.split(":")[1].strip() for sentence in unknown} == {"gone", "new", "speed"}


@pytest.mark.parametrize(("ratio", "falls"), [(900.0, False), (3.1, False), (2.9, True)])
def test_a_limit_that_is_kept_three_times_over_has_not_fallen(ratio, falls):
    kept = within("poll", 0.0003, 0.3, "s")
    fell, _ = check.compare({"one": {"rows": [kept]}}, {"one": [replace(kept, ratio=ratio)]})
    assert bool(fell) is falls


def test_what_fell_is_measured_again_and_the_better_one_counts():
    slow, fine, other = replace(SPEED, ratio=1.0), replace(SPEED, ratio=1.9), replace(SPEED, name="other")
    assert check.better([slow, other], [fine, replace(other, ratio=1.5)]) == [fine, other]


def test_the_report_says_what_the_numbers_belong_to(tmp_path):
    keep("one", [SPEED], True, tmp_path / "bench.json")
    text = bench.report(read_results(tmp_path / "bench.json"))
    assert "## one" in text and "cores" in text and "torch 2" in text and "| speed | 200 tokens/s" in text


def test_nothing_to_compare_is_not_a_pass(tmp_path):
    keep("other", [SPEED], True, tmp_path / "new.json")
    command = [
        sys.executable,
        "-m",
        "benchmarks.check",
        "--kept",
        tmp_path / "none.json",
        "--new",
        tmp_path / "new.json",
    ]
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True).returncode == 1


def test_the_kept_results_can_be_read():
    for name, group in read_results(rows.RESULTS).items():
        assert group["rows"] and all(isinstance(row, Row) and row.ratio > 0 for row in group["rows"]), name


def trained(losses: list[float], seconds: float, tokens: int = 0) -> Training:
    """A training of one step a `seconds`, each of `tokens`."""
    steps = [(100.0 + seconds * number, loss) for number, loss in enumerate(losses)]
    return Training(90.0, steps, [tokens * (number + 1) for number in range(len(losses))])


def test_speed_is_tokens_a_second_after_the_first_loss_and_medians_of_pairs():
    losses = [3.0, 2.0, 1.0]
    pairs = [(trained(losses, seconds), trained(losses, 2.0, tokens=100)) for seconds in (0.5, 1.0, 4.0)]
    row = train_speed.row_of(Job("speed", steps=3), pairs)
    assert (row.ours, row.rival, row.ratio) == (100.0, 50.0, 2.0) and "3 pairs" in row.note
    assert pairs[0][0].first_loss_seconds == 10.0


def test_a_faster_training_with_other_losses_is_no_result():
    pair = (trained([3.0, 2.0], 1.0), trained([3.0, 2.01], 2.0, tokens=100))
    with pytest.raises(RuntimeError, match="not the same computation"):
        train_speed.row_of(Job("speed", steps=2), [pair])
    with pytest.raises(RuntimeError, match="1 steps against 2"):
        train_speed.row_of(Job("speed", steps=2), [(trained([3.0], 1.0), pair[1])])
    swapped = (trained([2.01, 3.0], 1.0), pair[1])
    assert train_speed.row_of(Job("speed", steps=2, same_order=False), [swapped]).ratio == 2.0


def test_the_parts_of_a_start_add_up_to_the_way_to_the_first_loss():
    run = Run(runs_folder() / "run")
    run.folder.mkdir(parents=True)
    told = [("preparing", "Starting the training process"), ("preparing", "Looking at the base model")]
    told += [("preparing", "Loading x in fp32"), ("preparing", "Setting up the training"), ("step", ""), ("done", "")]
    for second, (event, message) in enumerate(told):
        values = {"metrics": {"train_seconds": 0.5}} if event == "done" else {}
        append_json_line(run.events_file, {"time": 100.0 + second, "event": event, "message": message, **values})
    run.process_file.write_text(json.dumps({"trainer": {"pid": 1, "started": 100.4}}))
    parts = start.parts_of(run, began=99.5)
    assert sum(parts.values()) == pytest.approx(104.0 - 99.5)
    assert parts["weights"] == pytest.approx(1.0) and parts["first step"] == 0.5


def test_mfu_is_a_part_of_the_cards_peak_and_unknown_for_an_unknown_card():
    assert train_gpu.mfu(100_000, 1_100_000_000, "NVIDIA H100 80GB HBM3") == pytest.approx(0.445, abs=0.001)
    assert train_gpu.mfu(100_000, 1_100_000_000, "NVIDIA GeForce 256") is None


def test_the_rows_of_the_gpu_benchmark_have_many_short_and_few_long(tmp_path):
    file = Path(train_gpu.write_data(tmp_path / "rows.jsonl", 400))
    lengths = sorted(len(" ".join(json.loads(line).values()).split()) for line in file.read_text().splitlines())
    assert len(lengths) == 400 and 100 < lengths[200] < 160 and lengths[-1] > 4 * lengths[200]


def test_a_row_of_the_intake_says_what_ten_times_the_rows_cost(monkeypatch):
    seconds = {100: (1.0, 50.0), 1000: (11.0, 52.0)}
    monkeypatch.setattr(scale, "in_a_process", lambda count, with_tokens: seconds[count])
    time_row, memory = scale.intake_rows([100, 1000], False)
    assert time_row.ours == pytest.approx(11_000) and time_row.ratio == pytest.approx(10 / 11) and time_row.is_reached
    assert memory.ratio == pytest.approx(50 / 52) and memory.is_reached and memory.note.startswith("2222 bytes")
    seconds[1000] = (20.0, 100.0)  # neither linear nor flat
    assert not any(row.is_reached for row in scale.intake_rows([100, 1000], False))


def test_rows_come_through_the_intake_of_the_benchmark(tinyllama_tokenizer):
    seconds, megabytes = scale.read_rows(40, with_tokens=True)
    assert seconds > 0 and megabytes > 10


def test_every_call_of_the_page_is_measured_in_a_home_of_its_own(monkeypatch, isolated_home):
    monkeypatch.setattr(scale, "TIMES", 1)
    found = scale.list_rows(60) + scale.event_rows(3000)
    assert len(found) == 16 and all(row.rival is None and row.aim == 1.0 and row.ours > 0 for row in found)
    assert not list(isolated_home.iterdir()), "nothing is left in the person's own home"


@pytest.mark.parametrize(
    "group",
    ["train_speed", "start", "scale", "many", "train_gpu", "train_levers", "profile_step", "memory"],
)
def test_a_benchmark_can_be_imported_without_torch(group):
    code = f"import sys, benchmarks.{group}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0
    assert import_module(f"benchmarks.{group}").__doc__


@pytest.mark.slow
def test_the_training_and_trls_script_have_the_same_losses(tiny_base):
    """The real thing in small: the app's launcher and TRL's script, each in its own process."""
    job = Job("tiny", str(tiny_base), steps=3, settings={"max_length": 256})
    ((ours, trl),) = train_speed.measure(job, 1)
    assert len(ours.steps) == 3 and train_speed.loss_difference(job, ours, trl) < 1e-4
    row = train_speed.row_of(job, [(ours, trl)])
    assert row.ours > 0 and trl.tokens[-1] > trl.tokens[0] > 0 and min(ours.peak_bytes, trl.peak_bytes) > 1e8


@pytest.mark.slow
def test_the_gpu_benchmark_runs_in_small_on_a_cpu(tiny_base, tmp_path):
    """Whole: against TRL, a lever, the losses, the dearest operations, the report. In 8 bits, with TRL told to stay on the
    CPU in fp32, which is what the app does there by itself.
    """

    def chosen(base: str, data: str) -> list[Job]:
        in_8bit = train_gpu.jobs(base, data)[0]
        settings = {**in_8bit.settings, "max_length": 256, "too_long": "cut", "per_device_train_batch_size": 2}
        return [replace(in_8bit, settings=settings, trl=(*in_8bit.trl, "--bf16", "False", "--use_cpu", "True"))]

    levers = {name: lever for name, lever in LEVERS.items() if name in ("", "order")}
    found, kernels = train_gpu.measure_all(str(tiny_base), tmp_path, 2, 1, chosen, "NVIDIA H100", levers)
    speed, memory, *moved = found
    assert speed.ours > 0 and "MFU" in speed.note and memory.unit == "GB" and memory.ours > 0.1
    assert [row.name.split(": ")[0] for row in moved] == ["8bit"] * 2 and "GB" in moved[0].note
    (losses,) = [row for row in moved if "each step's loss" in row.name]
    assert losses.ours < 1e-3, "in TRL's order they are TRL's"
    text = train_gpu.report(found, kernels, rows.machine())
    assert "torch 2" in text and "| operation |" in text and len(next(iter(kernels.values()))) == train_gpu.KERNELS


@pytest.mark.parametrize("name", [name for name in LEVERS if name not in ("", "order")])
def test_every_other_lever_can_be_moved(tiny_base, tmp_path, name, monkeypatch):
    """In this process: the trainer that comes out trains. Compiling is a graph of its own on a GPU: here it is only asked for."""
    from trainer.process import lean_int8, recipe
    from trainer.process.studio_trainer import StudioTrainer

    monkeypatch.setattr(lean_int8, "install", lean_int8.install)
    monkeypatch.setattr(StudioTrainer, "_lean_loss", StudioTrainer._lean_loss)
    monkeypatch.setattr(recipe, "training_arguments", recipe.training_arguments)
    monkeypatch.setattr("torch.nn.Module.compile", lambda layer, dynamic: asked.append(dynamic))
    asked, data = [], train_gpu.write_data(tmp_path / "rows.jsonl", 8)
    config = Job("x", str(tiny_base), data, steps=2, settings={"max_length": 256, "too_long": "cut"}).config()
    found = train_levers.train(config, LEVERS[name])
    assert len(found["losses"]) == 2 and found["tokens_per_second"] > 0 and found["peak_bytes"] > 1e8
    assert bool(asked) is (name == "compile")


def test_the_row_of_a_lever_says_what_the_apps_choice_is_worth():
    plain, moved = ({"tokens_per_second": n, "peak_bytes": n * 1e9, "losses": [1.0]} for n in (3, 2))
    row = train_gpu.lever_row("8bit", LEVERS["optimiser"], plain, moved)
    assert (row.ours, row.rival, row.ratio) == (3, 2, 1.5) and "peak 3.00 GB, without 2.00 GB" in row.note
    new = train_gpu.lever_row("8bit", LEVERS["packing"], plain, moved)
    assert (new.ours, new.rival) == (2, 3) and "not in the app" in new.note
    assert train_gpu.loss_row("8bit", [1.0, 2.0], [1.0, 2.1]).is_reached is False
    with pytest.raises(RuntimeError, match="1 steps against 2"):
        train_gpu.loss_row("8bit", [1.0], [1.0, 2.0])


def test_the_row_of_a_peak_says_on_which_side_the_estimate_errs():
    over, under = (
        memory.row_of(memory.Case(), memory.Measured(10**9, size, 1.0)) for size in (1_100_000_000, 800_000_000)
    )
    assert over.ratio == pytest.approx(1 / 1.1) and over.is_reached and "10% over" in over.note
    assert under.ratio == pytest.approx(0.8) and not under.is_reached and "20% under" in under.note


@pytest.mark.slow
def test_the_peak_of_a_real_run_is_measured_and_estimated(embedded_base, tmp_path):
    measured = memory.measure(memory.Case(1, 64), tmp_path)
    assert memory.row_of(memory.Case(1, 64), measured).ratio > 0.7, measured
