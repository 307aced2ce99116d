"""The launcher checks first, writes a whole run or nothing, and gives the child no token."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from common.errors import UserError
from common.files import write_json
from common.paths import REPOSITORY, adapters_folder, runs_folder
from models import embedded
from models.base import DEFAULT_BASE
from models.hardware import Gpu
from runs import disk, launcher
from runs.config import TrainConfig
from runs.history import copy_settings
from runs.labels import Labels, labels_of, title_of
from runs.launcher import command, create_run, environment, start
from runs.processes import this_process
from runs.run import EventLog
from tests.running import write_rows


@pytest.fixture
def config(tiny_base, tmp_path) -> TrainConfig:
    data = write_rows(tmp_path / "rows.jsonl", [{"prompt": "Q", "completion": "A"}])
    return TrainConfig(name="My Run", base=str(tiny_base), data=data)


@pytest.fixture
def adapters() -> None:
    """'first' of alice on the embedded base, with files that do not belong to it, and 'other-base' of bob."""
    for owner, name, base in (("alice", "first", embedded.HUB_ID), ("bob", "other-base", DEFAULT_BASE)):
        folder = adapters_folder(owner) / name
        folder.mkdir(parents=True)
        write_json(folder / "adapter_config.json", {"base_model_name_or_path": base, "peft_type": "LORA"})
        for file in (
            "adapter_model.safetensors",
            "tokenizer.json",
            "chat_template.jinja",
            "training_args.bin",
            "a.txt",
        ):
            (folder / file).write_text(file)
        (folder / "linked.json").symlink_to("/etc/hostname")


def test_a_run_holds_its_config_and_a_copy_of_its_data(config):
    run = create_run(config)
    written = run.config()
    assert run.id == "my-run" and written.base == config.base and written.base_reason
    assert (run.folder / written.data).read_bytes() == Path(config.data).read_bytes()


def test_a_run_has_its_labels_from_the_moment_it_is_there():
    labels = Labels("Ranks: LoRA r4, seed 1", "", ("experiment",), experiment="ranks/lora-r4-1")
    for _ in range(2):
        assert labels_of(create_run(TrainConfig(name="ranks-lora-r4-1", base="embedded"), labels=labels)) == labels


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": -1.0},
        {"base": "/nowhere"},
        {"precision": "fp16"},
        {"data": "data/../../other/data/data.jsonl"},  # would be looked for from inside the run
        *(
            {"base": "embedded", "init_adapter": name}
            for name in ("none", "../alice/first", "first", "..", "other-base")
        ),
    ],
    ids=str,
)
def test_a_refused_run_leaves_nothing(config, adapters, change):
    with pytest.raises(UserError):
        create_run(replace(config, **change), "bob")
    assert not list(runs_folder("bob").glob("*"))


def test_a_crash_while_writing_leaves_nothing(config, monkeypatch):
    monkeypatch.setattr(launcher, "write_text", lambda path, text: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        create_run(config)
    assert not list(runs_folder().glob("*"))


def test_a_full_disk_is_told(config, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**6))
    with pytest.raises(UserError, match="1 MB of disk space are free"):
        create_run(config)


def test_a_run_that_trains_is_not_started_again(config):
    run = create_run(config)
    write_json(run.process_file, {"trainer": this_process(os.getpid())})
    EventLog(run).write("training")
    with pytest.raises(UserError, match="'my-run' is already training"):
        start(run)


def test_a_start_looks_for_the_cards_once(config, monkeypatch):
    run, looks, started = create_run(config), iter([(Gpu("T4", 15 * 2**30, 7.5),), ()]), []
    child = SimpleNamespace(pid=os.getpid(), wait=lambda: 0)
    monkeypatch.setattr(launcher, "find_gpus", lambda: next(looks))
    monkeypatch.setattr(launcher.subprocess, "Popen", lambda words, **options: started.append(words) or child)
    start(run)
    file = yaml.safe_load(run.accelerate_file.read_text())
    assert not file["use_cpu"] and file["mixed_precision"] == "fp16" and list(looks) == [()]
    assert "--num_cpu_threads_per_process" not in started[0], "the command is for the cards of the file"


def test_the_child_gets_no_token(monkeypatch):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "OAUTH_CLIENT_SECRET", "SECRET"):
        monkeypatch.setenv(name, "hf_secret")
    assert "hf_secret" not in environment(TrainConfig(), ()).values()
    assert environment(TrainConfig(), ())["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"


def test_the_child_gets_the_limits_of_the_owner(monkeypatch):
    monkeypatch.setenv("STUDIO_MAX_MINUTES", "7")
    assert environment(TrainConfig(), ())["STUDIO_MAX_MINUTES"] == "7"


def test_one_process_too_is_started_by_accelerate_with_a_config_file(config):
    run = create_run(config)
    line = command(run, run.config(), ())
    assert line[:5] == [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(run.accelerate_file)]
    assert line[-4:] == ["-m", "trainer.train", "--run", str(run.folder)]


def test_the_launcher_needs_no_torch():
    code = "import sys, runs.queue, runs.history, data.dataset; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


def test_a_run_keeps_a_copy_of_the_adapter_that_it_continues_from(adapters):
    run = create_run(TrainConfig(name="second", base="embedded", init_adapter="first"), "alice")
    kept = {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "chat_template.jinja"}
    assert {file.name for file in run.init_adapter_folder.iterdir()} == kept


def test_all_data_files_are_copied_and_keep_their_format(tmp_path):
    files = {"data": "a.JSONL.gz", "text_data": "b.v2.txt", "eval_data": "c.csv"}
    for name in files.values():
        (tmp_path / name).write_text(name)
    written = create_run(TrainConfig(base="embedded", **{field: str(tmp_path / name) for field, name in files.items()}))
    copies = {"data": "data/data.jsonl.gz", "text_data": "data/text_data.txt", "eval_data": "data/eval_data.csv"}
    assert copies.items() <= written.config().to_dict().items()


def test_each_file_of_a_mix_is_copied_and_is_read_again_from_the_copy(tmp_path):
    for name in ("a.csv", "b.jsonl.gz"):
        (tmp_path / name).write_text(name)
    data = f"{tmp_path / 'a.csv'}:0.5, example:0.3, {tmp_path / 'b.jsonl.gz'}:0.2"
    run = create_run(TrainConfig(base="embedded", data=data))
    assert run.config().data == "data/data-1.csv:0.5, example:0.3, data/data-3.jsonl.gz:0.2"
    folder = run.data_folder
    assert [file.read_text() for file in sorted(folder.glob("data-*"))] == ["a.csv", "b.jsonl.gz"]
    copied = copy_settings(run)
    assert copied.data == f"{folder}/data-1.csv:0.5, example:0.3, {folder}/data-3.jsonl.gz:0.2"
    assert create_run(copied).config().data == run.config().data


def test_a_mix_that_names_no_file_leaves_nothing(config):
    for data in (f"{config.data}:1, ../../x.jsonl:1", f"{config.data}:1, o/n", f"{config.data}, {config.data}"):
        with pytest.raises(UserError):
            create_run(replace(config, data=data), "bob")
    assert not list(runs_folder("bob").glob("*"))


def test_what_a_killed_program_left_is_swept_away(config):
    for name, age in (("old.partial", 7200), ("new.partial", 0)):
        (runs_folder() / name).mkdir(parents=True)
        os.utime(runs_folder() / name, (time.time() - age,) * 2)
    create_run(config)
    assert sorted(path.name for path in runs_folder().iterdir()) == ["my-run", "new.partial"]


def test_starts_of_one_name_at_the_same_time_do_not_meet(config):
    with ThreadPoolExecutor(8) as pool:
        runs = {run.id for run in pool.map(lambda _: create_run(config), range(8))}
    assert runs == {"my-run", *(f"my-run-{number}" for number in range(2, 9))}


def test_a_name_that_was_taken_and_finished_between_the_look_and_the_making_is_not_taken_again(config, monkeypatch):
    create_run(config)
    answers = iter(["my-run", "my-run-2"])
    monkeypatch.setattr(launcher, "free_name", lambda *_: next(answers))
    assert create_run(config).id == "my-run-2"
    assert not list(runs_folder().glob(f"*{launcher.UNFINISHED}"))


def test_a_run_is_called_as_it_was_typed_and_lies_in_a_plain_folder(config):
    runs = [create_run(replace(config, name=name)) for name in ("공부 코치", " 공부  코치\u202e", "plain", "plain")]
    assert [(run.id, title_of(run)) for run in runs] == [
        ("gongbu-koci", "공부 코치"),
        ("gongbu-koci-2", "공부 코치 2"),
        ("plain", "plain"),
        ("plain-2", "plain-2"),
    ]
    assert copy_settings(runs[0]).name == "공부 코치" and not runs[2].about_file.exists()


@pytest.mark.parametrize("name", ["", "  ", "\u200b", "x" * 101])
def test_a_name_of_nothing_or_without_end_is_refused_at_its_field(config, name):
    assert [problem.field for problem in replace(config, name=name).problems()] == ["name"]


def test_a_run_on_a_space_never_meets_a_machine_elsewhere(config, monkeypatch):
    """It may have been brought back from the Hub: a rendezvous there could send what is unpickled here."""
    run = create_run(config)
    elsewhere = {"num_machines": 2, "num_processes": 2, "main_process_ip": "203.0.113.9", "rendezvous": "c10d"}
    run.config_file.write_text(TrainConfig.from_dict({**run.config().to_dict(), **elsewhere}).to_yaml())
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    with pytest.raises(UserError, match="A Space is a single machine"):
        start(run)
    assert not run.is_alive()
