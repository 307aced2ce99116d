"""The benchmarks tell the truth: what they compare is the same computation, and what fell is named."""

import json
import sys
from dataclasses import replace

import pytest

from benchmarks import bench, gpu, levers, paper, precision, scale
from benchmarks.inputs import make_instructions
from benchmarks.llama_cpp import LlamaCpp, find_llama_cpp
from benchmarks.rows import faster, keep, read_results, within
from benchmarks.train_speed import Job, Training, row_of
from common.errors import UserError
from evaluation.experiments.arms import arms_of
from evaluation.experiments.experiment import Experiment
from evaluation.experiments.notes import NOTES
from evaluation.experiments.verdicts import Settled
from evaluation.run import Progress

# writes five tokens, whatever it is asked
FAKE_LLAMA_CPP = """
import json, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace as Any

CommonParams = lambda: Any(model=Any(), cpuparams=Any(), cpuparams_batch=Any())

def Server(settings):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            answer = {"content": settings.model.path + asked["prompt"], "tokens_predicted": 5}
            self.wfile.write(json.dumps(answer).encode())
    server = ThreadingHTTPServer(("127.0.0.1", settings.port), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return Any(listening_address=f"http://127.0.0.1:{server.server_port}")
"""
SPEED, PAGE = faster("speed", 200.0, 100.0, "tokens/s", aim=1.7), within("page", 0.1, 0.3, "s")


@pytest.mark.parametrize(
    ("row", "ratio", "falls"), [(SPEED, 1.71, 0), (SPEED, 1.69, 1), (PAGE, 9.0, 0), (PAGE, 2.4, 1)]
)
def test_a_ratio_that_fell_by_more_than_15_percent_fails_the_check(tmp_path, monkeypatch, capsys, row, ratio, falls):
    kept = tmp_path / "kept.json"
    keep("scale", [row, replace(row, name="gone")], True, kept)
    assert f"| {row.name} | {row.ours:g}" in bench.report(read_results(kept))
    monkeypatch.setattr(scale, "rows", lambda quick: [replace(row, ratio=ratio)])
    for file, code in ((kept, falls), (tmp_path / "none.json", 1)):  # nothing to compare is no pass
        monkeypatch.setattr(sys, "argv", ["bench", "--check", "--kept", str(file)])
        assert bench.main() == code
        assert "not compared: start: not measured, because no row of it is kept" in capsys.readouterr().out


def test_a_faster_training_with_other_losses_is_no_result():
    ours, trl = (Training(9.0, [(10.0, 3.0), (11.0, loss)], [100, 200]) for loss in (2.0, 2.01))
    assert row_of(Job("speed", steps=2), [(ours, ours)]).ours == 100
    with pytest.raises(RuntimeError, match="not the same computation"):
        row_of(Job("speed", steps=2), [(ours, trl)])


def test_llama_cpp_is_asked_in_a_process_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "xllamacpp.py").write_text(FAKE_LLAMA_CPP)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with LlamaCpp(find_llama_cpp(), tmp_path / "base.gguf") as llama:
        assert llama.write("Hi", 5) == f"{tmp_path}/base.ggufHi"
        llama.write_together(["Hi", "Ho"], 5)
        with pytest.raises(RuntimeError, match="wrote 5 tokens, not 20"):
            llama.write("Hi", 20)


def test_the_gpu_script_goes_on_where_it_stopped(tmp_path, monkeypatch):
    ready, measured = [], []

    def units(bench):
        for name, problem in (("one", None), ("two", UserError("needs a GPU")), ("three", ValueError("broken"))):
            yield "a", name, lambda name=name, problem=problem: unit(name, problem)

    def unit(name, problem):
        measured.append(name)
        if problem and not ready:
            raise problem
        return {"rows": [SPEED]}

    monkeypatch.setattr(gpu, "units", units)
    monkeypatch.setattr(sys, "argv", ["gpu", "--small", "--out", str(tmp_path)])
    assert gpu.main() == 1
    (file,) = tmp_path.glob("*.json")
    known = json.loads(file.read_text())["units"]
    assert known["two"] == {"not_run": "needs a GPU"} and "broken" in known["three"]["failed"]
    ready.append(True)
    assert gpu.main() == 0 and measured == ["one", "two", "three", "two", "three"]
    assert "| speed | 200 tokens/s |" in file.with_suffix(".md").read_text()


def test_the_grid_of_the_paper_is_trained_at_the_rates_of_its_search(tmp_path, monkeypatch, capsys):
    results, experiment, begun = tmp_path / "paper", Experiment(tmp_path / "experiment"), []
    monkeypatch.setattr(paper, "RESULTS", results)
    monkeypatch.setattr(paper, "RATES_FILE", results / "rates.yaml")
    monkeypatch.setattr(paper, "begun", lambda config: begun.append(config) or (experiment, True))
    monkeypatch.setattr(paper, "Experimenting", lambda experiment: [Progress("running", "Searching"), Progress("done")])
    monkeypatch.setattr(paper, "read_progress", lambda experiment: Progress("done"))
    monkeypatch.setattr(paper, "write_bundle", lambda experiment, folder: (folder / "paper.zip").touch())
    monkeypatch.setattr(paper, "verdicts", lambda experiment: [(NOTES[0], Settled("supported", "Better."))])
    experiment.results_folder.mkdir(parents=True)
    (experiment.results_folder / "table.md").touch()
    assert paper.main([]) == 1 and "Search them first" in capsys.readouterr().err
    trained = [arm.id for arm in arms_of(paper.GRID) if arm.is_trained]
    searched = {arm: {"losses": {"0.01": 2.0}, "chosen": 1e-2} for arm in trained}
    experiment.rates_file.write_text(json.dumps(searched | {trained[0]: {"losses": {}, "chosen": None}}))
    assert paper.main(["--search"]) == 1 and "not at its end" in capsys.readouterr().err
    experiment.rates_file.write_text(json.dumps(searched))
    assert paper.main(["--search"]) == 0 and "a better one may lie beyond" in capsys.readouterr().out
    assert experiment.stop_file.exists(), "what comes after the search is the grid's"
    assert paper.main([]) == 0
    for config in begun:
        config.check()
    assert begun[-1].found_rates == dict.fromkeys(trained, 1e-2)
    assert {file.name for file in results.iterdir()} == {"rates.yaml", "table.md", "paper.zip", "verdicts.md"}
    assert "LoRA is as good as full tuning.\n\n**Supported here.** Better." in (results / "verdicts.md").read_text()


@pytest.mark.parametrize(
    ("status", "called"),
    [(None, "start"), ("interrupted", "resume"), ("failed", "resume"), ("done", ""), ("running", "")],
)
def test_the_grid_of_the_paper_goes_on_where_it_was(tmp_path, monkeypatch, status, called):
    calls = []

    def find(id):
        if status is None:
            raise UserError("There is none.")
        return Experiment(tmp_path / id)

    monkeypatch.setattr(paper, "find_experiment", find)
    monkeypatch.setattr(paper, "read_progress", lambda experiment: Progress(status))
    monkeypatch.setattr(paper, "start", lambda config, owner: calls.append("start") or Experiment(tmp_path / "paper"))
    monkeypatch.setattr(paper, "resume", lambda experiment: calls.append("resume"))
    experiment, is_new = paper.begun(paper.GRID)
    assert experiment.id == "paper" and is_new == (called == "start") and "".join(calls) == called


def test_each_way_to_measure_works_in_its_smallest_form(tiny_base, tmp_path, monkeypatch, isolated_home):
    monkeypatch.setattr(scale, "TIMES", 1)
    rows = [*scale.list_rows(60), *scale.event_rows(1000)]
    assert all(row.ours > 0 for row in rows) and not list(isolated_home.iterdir())
    precision.make_base(tmp_path, "cpu", 2)
    exact, rounded = (precision.measure(case, tmp_path, 2e-5, 2, "cpu") for case in precision.CASES[:2])
    assert exact.ratio == 1 and "updates lost 0.00%" in exact.note and "updates lost 0.00%" not in rounded.note
    data = make_instructions(tmp_path / "rows.jsonl", 8)
    settings = {"max_length": 256, "too_long": "cut", "lora_dropout": 0.0}
    config = Job("x", str(tiny_base), data, steps=2, settings=settings).config()
    plain, fused = (levers.train(config, levers.LEVERS[name]) for name in ("", "fused-lora"))
    assert plain["tokens_per_second"] > 0 and fused["losses"] == pytest.approx(plain["losses"], rel=1e-3)
