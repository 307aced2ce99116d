"""Where a notebook runs: Colab and Kaggle by their variables, what is kept there, their cards, and the page in them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import studio
from common.errors import UserError
from models.hardware import Gpu
from runs.config import TrainConfig
from runs.run import Run
from studio import places

T4 = Gpu("Tesla T4", 15 * 2**30, 7.5)
APP = """
import http.server, json, os, sys, pathlib
pathlib.Path("started.json").write_text(json.dumps(sys.argv[1:]))
if os.environ.get("FAILS"):
    sys.exit("The disk is full.")
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(401)
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(("127.0.0.1", int(os.environ["GRADIO_SERVER_PORT"])), Answer)
print("Local: http://127.0.0.1")
print("Open https://tunnel.example/?key=secret", flush=True)
server.serve_forever()
"""


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    for name in ("STUDIO_HOME", "COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for name in ("DRIVE", "KAGGLE_OUTPUT", "KAGGLE_INPUT"):
        monkeypatch.setattr(places, name, tmp_path / name.lower())
    yield
    os.environ.pop("STUDIO_HOME", None)


@pytest.fixture
def colab(monkeypatch):
    """Colab's own modules: what was asked of them, in order."""
    asked: list[object] = []
    drive = SimpleNamespace(mount=asked.append)
    output = SimpleNamespace(serve_kernel_port_as_iframe=lambda port, height: asked.append((port, height)))
    monkeypatch.setitem(sys.modules, "google.colab.drive", drive)
    monkeypatch.setitem(sys.modules, "google.colab.output", output)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab_20261101")
    return SimpleNamespace(asked=asked, drive=drive)


@pytest.fixture
def kaggle(monkeypatch):
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")


@pytest.fixture
def app(monkeypatch, tmp_path):
    """An app.py that answers as one does that asks for a key, in the place of ours."""
    (tmp_path / "app.py").write_text(APP)
    monkeypatch.setattr(places.paths, "REPOSITORY", tmp_path)
    return tmp_path


def test_on_colab_everything_is_kept_on_the_drive(colab, capsys):
    found = studio.home()
    assert colab.asked == [str(places.DRIVE)] and found == places.DRIVE / "MyDrive" / "tinyllama-studio"
    assert os.environ["STUDIO_HOME"] == str(found) and "lost" not in capsys.readouterr().out


def test_a_drive_that_is_refused_says_what_else_can_be_done(colab, capsys):
    def refuse(place):
        raise ValueError("mount failed")

    colab.drive.mount = refuse
    with pytest.raises(UserError, match=r"mount failed.*studio\.home\(drive=False\)"):
        studio.home()
    assert studio.home(drive=False).is_dir() and "lost when the session ends" in capsys.readouterr().out


def test_a_home_that_was_chosen_stays(colab, monkeypatch, tmp_path):
    monkeypatch.setenv("STUDIO_HOME", str(tmp_path / "mine"))
    assert studio.home() == tmp_path / "mine" and colab.asked == []


def test_kaggle_goes_on_with_the_newest_copy_among_its_inputs(kaggle, monkeypatch, capsys):
    """Kaggle's image is made from Colab's, whose variable it may have."""
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab_20261101")
    for place, age in (("notebooks/me/studio", 10), ("studio-data", 99)):
        folder = places.KAGGLE_INPUT / place / "tinyllama-studio"
        (folder / "runs").mkdir(parents=True)
        (folder / "from").write_text(place)
        os.utime(folder, (1e9 - age, 1e9 - age))
    found = studio.home()
    assert found == places.KAGGLE_OUTPUT / "tinyllama-studio" and (found / "from").read_text() == "notebooks/me/studio"
    (found / "from").write_text("mine")
    monkeypatch.delenv("STUDIO_HOME")
    assert studio.home() == found and (found / "from").read_text() == "mine", "what is there is never replaced"


def test_of_an_input_on_kaggle_nothing_starts_by_itself_and_it_lets_nobody_in(kaggle):
    strangers = places.KAGGLE_INPUT / "useful-rows" / "tinyllama-studio"
    for name in ("runs/local/theirs/config.yaml", "runs/local/theirs/queued.json", "adapters/local/keys/studio.json"):
        (strangers / name).parent.mkdir(parents=True, exist_ok=True)
        (strangers / name).write_text("{}")
    for folder, kind in (("keys", "json"), ("door/keys", "owner")):
        (strangers / folder).mkdir(parents=True)
        (strangers / folder / f"{'a' * 64}.{kind}").write_text('{"owner": "local"}')
    found = studio.home()
    there = sorted(file.relative_to(found).as_posix() for file in found.rglob("*") if file.is_file())
    assert there == ["adapters/local/keys/studio.json", "runs/local/theirs/config.yaml"]


@pytest.mark.parametrize(
    ("settings", "cards", "processes", "rows"),
    [
        ({}, 2, 2, (2, 1)),
        ({"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}, 2, 2, (1, 2)),
        ({"per_device_train_batch_size": 3}, 2, 1, (3, 1)),
        ({}, 1, 1, (4, 1)),
        ({"num_processes": 1}, 2, 1, (4, 1)),
    ],
)
def test_two_cards_share_the_rows_of_a_step_by_themselves(kaggle, monkeypatch, settings, cards, processes, rows):
    started: list[TrainConfig] = []
    monkeypatch.setattr(studio, "find_gpus", lambda: (T4,) * cards)
    monkeypatch.setattr(studio, "launch", lambda config: started.append(config) or Run(Path("run")))
    studio.train(name="mine", **settings)
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE")
    studio.train(name="mine", **settings)
    there, here = started
    assert (there.num_processes, there.per_device_train_batch_size, there.gradient_accumulation_steps) == (
        processes,
        *rows,
    )
    assert here == TrainConfig.from_dict({"name": "mine", **settings}), (
        "a machine that others use too is not taken whole"
    )


def test_the_page_stands_in_colabs_own_frame(colab, app):
    page = studio.page(height=700)
    assert colab.asked == [(page.port, "700")] and json.loads((app / "started.json").read_text()) == []
    page.close()
    assert page._process.returncode is not None


def test_kaggle_gets_a_link_with_a_key_that_is_in_no_file(kaggle, app, capsys):
    page = studio.page()
    assert json.loads((app / "started.json").read_text()) == ["--share"]
    assert capsys.readouterr().out == "Open https://tunnel.example/?key=secret\n"
    assert not [file for file in app.rglob("*") if file.is_file() and b"key=secret\n" in file.read_bytes()]
    page.close()


def test_a_page_that_does_not_start_says_why(app, monkeypatch):
    monkeypatch.setenv("FAILS", "1")
    with pytest.raises(UserError, match="The disk is full"):
        studio.page()


def test_the_notebook_needs_neither_gradio_nor_torch_to_begin():
    code = "import sys, studio; sys.exit(str({'gradio', 'torch', 'transformers'} & {*sys.modules} or ''))"
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.stderr.strip() == ""
