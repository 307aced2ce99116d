"""The launcher checks first, writes a whole run or nothing, and gives the child no token."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from common.errors import UserError
from common.files import write_json
from common.paths import REPOSITORY, runs_folder
from trainer import launcher
from trainer.config import TrainConfig
from trainer.launcher import CONFIGS, command, create_run, environment, launch, start
from trainer.run import EventLog, list_runs, this_process


@pytest.fixture
def config(tiny_base, tmp_path) -> TrainConfig:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "Q", "completion": "A"}\n')
    return TrainConfig(name="My Run", base=str(tiny_base), data=str(data))


def test_a_run_holds_its_config_and_a_copy_of_its_data(config):
    run = create_run(config)
    written = run.config()
    assert run.id == "my-run" and written.base == config.base and written.base_reason
    assert (run.folder / written.data).read_text() == '{"prompt": "Q", "completion": "A"}\n'


def test_two_runs_of_one_name_do_not_meet(config):
    assert [create_run(config).id, create_run(config).id] == ["my-run", "my-run-2"]


@pytest.mark.parametrize("change", [{"learning_rate": -1.0}, {"base": "/nowhere"}, {"precision": "fp16"}])
def test_a_refused_run_leaves_nothing(config, change):
    values = {**config.to_dict(), **change}
    with pytest.raises(UserError):
        create_run(TrainConfig(**values))
    assert not list(runs_folder().glob("*"))


def test_a_crash_while_writing_leaves_nothing(config, monkeypatch):
    monkeypatch.setattr(launcher, "write_text", lambda path, text: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        create_run(config)
    assert not list(runs_folder().glob("*"))


def test_a_full_disk_is_told(config, monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setattr(launcher.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    with pytest.raises(UserError, match="1 MB of disk are free"):
        create_run(config)


def test_a_second_training_is_refused_with_the_name_of_the_first(config):
    first, second = create_run(config), create_run(config)
    write_json(first.process_file, {"trainer": this_process(os.getpid())})
    EventLog(first).write("training")
    with pytest.raises(UserError, match="'my-run' is training"):
        start(second)
    with pytest.raises(UserError, match="'my-run' is training"):
        launch(config)
    assert [run.id for run in list_runs()] == ["my-run-2", "my-run"], "a refused start left a run behind"


def test_the_name_of_somebody_elses_run_is_not_told(config):
    theirs, mine = create_run(TrainConfig(**{**config.to_dict(), "name": "secret-plan"}), "alice"), create_run(config)
    write_json(theirs.process_file, {"trainer": this_process(os.getpid())})
    EventLog(theirs).write("training")
    with pytest.raises(UserError, match="Somebody else's run") as error:
        start(mine)
    assert "secret-plan" not in str(error.value) and "alice" not in str(error.value)


def test_the_child_gets_no_token(monkeypatch):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "OAUTH_CLIENT_SECRET", "SECRET"):
        monkeypatch.setenv(name, "hf_secret")
    assert "hf_secret" not in environment().values()
    assert environment()["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"


def test_one_process_too_is_started_by_accelerate_with_a_config_file(config):
    run = create_run(config)
    line = command(run, run.config())
    assert line[:3] == [sys.executable, "-m", "accelerate.commands.launch"] and "--config_file" in line
    assert line[-4:] == ["-m", "trainer.train", "--run", str(run.folder)]


def test_several_processes_on_a_cpu_take_the_path_that_really_starts_them(config):
    """Finding G: MULTI_CPU starts one process and says nothing."""
    run = create_run(TrainConfig(**{**config.to_dict(), "num_processes": 2}))
    line = command(run, run.config())
    file = yaml.safe_load(Path(line[line.index("--config_file") + 1]).read_text())
    assert file["distributed_type"] == "MULTI_GPU" and environment(2)["ACCELERATE_USE_CPU"] == "true"


@pytest.mark.parametrize("file", sorted(path.name for path in CONFIGS.glob("*.yaml")))
def test_accelerate_itself_reads_every_config(file):
    from accelerate.commands.config.config_args import load_config_from_file

    load_config_from_file(str(CONFIGS / file))


def test_the_launcher_needs_no_torch():
    code = "import sys, trainer.launcher, trainer.run, trainer.dataset; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0
