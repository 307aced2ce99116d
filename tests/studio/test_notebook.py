"""examples/studio.ipynb: it is what the script makes, it runs as it is, and what it starts outlives its session."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import psutil
import pytest

import studio
from common.paths import REPOSITORY
from examples import make_notebook, packages
from models.hardware import Gpu
from runs.checkpoints import whole_steps
from runs.run import read_state
from tests.running import events, losses, wait

README = REPOSITORY / "README.md"


def test_the_notebook_and_the_badges_are_what_the_script_makes():
    assert make_notebook.NOTEBOOK.read_text(encoding="utf-8") == make_notebook.notebook()
    readme = README.read_text(encoding="utf-8")
    assert make_notebook.with_badges(readme) == readme and readme.count(f"/{make_notebook.PUBLIC}/") == 2
    assert readme.startswith("---\n"), "a Space reads its settings at the top"


def test_no_cell_is_long_and_each_text_is_in_both_languages():
    cells = nbformat.read(make_notebook.NOTEBOOK, 4).cells
    nbformat.validate(nbformat.read(make_notebook.NOTEBOOK, 4))
    assert max(len(cell.source.splitlines()) for cell in cells if cell.cell_type == "code") <= 10
    texts = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert all(any("가" <= one <= "힣" for one in text) for text in texts) and len(texts) == 9


def test_the_notebook_runs_as_it_is(tiny_base, isolated_home, tmp_path):
    """Every cell in a real kernel, on a base that knows nothing; smaller values follow the parameters, as papermill has it."""
    found = nbformat.read(make_notebook.NOTEBOOK, 4)
    tags = [cell.metadata.get("tags") for cell in found.cells]
    small = {"max_steps": 2, "lora_r": 2, "max_rows": 16, "max_length": 128, "test_sets": "", "eval_fraction": 0.2}
    rows = [json.dumps({"prompt": f"What is {n}?", "completion": f"It is {n}."}) for n in range(16)]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows))
    base = Path(shutil.copytree(tiny_base, tmp_path / "base"))
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 2048}))  # room for an answer
    values = f"BASE, DATA, ITEMS = {str(base)!r}, {str(tmp_path / 'rows.jsonl')!r}, 2\nSETTINGS = {small!r}"
    found.cells.insert(tags.index(["parameters"]) + 1, nbformat.v4.new_code_cell(values))
    resources = {"metadata": {"path": str(REPOSITORY / "examples")}}
    nbclient.NotebookClient(found, timeout=600, kernel_name="python3", resources=resources).execute()
    drawn = {cell.source: cell.outputs for cell in found.cells if cell.cell_type == "code"}
    (curve,) = _html(drawn[make_notebook.TRAIN])
    assert "my-first: Done" in curve and "<path class='line training'" in curve and "step 2 of 2" in curve
    assert "<table>" in _html(drawn[make_notebook.EVALUATE])[-1]
    assert make_notebook.PARAMETER.splitlines()[4].split('"')[1] in _html(drawn[make_notebook.CHAT])[-1]
    assert str(isolated_home) in str(drawn[make_notebook.HOME])


def _html(outputs) -> list[str]:
    return [one.data["text/html"] for one in outputs if "data" in one and "text/html" in one.data]


def test_a_session_that_disappears_loses_the_steps_since_the_last_checkpoint(settings, monkeypatch, warm_starts):
    """Kaggle with two cards, played by two processes on the CPU: all is killed at once, and a fresh kernel goes on."""
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    cards = (Gpu("Tesla T4", 15 * 2**30, 7.5),) * 2
    monkeypatch.setattr(studio, "find_gpus", lambda: cards)
    small = {**settings, "max_steps": 8, "save_steps": 2, "eval_fraction": 0.0, "test_sets": "", "lora_dropout": 0.0}
    run = studio.train(name="cut-off", **small).run
    wait(run, lambda state: whole_steps(run.checkpoints_folder))
    session = {psutil.Process(int(mark["pid"])) for mark in run.processes()}
    session |= {child for process in session for child in process.children(recursive=True)}
    for process in session:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(session, timeout=60)
    assert read_state(run).status == "interrupted"
    kept = whole_steps(run.checkpoints_folder)[-1]
    code = "import studio; print(studio.resume().wait().name)"
    again = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=os.environ, capture_output=True, text=True, check=False
    )
    assert again.stdout.splitlines() == [f"Continuing 'cut-off'. The checkpoint of step {kept} is kept.", "cut-off"], (
        again
    )
    (resumed,) = events(run, "resumed")
    assert resumed["step"] == kept and [step for step, _loss in read_state(run).losses] == [*range(1, 9)]
    assert read_state(run).metrics["num_processes"] == 2 and len(losses(run)) >= 8


@pytest.fixture
def somewhere(monkeypatch, tmp_path):
    """A Python that has a torch of its own, and nothing of what is asked for."""
    there = {"torch": "2.9.0+cu126", "numpy": "2.0.2"}
    ran: list[list[str]] = []

    def run(command, **how):
        ran.append([str(word) for word in command])
        if "venv" in command:
            packages.site_packages(Path(command[-1])).mkdir(parents=True)
        if "-r" in command:
            ran.append(Path(command[-1]).read_text().splitlines())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages, "installed", lambda name: there.get(name, ""))
    monkeypatch.setattr(packages.subprocess, "run", run)
    monkeypatch.setattr(packages, "ENVIRONMENT", tmp_path / "environment")
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.setattr(sys, "executable", sys.executable)
    monkeypatch.setenv("VIRTUAL_ENV", "")
    return there, ran


def test_colabs_own_torch_and_packages_stay_as_they_are(somewhere, monkeypatch, capsys):
    _there, ran = somewhere
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setitem(sys.modules, "numpy", None)
    python, environment = sys.executable, packages.ENVIRONMENT
    packages.main()
    made, installed, asked = ran
    assert made == [python, "-m", "venv", "--without-pip", "--system-site-packages", str(environment)]
    assert installed[:4] == [str(environment / "bin" / "python"), "-m", "pip", "install"], "never into Colab's own"
    assert "torch==2.9.0+cu126" in asked and [line for line in asked if line.startswith("gradio==")]
    assert sys.executable == str(environment / "bin" / "python") and sys.path[0].startswith(str(environment))
    seen = (packages.site_packages(environment) / "notebook.pth").read_text()
    assert str(Path(pytest.__file__).parents[1]) in seen.splitlines(), "a training gets no PYTHONPATH"
    assert "torch 2.9.0+cu126; tested with" in capsys.readouterr().out


def test_what_is_there_is_not_installed_again_and_a_venv_is_ones_own(somewhere, monkeypatch):
    there, ran = somewhere
    monkeypatch.setattr(sys, "prefix", "/a/venv")
    packages.main()
    assert ran[0][0] == sys.executable and len(ran) == 2
    there |= packages.pinned_packages() | {"torch": "2.9.0"}
    packages.main()
    assert len(ran) == 2


def test_a_session_that_has_loaded_another_numpy_is_restarted_first(somewhere, monkeypatch, capsys):
    there, _ran = somewhere
    there["numpy"] = "99.0"
    packages.main()
    assert "Restart the session" in capsys.readouterr().out
