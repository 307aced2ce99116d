"""Each benchmark in its smallest form tells the truth: its rows are real, and can be compared with the kept ones."""

import json
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import bench, chat_page, chat_speed, check, gpu, levers, memory, parallel, precision, scale, start
from benchmarks.inputs import make_adapter, make_instructions
from benchmarks.llama_cpp import LlamaCpp, find_llama_cpp
from benchmarks.rows import faster, keep, read_results, within
from benchmarks.train_speed import Job, Training, loss_difference, measure, row_of
from chat.engine import Model
from models.tokenizer import load_tokenizer

TALK = [{"role": "user", "content": "Why is the sky blue?"}, {"role": "assistant", "content": "Because of the air."}]
SPEED, PAGE = faster("speed", 200.0, 100.0, "tokens/s", aim=1.7), within("page", 0.1, 0.3, "s")
KEPT = read_results()


def is_kept(group: str, rows: list) -> bool:
    """All rows have numbers, and names that results/bench.json has too."""
    names = {row.name for row in KEPT[group]["rows"]}
    return {row.name for row in rows} <= names and all(row.ours > 0 and row.ratio > 0 for row in rows)


@pytest.mark.parametrize(
    ("row", "ratio", "falls"), [(SPEED, 1.71, 0), (SPEED, 1.69, 1), (PAGE, 9.0, 0), (PAGE, 2.4, 1)]
)
def test_a_ratio_that_fell_by_more_than_15_percent_fails_the_check(tmp_path, monkeypatch, row, ratio, falls):
    kept, new = tmp_path / "kept.json", tmp_path / "new.json"
    keep("one", [row, replace(row, name="gone")], True, kept)
    keep("one", [replace(row, ratio=ratio)], True, new)
    assert f"| {row.name} | {row.ours:g}" in bench.report(read_results(kept))
    for file, code in ((kept, falls), (tmp_path / "none.json", 1)):  # nothing to compare is no pass
        monkeypatch.setattr(sys, "argv", ["check", "--kept", str(file), "--new", str(new)])
        assert check.main() == code


def test_a_faster_training_with_other_losses_is_no_result():
    ours, trl = (Training(9.0, [(10.0, 3.0), (11.0, loss)], [100, 200]) for loss in (2.0, 2.01))
    assert row_of(Job("speed", steps=2), [(ours, ours)]).ours == 100
    with pytest.raises(RuntimeError, match="not the same computation"):
        row_of(Job("speed", steps=2), [(ours, trl)])


@pytest.mark.slow
def test_the_training_and_trls_script_have_the_same_losses(tiny_base):
    ((ours, trl),) = measure(Job("tiny", str(tiny_base), steps=3, settings={"max_length": 256}), 1)
    assert len(ours.steps) == 3 and loss_difference(ours.losses, trl.losses) < 1e-4
    assert trl.tokens[-1] > trl.tokens[0] > 0 and min(ours.peak_bytes, trl.peak_bytes) > 1e8


@pytest.mark.slow
def test_the_memory_the_start_and_the_page_are_measured(embedded_base, tmp_path):
    assert memory.measure(memory.Case(1, 64), tmp_path)[0].ratio > 0.7
    assert is_kept("start", [*start.training_rows(1), *start.page_rows(1)])


def test_every_call_of_the_page_and_the_intake_is_measured(monkeypatch, isolated_home):
    monkeypatch.setattr(scale, "TIMES", 1)
    rows = scale.list_rows(60) + scale.event_rows(3000)
    names = [row.name.replace("60 runs", "10,000 runs").replace("3,000 st", "1,000,000 st") for row in rows]
    assert is_kept("scale", [replace(row, name=name) for row, name in zip(rows, names, strict=True)])
    assert not list(isolated_home.iterdir()), "nothing is left in the person's own home"
    assert min(scale.read_rows(40, with_tokens=True)) > 0
    seconds = {10**5: (1.0, 50.0), 10**6: (20.0, 100.0)}  # neither linear nor flat
    monkeypatch.setattr(scale, "in_a_process", lambda count, with_tokens: seconds[count])
    rows = scale.intake_rows([10**5, 10**6], False)
    assert is_kept("scale", rows) and not any(row.is_reached for row in rows)


@pytest.mark.slow
def test_the_chat_is_measured_against_the_same_words(tiny_base, tmp_path):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": TALK}) + "\n")
    adapters = [make_adapter(tiny_base, tmp_path / "adapter")] * 3
    rows = chat_speed.token_rows(tiny_base, "SmolLM2-135M", 6, 1)  # raises where our tokens are not the pipeline's
    rows += chat_speed.turn_rows(tiny_base, (1, 5), 1)[:-1]
    rows += chat_speed.people_rows(Model(tiny_base, "8bit"), (1, 4), 4, 1)
    rows += chat_speed.switch_rows(tiny_base, "8bit", adapters[:1])
    rows += chat_speed.adapter_rows(tiny_base, "8bit", adapters, 4, 1)
    rows += chat_speed.loss_rows(tiny_base, str(tmp_path / "rows.jsonl"))
    assert is_kept("chat_speed", rows) and all(0.98 < row.ratio < 1.02 for row in rows if "loss" in row.name)


def test_llama_cpp_is_asked_in_a_process_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "xllamacpp.py").write_text(
        "from types import SimpleNamespace as Any\n"
        "CommonParams = lambda: Any(model=Any(), cpuparams=Any(), cpuparams_batch=Any())\n"
        "class Server:\n"
        "    def __init__(self, settings): self.path = settings.model.path\n"
        "    def handle_completions(self, asked):\n"
        "        return {'usage': {'completion_tokens': 5}, 'choices': [{'text': self.path + asked['prompt']}]}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with LlamaCpp(find_llama_cpp(), Path("base.gguf")) as llama:
        assert llama.write("Hi", 5) == "base.ggufHi"
        with pytest.raises(RuntimeError, match="wrote 5 tokens, not 20"):
            llama.write("Hi", 20)


@pytest.mark.parametrize("name", levers.LEVERS)
def test_a_lever_trains_and_has_the_apps_losses(tiny_base, tmp_path, monkeypatch, name):
    monkeypatch.setattr("torch.nn.Module.compile", lambda layer, dynamic: None)  # it is a graph of its own on a GPU
    data = make_instructions(tmp_path / "rows.jsonl", 8)
    settings = {"max_length": 256, "too_long": "cut", "precision": "8bit", "lora_dropout": 0.0, "seed": 3}
    config = Job("x", str(tiny_base), data, steps=2, settings=settings).config()
    plain, found = (levers.train(config, levers.LEVERS[one], 5) for one in ("", name))
    assert found["tokens_per_second"] > 0 and found["peak_bytes"] > 1e8 and len(found["dearest"]) == 5
    if name not in ("order", "packing"):  # they take other rows
        assert found["losses"] == pytest.approx(plain["losses"], rel=1e-3)


def test_modes_and_precisions_are_compared(tiny_base, tmp_path, capsys):
    cases = [parallel.Case("one device", "fp32", 1, 1), parallel.Case("DDP", "bf16", 2, reason="needs two GPUs")]
    (row,) = parallel.measure_all(cases, {"base": str(tiny_base), "steps": 3, "batch": 1, "length": 16})
    assert row.ours > 0 and row.ratio == 1 and "needs two GPUs" in capsys.readouterr().err
    precision.make_base(tmp_path, "cpu", 2)
    exact, rounded = (precision.measure(case, tmp_path, 2e-5, 3, "cpu") for case in precision.CASES[:2])
    assert exact.ratio == 1 and "updates lost 0.00%" in exact.note and "updates lost 0.00%" not in rounded.note


@pytest.mark.slow
def test_the_gpu_script_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpu", "--small", "--out", str(tmp_path), "--minutes", "9", "--parts", "a", "d"])
    monkeypatch.setattr(gpu, "CASES", [case for case in gpu.CASES if case.name in ("8-bit", "4-bit")])
    monkeypatch.setattr(gpu, "PEOPLE", ((1, True), (3, False)))
    assert gpu.main() == 0
    (file,) = tmp_path.glob("*.json")
    known = json.loads(file.read_text())["units"]
    assert len(known) == 4 and "needs a GPU" in known["4-bit"]["not_run"]
    assert (
        "resumed at step" in known["8-bit"]["rows"][0]["note"]
        and "| mode: 8-bit |" in file.with_suffix(".md").read_text()
    )
    monkeypatch.setattr(gpu, "train", None)
    assert gpu.main() == 0, "nothing is measured twice"


@pytest.mark.slow
@pytest.mark.skipif(chat_page.CHROMIUM is None, reason="needs Chromium")
def test_the_words_of_an_answer_are_timed_as_they_appear(isolated_home, tiny_base):
    with ExitStack() as stack:
        rival = chat_page.open_rival(stack, chat_page.open_browser(stack), tiny_base, load_tokenizer(tiny_base), 60)
        speed, first = rival.ask("Write a long story.")
    assert 1 < speed < 5000 and 0 < first < 60
