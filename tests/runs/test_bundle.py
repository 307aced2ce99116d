"""A bundle reproduces the run, and tells nothing of the machine that it comes from."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import yaml

from common.files import write_text
from common.paths import REPOSITORY, home
from data.test_sets import write_test_set
from runs.bundle import shell_command, write_bundle
from runs.config import TrainConfig
from runs.labels import set_labels
from runs.launcher import create_run
from runs.redact import redact
from runs.run import EventLog, Run, find_run, read_state

TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrSt"
ROWS = "".join(f'{{"prompt": "What is {n}?", "completion": "It is {n}."}}\n' for n in range(12))


@pytest.fixture
def data(tmp_path) -> Path:
    file = tmp_path / "my rows.jsonl"
    file.write_text(ROWS)
    return file


@pytest.fixture
def run(data, monkeypatch) -> Run:
    """A run that looks finished, with a secret and paths of this machine in its log and events."""
    monkeypatch.setattr(socket, "gethostname", lambda: "lab-box-7")
    run = create_run(TrainConfig(name="told", base="embedded", data=str(data), sample_prompts=f"Say {TOKEN}"))
    events = EventLog(run)
    events.write("note", message=f"Left out: a row of {data}; token {TOKEN}")
    for step in (1, 2, 3):
        events.write("step", step=step, loss=3.0 / step, total_steps=3)
    events.write("eval", step=3, loss=2.0)
    made = [{"teacher": "qwen", "recipe": "own", "version": "1", "licence": "mit", "rows": 9, "edited": 2}]
    events.write("done", metrics={"rows": 11, "held_out_rows": 1, "loss_after": 2.0, "made": made})
    log = f'File "{REPOSITORY}/trainer/train.py", line 1\n{Path.home()}/.cache {sys.executable} /srv/data/x.jsonl\n'
    write_text(run.log_file, log + f"{home()}/runs on {socket.gethostname()}\nBearer abcdefghijkl {TOKEN}\n")
    return run


def contents(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}


def test_a_bundle_holds_everything_and_the_data_only_when_it_was_asked_for(run, tmp_path):
    file = write_bundle(run, tmp_path / "out")
    found = contents(file)
    assert set(found) == {
        *("README.txt", "command.txt", "config.yaml", "fingerprint.json", "versions.json", "metrics.json"),
        *("events.jsonl", "train.log", "loss.png"),
    }
    print_of = json.loads(found["fingerprint.json"])
    assert print_of["files"] == [
        {
            "file": "data/data.jsonl",
            "bytes": len(ROWS),
            "sha256": hashlib.sha256(ROWS.encode()).hexdigest(),
            "lines": 12,
        }
    ]
    assert [(one["teacher"], one["rows"], one["edited"]) for one in print_of["made"]] == [("qwen", 9, 2)]
    assert print_of["rows"] == 11 and json.loads(found["metrics.json"])["loss_after"] == 2.0
    assert json.loads(found["versions.json"])["packages"]["peft"]
    assert yaml.safe_load(found["config.yaml"])["data"] == "data/data.jsonl"
    assert found["loss.png"].startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["told.zip"]
    assert contents(write_bundle(run, tmp_path, include_data=True))["data/data.jsonl"] == ROWS.encode()


def test_a_bundle_runs_again_where_nobody_has_ones_own_test_sets(data, tmp_path):
    write_test_set(home() / "testsets" / "local" / "exam", [{"text": "Mine."}], "Exam", "exam.txt")
    run = create_run(TrainConfig(name="tested", base="embedded", data=str(data), test_sets="exam, general"))
    EventLog(run).write("done", metrics={})
    found = contents(write_bundle(run, tmp_path / "out"))
    assert yaml.safe_load(found["config.yaml"])["test_sets"] == "general"
    assert [file["file"] for file in json.loads(found["fingerprint.json"])["files"]] == ["data/data.jsonl"]
    assert not [name for name in found if "test-" in name], "items are data: only when it was asked for"


def test_a_bundle_of_a_mix_names_each_data_set(data, tmp_path):
    run = create_run(TrainConfig(name="mix", base="embedded", data=f"{data}:0.5, example:0.5"))
    write_text(run.config_file, run.config().to_yaml().replace("example:0.5", "example:0.3, o/n@v1:0.2"))
    EventLog(run).write("done", metrics={})
    found = contents(write_bundle(run, tmp_path / "out"))
    print_of = json.loads(found["fingerprint.json"])
    files = ["data/data-1.jsonl", "examples/study_coach.jsonl", "examples/study_coach_heldout.jsonl"]
    assert [file["file"] for file in print_of["files"]] == files and print_of["hub"]["data"] == ["o/n@v1"]
    assert b"--data='YOUR-COPY-OF/data-1.jsonl:0.5, example:0.3, o/n@v1:0.2'" in found["command.txt"]
    assert "--data" not in contents(write_bundle(run, tmp_path, include_data=True))["command.txt"].decode()


def test_a_bundle_tells_no_token_no_path_and_no_host(run, tmp_path):
    set_labels(run, "Mine", f"see {home()}/notes and {TOKEN}", [f"tag {home()}"[:40]])
    text = b"\n".join(contents(write_bundle(run, tmp_path / "out")).values()).decode("utf-8", "replace")
    places = (str(REPOSITORY), str(home()), str(tmp_path), str(Path.home()) + "/", sys.prefix, "/srv/", "/tmp/")
    for secret in (TOKEN, "abcdefghijkl", socket.gethostname(), *places):
        assert secret not in text, secret
    assert "\n#tag " in text and "<secret>" in text and "<app>/trainer/train.py" in text and "x.jsonl" in text


NO_PATHS = (
    "https://huggingface.co/a/b/c",
    "loss 1/2 and/or",
    "data/data.jsonl",
    "owner/name",
    "a: 1 / 2 / 3",
    "// comment",
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/opt/x/y.py:3", "<path>/y.py:3"),
        ("C:\\Users\\me\\rows.csv is", "<path> is"),
        ("http://me:secret@proxy:80/", "http://<secret>@proxy:80/"),
        ("/usr/lib/python3/site-packages/torch/nn.py", "<packages>/torch/nn.py"),
        *((text, text) for text in NO_PATHS),
    ],
)
def test_paths_and_passwords_are_replaced_and_nothing_else(text, shown):
    assert redact(text) == shown


def test_the_command_survives_a_shell():
    prompts = 'It\'s "quoted" $HOME `ls`\n한국어; rm -rf *'
    config = TrainConfig(name="-x", sample_prompts=prompts, data="my rows.jsonl", packing=True, learning_rate=1e-5)
    line = shell_command(config).split(" -m trainer train ")[1]
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True).stdout.decode()
    flags = dict(word[2:].split("=", 1) for word in words.rstrip("\0").split("\0"))
    again = TrainConfig.from_dict({name.replace("-", "_"): value for name, value in flags.items()})
    assert again == config and "base-reason" not in flags


def test_on_a_space_the_command_tells_no_path(run, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "me/space")
    command = shell_command(run)
    assert "'--data=<studio>/" in command, "what a shell would take for a redirection is quoted"
    assert command.startswith("python -m trainer train ") and str(home()) not in command and "/tmp/" not in command


def test_the_command_in_a_shell_does_what_the_button_does(tiny_base, data, tmp_path):
    """Really: trained by the command, then from the unpacked bundle; the losses are the same."""
    settings = {"base": str(tiny_base), "data": str(data), "max_steps": 2, "max_length": 128, "eval_fraction": 0.0}
    done = subprocess.run(["bash", "-c", shell_command(TrainConfig(name="by hand", **settings))], check=False)
    assert done.returncode == 0
    run = find_run("by-hand")
    assert read_state(run).status == "done" and [step for step, _ in read_state(run).losses] == [1, 2]
    with zipfile.ZipFile(write_bundle(run, tmp_path / "out", include_data=True)) as archive:
        archive.extractall(tmp_path / "unpacked")
    command = (tmp_path / "unpacked" / "by-hand" / "command.txt").read_text()
    command = command.replace("FOLDER-OF-TINYLLAMA-STUDIO", f"'{REPOSITORY}'").replace("python", sys.executable)
    command = command.strip() + f" --base '{tiny_base}'"  # a folder of this machine is not told
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path / "unpacked" / "by-hand", env=os.environ, check=False)
    assert done.returncode == 0
    assert read_state(find_run("by-hand-2")).losses == read_state(run).losses


@pytest.mark.parametrize(
    "part",
    [
        *("a", "/a", "/", "=/a", "a/site-packages", "eyJ-", "eyJaaaaaaaa.-", "-eyJaaaaaaaa", "hf_", "sk-", "ghp_a"),
        *("Bearer a", "://a:", "a:a", ":\\a", "C:\\", "a C:", "<secret>"),
    ],
)
def test_a_line_of_5_mb_is_redacted_in_time(part):
    line = part * (5_000_000 // len(part))
    began = time.thread_time()
    redact(line)
    assert time.thread_time() - began < 10, "under 2 on two shared cores"
