"""Trackers are told of a run what its events say: each value once, at its step and time, and nothing of this machine."""

import json
import struct
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import huggingface_hub
import pytest

from common.errors import UserError
from models.hub.client import Account
from runs import queue
from runs.config import TrainConfig
from runs.events import append_event
from runs.run import Run
from runs.trackers import process, track, writers
from runs.trackers.names import PACKAGES, trackers_in
from runs.trackers.points import Point, read_points, settings_of
from runs.trackers.track import send_to_space, tracker_folder
from tests.queueing import make_run
from trainer.__main__ import main

TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrSt"


def needs(name: str):
    """A mark for tests of a tracker that is not among the packages of every developer."""
    return pytest.mark.skipif(find_spec(PACKAGES[name]) is None, reason=f"pip install {PACKAGES[name]}")


@pytest.fixture
def run() -> Run:
    """A run of two stages that was resumed: steps 3 and 4 of the second one were trained twice."""
    run = make_run("told", base="/home/somebody/my-base", sample_prompts=f"Say {TOKEN}")

    def write(event: str, at: float, **values) -> None:
        append_event(run.events_file, {"time": 1e9 + at, "event": event, **values})

    write("stage", 0, stage=1, stages=2, name="text")
    for step in (1, 2):
        write("step", step, step=step, loss=4.0 / step, total_steps=2)
    write("stage", 3, stage=2, stages=2, name="conversations")
    for step in (1, 2, 3, 4):
        write("step", 10 + step, step=step, loss=1.0 / step, learning_rate=1e-4 * step, total_steps=5)
    write("eval", 15, step=0, loss=3.0)
    write("resumed", 20, stage=2, step=2)
    for step in (3, 4, 5):
        write("step", 20 + step, step=step, loss=1.0 / step, learning_rate=1e-4 * step, total_steps=5)
    write("eval", 26, step=5, loss=0.5)
    write("tested", 27, step=5, tested={"general": {"loss": 3.25, "tokens": 100}})
    write("done", 28, metrics={"loss_after": 0.5})
    return run


def test_each_step_counts_once_over_stages_and_resumes(run):
    points = read_points(run)
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6, 7]
    assert [point.values["train/loss"] for point in points] == [4.0, 2.0, 1.0, 0.5, 1 / 3, 0.25, 0.2]
    assert points[1].values == {"train/loss": 2.0, "eval/loss": 3.0}, "step 0 of stage 2"
    assert points[-1] == Point(
        7, 1e9 + 27, {"train/loss": 0.2, "train/learning_rate": 5e-4, "eval/loss": 0.5, "test/general/loss": 3.25}
    )
    assert points[4].time == 1e9 + 23, "the second time"


def test_a_tracker_is_told_numbers_and_no_word_or_path_of_a_person(run):
    told = settings_of(run)
    assert told["learning_rate"] == TrainConfig.learning_rate and told["method"] == "lora"
    assert TOKEN not in json.dumps(told) and "my-base" not in json.dumps(told)


def test_what_comes_later_is_written_once_and_by_its_step():
    written: list[list[Point]] = []
    sent: dict[int, set[str]] = {}
    first = [Point(1, 1.0, {"train/loss": 3.0})]
    process._write_new(first, sent, [written.append])
    process._write_new(
        [Point(0, 2.0, {"eval/loss": 4.0}), *first, Point(2, 3.0, {"train/loss": 2.0})], sent, [written.append]
    )
    process._write_new(first, sent, [written.append])
    assert written == [first, [Point(0, 2.0, {"eval/loss": 4.0}), Point(2, 3.0, {"train/loss": 2.0})]]


def read_tensorboard(folder: Path) -> list[tuple[str, int, float, float]]:
    """(tag, step, value, time) of all scalars in event files: records of a length, its sum, the bytes, their sum."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.glob("*tfevents*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (size,) = struct.unpack("<Q", data[at : at + 8])
            event = Event.FromString(data[at + 12 : at + 12 + size])
            at += size + 16
            found += [
                (value.tag, event.step, value.simple_value, event.wall_time)
                for value in event.summary.value
                if value.HasField("simple_value")
            ]
    return found


@needs("tensorboard")
def test_tensorboard_reads_the_same_numbers_back_and_not_the_name_of_the_machine(run, capsys):
    assert main(["track", "told", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    folder = tracker_folder(run, "tensorboard")
    assert answer["steps"] == 7 and answer["folder"] == str(folder) and "tensorboard --logdir" in answer["viewer"]
    found = read_tensorboard(folder)
    wanted = [(tag, one.step, value, one.time) for one in read_points(run) for tag, value in one.values.items()]
    assert [(tag, step, at) for tag, step, _value, at in found] == [(tag, step, at) for tag, step, _value, at in wanted]
    assert [value for *_, value, _at in found] == pytest.approx([value for *_, value, _at in wanted], rel=1e-6)
    [file] = folder.iterdir()
    assert file.name.startswith("events.out.tfevents.") and file.name.endswith(".told")
    if find_spec("tensorboard"):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        reader = EventAccumulator(str(folder)).Reload()
        losses = [(one.step, one.value) for one in reader.Scalars("train/loss")]
        assert losses == [(step, value) for tag, step, value, _at in found if tag == "train/loss"]


@needs("tensorboard")
def test_a_run_that_goes_on_is_followed_to_its_end_by_a_process_without_a_token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    run = make_run("going", report_to="tensorboard")
    append_event(run.events_file, {"time": 1e9, "event": "training"})
    append_event(run.events_file, {"time": 1e9, "event": "step", "step": 1, "loss": 2.0})
    run.job_file.write_text("{}")  # of a job only its events are known
    track.track_in_background(run, trackers_in(run.config().report_to))
    folder, deadline = tracker_folder(run, "tensorboard"), time.monotonic() + 120
    while not read_tensorboard(folder):
        assert time.monotonic() < deadline, (run.folder / "trackers" / "log.txt").read_text()
        time.sleep(0.1)
    append_event(run.events_file, {"time": 1e9 + 1, "event": "step", "step": 2, "loss": 1.0})
    append_event(run.events_file, {"time": 1e9 + 2, "event": "done", "metrics": {}})
    while not (run.folder / "trackers" / "answer.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert [found[:3] for found in read_tensorboard(folder)] == [("train/loss", 1, 2.0), ("train/loss", 2, 1.0)]
    assert TOKEN not in track.variables(folder).values()


def test_the_queue_starts_the_followers_that_a_run_asks_for_and_no_others(monkeypatch):
    asked = []
    monkeypatch.setattr(queue, "track_in_background", lambda run, names: asked.append((run.id, names)))
    monkeypatch.setattr(queue, "start", lambda run, card: None)
    monkeypatch.setattr("runs.trackers.names.find_spec", lambda package: True)
    for name, report_to in (("none", ""), ("two", "tensorboard, wandb")):
        assert queue._start(make_run(name, report_to=report_to), queue.ALL_CARDS)
    assert asked == [("two", ["tensorboard", "wandb"])]


def test_a_tracker_that_is_not_there_is_a_sentence_at_its_setting(monkeypatch, capsys, run):
    monkeypatch.setattr("runs.trackers.names.find_spec", lambda package: None)
    [problem] = TrainConfig(report_to="trackio").problems()
    assert problem.field == "report_to" and "`pip install trackio`" in problem.message
    assert "Use one of: tensorboard, wandb, trackio." in TrainConfig(report_to="comet").problems()[0].message
    assert main(["track", "told", "--to", "wandb"]) == 1 and "`pip install wandb`" in capsys.readouterr().err


def test_a_space_is_ones_own_and_only_the_process_that_sends_has_the_token(monkeypatch, run):
    asked = []
    monkeypatch.setattr("runs.trackers.names.find_spec", lambda package: True)
    monkeypatch.setattr(track, "ask_child", lambda *given: asked.append(given))
    account = Account("alice", TOKEN, ("lab",))
    assert send_to_space(run, "curves", account) == "https://huggingface.co/spaces/alice/curves"
    assert send_to_space(run, "lab/curves", account).endswith("lab/curves")
    with pytest.raises(UserError, match="not a Space of yours"):
        send_to_space(run, "bob/curves", account)
    assert [given[2]["HF_TOKEN"] for given in asked] == [TOKEN] * 2 and TOKEN not in json.dumps(asked[0][1])


def test_trackio_leaves_no_token_in_the_space_that_it_makes(monkeypatch, run):
    left, storage = [], ModuleType("trackio.sqlite_storage")
    storage.SQLiteStorage = None

    def sync(project, space, **options):  # as trackio 0.43 deploys a Space
        huggingface_hub.add_space_secret(space, "HF_TOKEN", TOKEN)
        left.append((space, options["private"]))

    monkeypatch.setattr(huggingface_hub, "add_space_secret", lambda *secret: left.append(secret))
    monkeypatch.setitem(sys.modules, "trackio", SimpleNamespace(sync=sync))
    monkeypatch.setitem(sys.modules, "trackio.sqlite_storage", storage)
    with writers.trackio(run, "lab/curves"):
        pass
    assert left == [("lab/curves", True)], "members of lab could have read the token of who sent the run"


@needs("trackio")
def test_trackio_reads_the_same_numbers_back_however_often_a_run_is_sent(run, tmp_path, capsys):
    import sqlite3

    for _ in range(2):
        assert main(["track", "told", "--to", "trackio", "--folder", str(tmp_path / "trackio")]) == 0
    with sqlite3.connect(tmp_path / "trackio" / "tinyllama-studio.db") as database:
        rows = database.execute("select step, metrics from metrics order by step").fetchall()
    assert [(step, json.loads(values)) for step, values in rows] == [(one.step, one.values) for one in read_points(run)]


@needs("trackio")
def test_the_dashboard_answers_on_this_machine_alone_and_ends(run, tmp_path):
    import httpx2

    from runs.trackers.dashboard import close_dashboard, open_dashboard

    track.track(run, "trackio", tmp_path, False)
    address = open_dashboard(tmp_path)
    assert address.startswith("http://127.0.0.1:") and "token" not in address
    assert open_dashboard(tmp_path) == address and httpx2.get(address).status_code == 200
    close_dashboard(tmp_path)
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(address)


@needs("wandb")
def test_an_offline_run_of_wandb_holds_the_same_numbers_and_no_path_of_this_machine(run, tmp_path):
    from wandb.proto.wandb_internal_pb2 import Record

    assert track.track(run, "wandb", tmp_path / "wandb", False) == 7
    [made] = (tmp_path / "wandb").iterdir()
    assert made.name.startswith("offline-run-") and not (made / "logs").exists()
    data = (made / "run-told.wandb").read_bytes()
    found, at, whole = [], 7, b""
    while at + 7 <= len(data):  # LevelDB's log: blocks of 32 KiB, a sum, a length and a kind before each piece
        if 2**15 - at % 2**15 < 7:
            at += 2**15 - at % 2**15
            continue
        _sum, size, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # the last piece
            record, whole = Record.FromString(whole), b""
            items = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            if items:
                found.append((items.pop("_step"), {tag: items[tag] for tag in items if not tag.startswith("_")}))
    assert found == [(one.step, one.values) for one in read_points(run)]
    texts = b"".join(file.read_bytes() for file in made.rglob("*") if file.is_file())
    assert str(tmp_path).encode() not in texts and TOKEN.encode() not in texts
